"""The sampler that asks a predictor which architecture to try."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from automl_plugins import registry
from automl_plugins.estimators.predictors.base import Predictor
from automl_plugins.samplers.base import ArchitectureSampler, Observation, Proposal, TrialLog
from automl_plugins.samplers.evolution import best_first
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace

MakePredictor = Callable[[SearchSpace, int], Predictor]
"""Makes a predictor of a space and a seed; the classes of `automl_plugins.estimators.predictors` do."""


class PredictorSampler(ArchitectureSampler):
    """Fits a predictor to the trials so far and proposes the best architecture that was not tried.

    Each proposal is a draw by Thompson sampling: the predictor is fitted to a bootstrap sample of the
    trials of its own, so that proposals differ by as much as the trials leave open (as in the ensembles of
    BANANAS; White et al., AAAI 2021, section 4.1, which fits a few and draws one). Candidates are found by
    climbing, in the predictor's eyes, from the best trials and from random architectures.

    In a study with several objectives, a predictor is fitted to each, and every proposal weighs them anew
    by the augmented Chebyshev function (ParEGO; Knowles, 2006, equation 2). Trials that break a constraint
    count as worse than all others.

    Args:
        space: see `ArchitectureSampler`.
        seed: see `ArchitectureSampler`.
        predictor: a registered predictor's name, or what makes one from a space and a seed.
        startup: how many trials are drawn at random before.
        elite: how many of the best trials the climbs start from.
        candidates: how many random architectures they start from.
        steps: how often each is mutated in search of a better one.

    Raises:
        ValueError: a number out of range, or no predictor of that name.
    """

    max_objectives = 1_000

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        predictor: str | MakePredictor = "ridge",
        startup: int = 20,
        elite: int = 20,
        candidates: int = 20,
        steps: int = 10,
    ) -> None:
        if startup < 2:
            raise ValueError(f"startup is at least 2, as many as a predictor is fitted to; got {startup}")
        for name, value in (("elite", elite), ("candidates", candidates), ("steps", steps)):
            if value < 1:
                raise ValueError(f"{name} is at least 1; got {value}")
        super().__init__(space, seed)
        self.predictor: MakePredictor = (
            registry.load("predictors", predictor) if isinstance(predictor, str) else predictor
        )
        self.startup = startup
        self.elite = elite
        self.candidates = candidates
        self.steps = steps

    def propose(self, log: TrialLog, generator: np.random.Generator) -> Proposal:
        if len(log.observations) < self.startup:
            return Proposal(self.unseen_at_random(log, generator))
        score = self._draw_score(log, generator)
        return Proposal(self._climb(log, score, generator))

    def _draw_score(self, log: TrialLog, generator: np.random.Generator) -> Callable[[list[Architecture]], np.ndarray]:
        """What this proposal takes the architectures to be worth."""
        observed = log.observations
        drawn = generator.integers(len(observed), size=len(observed))
        architectures = [observed[index].architecture for index in drawn]
        scores = _without_violations(observed)[drawn]
        predictors = []
        for column in scores.T:
            predictor = self.predictor(self.space, int(generator.integers(2**31)))
            predictor.fit(architectures, column)
            predictors.append(predictor)
        if len(predictors) == 1:
            return lambda candidates: _predicted(predictors[0], candidates)
        weights = generator.dirichlet(np.ones(len(predictors)))
        # Predictions have units of their own, so it is them that are brought to one scale.
        known = np.stack([_predicted(predictor, architectures) for predictor in predictors], axis=1)
        known = known[np.isfinite(known).all(axis=1)]
        top = known.max(axis=0) if len(known) else np.zeros(len(predictors))
        spread = np.maximum(np.ptp(known, axis=0), 1e-12) if len(known) else np.ones(len(predictors))

        def scalar(candidates: list[Architecture]) -> np.ndarray:
            columns = np.stack([_predicted(predictor, candidates) for predictor in predictors], axis=1)
            missing = weights * (top - columns) / spread
            heights = -(missing.max(axis=1) + 0.05 * missing.sum(axis=1))
            return np.where(np.isfinite(columns).all(axis=1), heights, -math.inf)

        return scalar

    def _climb(
        self,
        log: TrialLog,
        score: Callable[[list[Architecture]], np.ndarray],
        generator: np.random.Generator,
    ) -> Architecture:
        """The best unseen architecture among all that the climbs come by."""
        places = [observation.architecture for observation in self._best(log)[: self.elite]]
        places += [self.space.sample(generator) for _ in range(self.candidates)]
        heights = score(places)
        known = dict(zip(places, heights, strict=True))
        for _ in range(self.steps):
            nexts = [self.space.mutate(place, generator) for place in places]
            new = list(dict.fromkeys(architecture for architecture in nexts if architecture not in known))
            if new:
                known.update(zip(new, score(new), strict=True))
            places = [max(place, mutant, key=known.__getitem__) for place, mutant in zip(places, nexts, strict=True)]
        unseen = [architecture for architecture in known if architecture not in log.seen]
        if not unseen:
            return self.unseen_at_random(log, generator)
        return max(unseen, key=known.__getitem__)

    def _best(self, log: TrialLog) -> list[Observation]:
        if log.objectives == 1:
            return sorted(log.observations, key=lambda one: one.fitness, reverse=True)
        return best_first(log.observations)


def _predicted(predictor: Predictor, architectures: list[Architecture]) -> np.ndarray:
    """Predictions; what is not a finite number is the least of all."""
    predictions = np.asarray(predictor.predict(architectures), dtype=np.float64)
    return np.where(np.isfinite(predictions), predictions, -math.inf)


def _without_violations(observations: Sequence[Observation]) -> np.ndarray:
    """`[num_observations, num_objectives]`: the scores, those that break a constraint below all that break none."""
    scores = np.array([observation.scores for observation in observations])
    penalties = np.array([observation.penalty for observation in observations])
    broken = penalties > 0
    if broken.any():
        spread = np.ptp(scores, axis=0)
        scores[broken] = scores.min(axis=0) - spread * (penalties[broken] / penalties.max())[:, None]
    return scores
