"""Local search (White et al., UAI 2021, arXiv 2005.02960)."""

import numpy as np

from automl_plugins.samplers import ArchitectureSampler, Proposal, TrialLog


class LocalSearchSampler(ArchitectureSampler):
    """The neighbours of the best architecture so far, in random order; random architectures where all were tried."""

    def propose(self, log: TrialLog, generator: np.random.Generator) -> Proposal:
        if log.observations:
            best = max(log.observations, key=lambda observation: observation.fitness)
            untried = [each for each in self.space.neighbours(best.architecture) if each not in log.seen]
            if untried:
                return Proposal(untried[generator.integers(len(untried))])
        return Proposal(self.unseen_at_random(log, generator))
