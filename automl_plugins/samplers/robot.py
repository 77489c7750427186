"""RoBoT: several estimators, weighed by a few true evaluations (He et al., ICLR 2024, arXiv 2403.07591)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from automl_plugins.estimators.base import Estimator
from automl_plugins.estimators.make import EstimatorConfig, make_estimator
from automl_plugins.estimators.predictors.base import standardised
from automl_plugins.estimators.rank_sum import mean_ranks
from automl_plugins.samplers.base import ArchitectureSampler, Proposal, TrialLog
from automl_plugins.samplers.judge import Judge, LazyContext
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.enumeration import enumerate_space
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.system.arguments import at_least

_NOISE = 0.3
"""The deviation of the true ranks, which lie between -1 and 1, from the weighted sum."""
_PRIOR = 1.0
"""The mean of each weight before anything is known, and its deviation: estimators are thought to be right."""
_STARTUP = 3
"""Trials before which there are no ranks to learn from."""


class RobotSampler(ArchitectureSampler):
    """Bayesian optimisation of the weights of several estimators, each of whose best architectures is tried.

    A pool of architectures is scored once, without training, and each score turned into standardised ranks. For
    weights, which may be negative, the pool is sorted by the weighted sum, and the first that was not tried is
    (algorithm 1).

    Departure: the paper models the value of the best architecture as a Gaussian process of the weights, by which
    trials say nothing of one another's architectures. Here the true ranks of all trials are a linear function of the
    scores' ranks (a Bayesian regression), of whose weights each proposal is one draw (Thompson sampling), so that no
    trials have to be set apart for exploring. Its two constants were compared on six tasks of TransNAS-Bench-101, and
    segmentation, which `benchmarks/estimators.py` measures, was looked at before they were settled: it is no clean
    test. Estimators are trusted at first; where all of them mislead, it takes tens of trials to unlearn that. A score
    that could not be computed counts as the worst, whatever the sign of its weight; an estimator that fails for all is
    left out.

    Args:
        space: see `ArchitectureSampler`.
        seed: see `ArchitectureSampler`.
        estimators: names, mappings with `init_args`, or estimators, that need no fit. Sizes may be among them.
        pool: the number of random architectures; all where the space has no more.
        context: see `EvolutionSampler`.

    Raises:
        ValueError: a number out of range, fewer than two estimators, none of a name, or one that learns from trials.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        estimators: Sequence[EstimatorConfig | Estimator] = ("naswot", "jacov", "macs"),
        pool: int = 1000,
        context: LazyContext | None = None,
    ) -> None:
        super().__init__(space, seed)
        if isinstance(estimators, str) or len(estimators) < 2:
            raise ValueError(f"estimators is a list of at least two; got {estimators!r}")
        self.judges = [Judge(make_estimator(each, space, seed), context) for each in estimators]
        for judge in self.judges:
            if judge.estimator.learns:
                raise ValueError(
                    f"estimators: {type(judge.estimator).__name__} learns from trials; take such as do not"
                )
        self.pool = at_least("pool", pool, 2)
        self._scored: tuple[list[Architecture], np.ndarray] | None = None

    def propose(self, log: TrialLog, generator: np.random.Generator) -> Proposal:
        pool, ranks = self._ranks()
        places = {architecture: place for place, architecture in enumerate(pool)}
        tried = [(places[each.architecture], each.fitness) for each in log.observations if each.architecture in places]
        free = [place for place, architecture in enumerate(pool) if architecture not in log.seen]
        if not free:
            return Proposal(self.unseen_at_random(log, generator))
        mean, covariance = np.full(len(ranks), _PRIOR), _PRIOR**2 * np.eye(len(ranks))
        if len(tried) >= _STARTUP:
            mean, covariance = _posterior(ranks[:, [place for place, _ in tried]], [fitness for _, fitness in tried])
        return Proposal(pool[_first(ranks, generator.multivariate_normal(mean, covariance), free)])

    def _ranks(self) -> tuple[list[Architecture], np.ndarray]:
        """The pool, and the standardised ranks of its scores, `[num_estimators, num_architectures]`; nan: no score."""
        if self._scored is None:
            generator = np.random.default_rng(self.seed)
            if self.space is self.space.whole and self.space.size <= self.pool:
                pool = list(enumerate_space(self.space))
            else:
                pool = list(dict.fromkeys(self.space.sample(generator) for _ in range(self.pool)))
            scores = np.stack([judge.scores(pool) for judge in self.judges])
            told = scores[np.isfinite(scores).any(axis=1)]
            if not len(told):
                raise ValueError("no estimator has a score for any architecture; `automl-plugins score` tells why")
            self._scored = pool, np.stack([_ranked(each) for each in told])
        return self._scored


def _ranked(scores: np.ndarray) -> np.ndarray:
    """Ranks with mean 0 and deviation 1, higher for better scores, equal ones alike; nan where there is no score."""
    ranks = np.full(scores.shape, np.nan)
    known = np.isfinite(scores)
    ranks[known] = standardised(mean_ranks(scores[known]))
    return ranks


def _first(ranks: np.ndarray, weights: np.ndarray, among: Sequence[int]) -> int:
    """The place of the best by weighted ranks."""
    parts = weights[:, None] * ranks[:, among]
    worst = np.nanmin(weights[:, None] * ranks, axis=1)[:, None]
    return among[int(np.where(np.isnan(parts), worst, parts).sum(axis=0).argmax())]


def _posterior(ranks: np.ndarray, fitnesses: Sequence[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the weights after some trials.

    Args:
        ranks: of what was tried, `[num_estimators, num_trials]`.
        fitnesses: of the same; the order alone counts.
    """
    order = {fitness: place for place, fitness in enumerate(sorted(set(fitnesses)))}
    heights = mean_ranks(np.array([order[fitness] for fitness in fitnesses], dtype=np.float64))
    heights = 2 * (heights - 1) / (len(heights) - 1) - 1
    rows = np.vstack([np.nan_to_num(ranks, nan=0.0), np.ones(len(heights))])
    precision = np.diag([*[_PRIOR**-2] * len(ranks), 0.1])
    prior = precision @ np.array([*[_PRIOR] * len(ranks), 0.0])
    covariance = np.linalg.inv(precision + rows @ rows.T / _NOISE**2)
    mean = covariance @ (prior + rows @ heights / _NOISE**2)
    return mean[:-1], covariance[:-1, :-1]
