"""Regularised evolution."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from automl_plugins.estimators.base import Estimator, rank
from automl_plugins.estimators.make import EstimatorConfig, make_estimator
from automl_plugins.objectives.pareto import crowding_distances, dominance_ranks
from automl_plugins.samplers.base import ArchitectureSampler, Observation, Proposal, TrialLog
from automl_plugins.samplers.judge import Judge, LazyContext
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.system.arguments import at_least


class EvolutionSampler(ArchitectureSampler):
    """Regularised evolution (Real et al., AAAI 2019, algorithm 1), with AREA's start where a proxy is given.

    The parent is the best of a few drawn from the population; the child is the parent with one choice
    mutated. The population is made of the latest trials by number, so each ages and dies, however good it
    is. In a study with several objectives, the population is the best trials so far instead, by rank of
    dominance and then by crowding (Deb et al., 2002): ageing would lose the ends of the front. Trials
    that break a constraint lose to those that keep all, and to those that break them by less.

    Args:
        space: see `ArchitectureSampler`.
        seed: see `ArchitectureSampler`.
        population: the number of trials that may be parents; the first so many are drawn at random.
        tournament: the number of them that compete to be the parent.
        proxy: an estimator that chooses the first trials (AREA; Mellor et al., ICML 2021, section 4): a registered
            name, or a mapping with its `init_args`, or a function of an architecture; None: they are drawn at random.
            Architectures for which it raises, or gives no finite number, come last, and a warning says how many.
        proxy_pool: the number of random architectures that the proxy chooses from; AREA has 20, for a population of 10.
        context: of the proxy; a function needs none, and a study gives its own.

    Raises:
        ValueError: a number out of range, no estimator of that name, or one that would have to be fitted first.
    """

    max_objectives = 1_000

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        population: int = 20,
        tournament: int = 5,
        proxy: EstimatorConfig | Estimator | Callable[[Architecture], float] | None = None,
        proxy_pool: int = 1000,
        context: LazyContext | None = None,
    ) -> None:
        at_least("population", population, 1)
        if not 1 <= tournament <= population:
            raise ValueError(f"tournament is between 1 and the population, {population}; got {tournament}")
        if proxy is not None and proxy_pool < population:
            raise ValueError(f"proxy_pool is at least the population, {population}; got {proxy_pool}")
        super().__init__(space, seed)
        self.population = population
        self.tournament = tournament
        self.proxy = None if proxy is None else Judge(make_estimator(proxy, space, seed), context)
        if self.proxy is not None and self.proxy.estimator.learns:
            name = type(self.proxy.estimator).__name__
            raise ValueError(
                f"proxy: {name} learns from trials, and there are none before the first; take the predictor sampler"
            )
        self.proxy_pool = proxy_pool
        self._first: list[Architecture] | None = None

    def propose(self, log: TrialLog, generator: np.random.Generator) -> Proposal:
        if not log.has_begun(self.population):
            return Proposal(self._one_of_the_first(log, generator))
        members = self._ranked_population(log)
        # The population stands best first, so the winner of a tournament is the one who stands first.
        parent = members[generator.choice(len(members), self.tournament, replace=False).min()]
        child = self.unseen(log, lambda: self.space.mutate(parent.architecture, generator))
        return Proposal(child or self.walk(log, parent.architecture, generator))

    def _ranked_population(self, log: TrialLog) -> list[Observation]:
        if log.objectives == 1:
            return sorted(log.observations[-self.population :], key=lambda one: one.fitness, reverse=True)
        return best_first(log.observations)[: self.population]

    def _one_of_the_first(self, log: TrialLog, generator: np.random.Generator) -> Architecture:
        if self.proxy is not None:
            if self._first is None:
                pool_generator = np.random.default_rng(self.seed)
                pool = list(dict.fromkeys(self.space.sample(pool_generator) for _ in range(self.proxy_pool)))
                self._first = _by_proxy(self.proxy, pool)[: 2 * self.population]
            for architecture in self._first:
                if architecture not in log.seen:
                    return architecture
        return self.unseen_at_random(log, generator)


def _by_proxy(proxy: Judge, pool: Sequence[Architecture]) -> list[Architecture]:
    """Sort by the proxy, the best first, and those that it fails for last.

    Raises:
        ValueError: it fails for all.
    """
    scores, failures = proxy.scored(pool)
    if failures:
        said = f"the proxy gave no finite number for {len(failures):,} of {len(pool):,} architectures"
        if len(failures) == len(pool):
            raise ValueError(f"{said} ({failures[0]}); mend it, or leave it out")
        warnings.warn(f"{said}, which come last (the first: {failures[0]})", stacklevel=2)
    return [pool[place] for place in rank(scores)]


def best_first(observations: Sequence[Observation]) -> list[Observation]:
    """Sort by violation of the constraints, then by rank of dominance, then the lonely before the crowded."""
    scores = np.array([observation.scores for observation in observations])
    ranks = dominance_ranks(scores)
    crowding = np.empty(len(scores))
    for front in np.unique(ranks):
        crowding[ranks == front] = crowding_distances(scores[ranks == front])
    order = sorted(
        range(len(observations)), key=lambda index: (observations[index].violation, ranks[index], -crowding[index])
    )
    return [observations[index] for index in order]
