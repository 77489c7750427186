"""Random search within a space's limits."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from automl_plugins.samplers.base import ArchitectureSampler, Proposal, TrialLog


class UniformSampler(ArchitectureSampler):
    """Random architectures, each drawn as `SearchSpace.sample` draws: within the limits of a narrowed space.

    It is the random search of a study. Optuna's RandomSampler knows of no limits: under tight ones nearly all that it
    proposes is refused. Equal architectures may come again.

    Args:
        space: see `ArchitectureSampler`.
        seed: see `ArchitectureSampler`.
    """

    max_objectives = 1_000
    is_random: ClassVar[bool] = True

    def propose(self, log: TrialLog, generator: np.random.Generator) -> Proposal:
        return Proposal(self.space.sample(generator))
