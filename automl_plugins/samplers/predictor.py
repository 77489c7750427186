"""The sampler that asks a predictor which architecture to try."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from automl_plugins.estimators.base import Estimator
from automl_plugins.estimators.make import EstimatorConfig, make_estimator
from automl_plugins.estimators.predictors.scored import ScoredPredictor
from automl_plugins.samplers.base import ArchitectureSampler, Observation, Proposal, TrialLog, penalised
from automl_plugins.samplers.evolution import best_first
from automl_plugins.samplers.judge import Judge, LazyContext
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.system.arguments import at_least

MakeEstimator = Callable[[SearchSpace, int], Estimator]
"""Makes an estimator of a space and a seed; the classes of `automl_plugins.estimators.predictors` do."""
_ELITE = 20
"""The best trials that climbs start from."""
_STEPS = 10
"""Mutations of each in search of a better one."""


class PredictorSampler(ArchitectureSampler):
    """Fits a predictor to the trials so far and proposes the best architecture that was not tried.

    Each proposal is a draw by Thompson sampling: the predictor is fitted to a bootstrap sample of the
    trials of its own, so that proposals differ by as much as the trials leave open (as in the ensembles of
    BANANAS; White et al., AAAI 2021, section 4.1, which fits a few and draws one). Candidates are found by
    climbing, in the predictor's eyes, from the best trials and from random architectures.

    With `features`, the best of the climbs are looked at once more, by `ScoredPredictor`, which is fitted to the scores
    of estimators that need no fit: these tell more than choices while trials are few. Each architecture is scored once;
    the trials are, and at each proposal as many more as `scored`.

    In a study with several objectives, a predictor is fitted to each, and every proposal weighs them anew
    by the augmented Chebyshev function (ParEGO; Knowles, 2006, equation 2). Trials that break a constraint
    count as worse than all others.

    Args:
        space: see `ArchitectureSampler`.
        seed: see `ArchitectureSampler`.
        predictor: the name of a predictor, or of any estimator, or a mapping with its `init_args`; or what makes one
            from a space and a seed. One that does not learn is taken as it is, in studies of one objective.
        startup: the number of trials that are drawn at random before.
        candidates: the number of random architectures that climbs start from, beside the best trials.
        context: of an estimator that is no predictor; a study gives its own.
        features: estimators whose scores are features, as `predictor` is given.
        scored: how many of the best that the climbs came by are looked at by features.

    Raises:
        ValueError: a number out of range, no estimator of that name, one whose scores compare only those that are asked
            for together (`ranks`, `az-nas`), or a feature that learns from trials itself.
    """

    max_objectives = 1_000

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        predictor: EstimatorConfig | Estimator | MakeEstimator = "ridge",
        startup: int = 20,
        candidates: int = 20,
        context: LazyContext | None = None,
        features: Sequence[EstimatorConfig | Estimator] = (),
        scored: int = 20,
    ) -> None:
        super().__init__(space, seed)
        self.predictor = predictor
        # As many as a predictor is fitted to at least.
        self.startup = at_least("startup", startup, 2)
        self.candidates = at_least("candidates", candidates, 1)
        self.context = context
        _refuse_relative("predictor", self._judge(0).estimator)
        self.features = FeatureScores(space, seed, features, context)
        self.scored = at_least("scored", scored, 1)

    def _judge(self, seed: int) -> Judge:
        predictor = self.predictor
        if isinstance(predictor, str | Mapping | type):
            estimator = make_estimator(predictor, self.space, seed)
        else:
            # Each is fitted by itself.
            estimator = copy.deepcopy(predictor) if isinstance(predictor, Estimator) else predictor(self.space, seed)
        return Judge(estimator, self.context)

    def propose(self, log: TrialLog, generator: np.random.Generator) -> Proposal:
        if not log.has_begun(self.startup):
            return Proposal(self.unseen_at_random(log, generator))
        best = self._climb(log, self._draw_score(log, generator, self._judge), generator)
        if len(best) > 1 and self.features.estimators:
            worth = self._draw_score(log, generator, self._scored_judge)(best)
            return Proposal(best[int(np.argmax(worth))])
        return Proposal(best[0] if best else self.unseen_at_random(log, generator))

    def _scored_judge(self, seed: int) -> Judge:
        return Judge(ScoredPredictor(self.space, self.features), None)

    def _draw_score(
        self, log: TrialLog, generator: np.random.Generator, judge: Callable[[int], Judge]
    ) -> Callable[[list[Architecture]], np.ndarray]:
        """The worth of architectures, as this proposal sees it."""
        observed = log.observations
        drawn = generator.integers(len(observed), size=len(observed))
        architectures = [observed[index].architecture for index in drawn]
        scores = penalised(observed)[drawn]
        predictors = [judge(int(generator.integers(2**31))) for _ in scores.T]
        for predictor, column in zip(predictors, scores.T, strict=True):
            if predictor.estimator.learns:
                predictor.estimator.fit(architectures, column)
            elif len(predictors) > 1:
                name = type(predictor.estimator).__name__
                raise ValueError(f"{name} learns from no objective, so it cannot tell {len(predictors)} of them apart")
        if len(predictors) == 1:
            return lambda candidates: _finite(predictors[0].scores(candidates))
        weights = generator.dirichlet(np.ones(len(predictors)))
        # Predictions have units of their own, so it is them that are brought to one scale.
        known = np.stack([predictor.scores(architectures) for predictor in predictors], axis=1)
        known = known[np.isfinite(known).all(axis=1)]
        top = known.max(axis=0) if len(known) else np.zeros(len(predictors))
        spread = np.maximum(np.ptp(known, axis=0), 1e-12) if len(known) else np.ones(len(predictors))

        def scalar(candidates: list[Architecture]) -> np.ndarray:
            columns = np.stack([predictor.scores(candidates) for predictor in predictors], axis=1)
            missing = weights * (top - columns) / spread
            heights = -(missing.max(axis=1) + 0.05 * missing.sum(axis=1))
            return np.where(np.isfinite(columns).all(axis=1), heights, -math.inf)

        return scalar

    def _climb(
        self,
        log: TrialLog,
        score: Callable[[list[Architecture]], np.ndarray],
        generator: np.random.Generator,
    ) -> list[Architecture]:
        """The best unseen architectures among all that the climbs come by, `scored` of them at most."""
        places = [observation.architecture for observation in self._best(log)[:_ELITE]]
        places += [self.space.sample(generator) for _ in range(self.candidates)]
        heights = score(places)
        known = dict(zip(places, heights, strict=True))
        for _ in range(_STEPS):
            nexts = [self.space.step(place, generator) for place in places]
            new = list(dict.fromkeys(architecture for architecture in nexts if architecture not in known))
            if new:
                known.update(zip(new, score(new), strict=True))
            places = [max(place, mutant, key=known.__getitem__) for place, mutant in zip(places, nexts, strict=True)]
        unseen = [architecture for architecture in known if architecture not in log.seen]
        return sorted(unseen, key=known.__getitem__, reverse=True)[: self.scored]

    def _best(self, log: TrialLog) -> list[Observation]:
        if log.objectives == 1:
            return sorted(log.observations, key=lambda one: one.fitness, reverse=True)
        return best_first(log.observations)


def _refuse_relative(argument: str, estimator: Estimator) -> None:
    if estimator.relative:
        raise ValueError(
            f"{argument}: scores of {type(estimator).__name__} compare those that it is asked for together, "
            "and a climb asks again and again; take it as the proxy of evolution"
        )


class FeatureScores:
    """The scores of architectures by several estimators, each asked for once.

    Args:
        space: of the architectures.
        seed: of estimators that take one.
        configs: of the estimators.
        context: that they judge in.

    Raises:
        ValueError: there is no such estimator, it learns, or its scores compare those that are asked for together.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        configs: Sequence[EstimatorConfig | Estimator],
        context: LazyContext | None,
    ) -> None:
        made = [make_estimator(config, space, seed) for config in configs]
        for each in made:
            _refuse_relative("features", each)
            if each.learns:
                name = type(each).__name__
                raise ValueError(f"features: {name} learns from trials; give estimators that score without, as naswot")
        self.estimators = [Judge(each, context) for each in made]
        self._known: dict[Architecture, np.ndarray] = {}

    def __call__(self, architectures: Sequence[Architecture]) -> np.ndarray:
        """`[num_architectures, num_estimators]`; nan where one fails."""
        new = [each for each in dict.fromkeys(architectures) if each not in self._known]
        if new:
            columns = np.stack([judge.scores(new) for judge in self.estimators], axis=1)
            self._known.update(zip(new, columns, strict=True))
        return np.stack([self._known[each] for each in architectures])


def _finite(scores: np.ndarray) -> np.ndarray:
    """The scores, with the least of all in place of those that are no number."""
    return np.where(np.isfinite(scores), scores, -math.inf)
