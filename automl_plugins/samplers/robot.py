"""RoBoT: several estimators, weighed by a few true evaluations (He et al., ICLR 2024, arXiv 2403.07591)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from automl_plugins.estimators.base import Estimator
from automl_plugins.estimators.make import EstimatorConfig, make_estimator
from automl_plugins.estimators.rank_sum import mean_ranks
from automl_plugins.samplers.base import ArchitectureSampler, Observation, Proposal, TrialLog
from automl_plugins.samplers.judge import Judge, LazyContext
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.enumeration import enumerate_space
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.system.arguments import at_least

_DRAWN, _NEAR = 400, 200
"""Weights that are compared at each step: uniform ones, and ones near the best so far."""
_REPEATS = 30
"""Weights at most whose best architecture has been tried already, at one step."""
_BOUND = 0.5
"""Deviations by which what is not known counts as better."""


class RobotSampler(ArchitectureSampler):
    r"""Bayesian optimisation of the weights of several estimators, then down the ranking of the best weights.

    A pool of architectures is scored once, without training. For weights :math:`w \in [-1, 1]^K`, the pool is sorted
    by the weighted sum of the scores' ranks, and its first is tried; a Gaussian process over the directions of w says,
    by an upper confidence bound, which weights come next (algorithm 1). Weights whose first was tried already cost
    nothing. After `explore` trials, those of the pool that stand next by the best weights are tried, from above.

    Departures: ranks in place of scores between their least and most, which heavy tails leave equal; a score that
    could not be computed counts as the worst, whatever the sign of its weight; one that fails for all is left out.

    Args:
        space: see `ArchitectureSampler`.
        seed: see `ArchitectureSampler`.
        estimators: names, mappings with `init_args`, or estimators; which do not learn. Sizes may be among them.
        pool: the number of random architectures; all where the space has no more.
        explore: the number of trials that find weights.
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
        explore: int = 15,
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
        self.explore = at_least("explore", explore, 1)
        self._scored: tuple[list[Architecture], np.ndarray] | None = None

    def propose(self, log: TrialLog, generator: np.random.Generator) -> Proposal:
        pool, ranks = self._ranks()
        places = {architecture: place for place, architecture in enumerate(pool)}
        values = {places[each.architecture]: each.fitness for each in log.observations if each.architecture in places}
        tried = [(np.array(each.note), each.fitness) for each in log.observations if _is_weights(each, len(ranks))]
        free = [place for place, architecture in enumerate(pool) if architecture not in log.seen]
        if not free:
            return Proposal(self.unseen_at_random(log, generator))
        if len(tried) >= self.explore:
            weights = max(tried, key=lambda each: each[1])[0]
            return Proposal(pool[_first(ranks, weights, free)])
        for _ in range(_REPEATS):
            weights = _next_weights(tried, len(ranks), generator)
            first = _first(ranks, weights, range(len(pool)))
            if first not in values:
                break
            tried.append((weights, values[first]))
        return Proposal(pool[_first(ranks, weights, free)], weights.tolist())

    def _ranks(self) -> tuple[list[Architecture], np.ndarray]:
        """The pool, and the ranks of its scores from 0 to 1, `[num_estimators, num_architectures]`; nan: no score."""
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
    """Ranks from 0 for the worst to 1 for the best, equal ones alike; nan where there is no score."""
    ranks = np.full(scores.shape, np.nan)
    known = np.isfinite(scores)
    ranks[known] = (mean_ranks(scores[known]) - 1) / max(1, known.sum() - 1)
    return ranks


def _first(ranks: np.ndarray, weights: np.ndarray, among: Sequence[int]) -> int:
    """The place of the best by weighted ranks."""
    parts = weights[:, None] * ranks[:, among]
    parts = np.where(np.isnan(parts), np.minimum(weights, 0.0)[:, None], parts)
    return among[int(parts.sum(axis=0).argmax())]


def _is_weights(observation: Observation, count: int) -> bool:
    note = observation.note
    return isinstance(note, list) and len(note) == count


def _next_weights(
    tried: Sequence[tuple[np.ndarray, tuple[float, float]]], count: int, generator: np.random.Generator
) -> np.ndarray:
    """The weights whose best architecture may be the best, by a Gaussian process over those that were tried."""
    if not tried:
        return np.ones(count)
    candidates = generator.uniform(-1, 1, (_DRAWN, count))
    if len(tried) < 3:
        return candidates[0]
    best = max(tried, key=lambda each: each[1])[0]
    near = np.clip(best + 0.3 * generator.normal(size=(_NEAR, count)), -1, 1)
    candidates = np.concatenate([candidates, near])
    # The order alone counts: a fitness is a violation of constraints and then a score.
    order = {fitness: place for place, fitness in enumerate(sorted({fitness for _, fitness in tried}))}
    heights = np.array([order[fitness] for _, fitness in tried], dtype=float)
    heights = (heights - heights.mean()) / (heights.std() or 1.0)
    known = _directions(np.stack([weights for weights, _ in tried]))
    across = _kernel(_directions(candidates), known)
    inverse = np.linalg.inv(_kernel(known, known) + 1e-3 * np.eye(len(known)))
    mean = across @ inverse @ heights
    variance = 1 - np.einsum("ij,jk,ik->i", across, inverse, across)
    return candidates[int((mean + _BOUND * np.sqrt(np.maximum(variance, 0))).argmax())]


def _directions(weights: np.ndarray) -> np.ndarray:
    return weights / np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), 1e-12)


def _kernel(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Of unit vectors: their squared distance is 2 less twice their product."""
    return np.exp(left @ right.T - 1)
