"""The ranks of contenders by what their final trainings came to, and the choice of one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from automl_plugins.objectives.contender import Contender
from automl_plugins.system.finite import mean_and_deviation

Preference = Literal["best", "economical"]
"""The contender that wins: the best by its mean, or the cheapest within one standard error of that."""


@dataclass(frozen=True)
class Standing:
    """A contender beside others of the same comparison.

    Args:
        contender: the network.
        values: the validation score of each seed, or the reward of it; None where that training failed or diverged.
        maximize: whether more is better.
        params: trainable parameters; None where the network could not be built.
        figures: its costs, by name.
        broken: the limits that it breaks; with any, it is not chosen.
    """

    contender: Contender
    values: Sequence[float | None]
    maximize: bool
    params: int | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    broken: Sequence[str] = ()

    @property
    def mean(self) -> float | None:
        """Over the seeds that ended with a value."""
        return mean_and_deviation(self.values)[0]

    @property
    def error(self) -> float | None:
        """The standard error of the mean; None where a single seed has a value."""
        deviation = mean_and_deviation(self.values)[1]
        return None if deviation is None else deviation / math.sqrt(len(self.values) - self.failures)

    @property
    def failures(self) -> int:
        """The number of seeds without a value."""
        return sum(value is None for value in self.values)

    @property
    def can_win(self) -> bool:
        """True where any seed has a value, and no limit is broken."""
        return self.mean is not None and not self.broken

    @property
    def rank(self) -> tuple[bool, int, float]:
        """The lower, the better.

        A contender that failed on some seeds is behind all that failed on fewer: the mean over the seeds that went
        well is no fair comparison with one over all of them.
        """
        mean = self.mean
        if mean is None:
            return True, self.failures, math.inf
        return bool(self.broken), self.failures, -mean if self.maximize else mean

    def is_behind(self, other: Standing) -> float:
        """By how much the mean is worse than another's; below 0 where it is better.

        Raises:
            ValueError: one of them has no value at all.
        """
        if self.mean is None or other.mean is None:
            raise ValueError(f"{self.contender.label} or {other.contender.label} has no value to compare")
        return (other.mean - self.mean) if self.maximize else (self.mean - other.mean)

    def cost(self, name: str) -> float:
        """A figure; infinite where it is unknown."""
        if name in self.figures:
            return self.figures[name]
        return math.inf if name != "params" or self.params is None else self.params


def best_of(standings: Sequence[Standing]) -> Standing | None:
    """The one of the best rank, the first of equals; None where none can win."""
    able = [standing for standing in standings if standing.can_win]
    return min(able, key=lambda standing: standing.rank, default=None)


def economical_of(winner: Standing, standings: Sequence[Standing], cost: str) -> Standing | None:
    """The cheapest contender within one standard error of the winner; None where a single seed gives no error.

    Args:
        winner: the best of all.
        standings: of all.
        cost: the name of the figure that counts.
    """
    error = winner.error
    if error is None:
        return None
    near = [
        standing
        for standing in standings
        if standing.can_win and standing.failures <= winner.failures and standing.is_behind(winner) <= error
    ]
    return min([winner, *near], key=lambda standing: (standing.cost(cost), standing.rank))


def preferred_of(
    standings: Sequence[Standing], eligible: Sequence[Standing], prefer: Preference, cost: str
) -> Standing | None:
    """The one that wins; None where none can.

    Args:
        standings: of those of which the best is taken.
        eligible: of those among which the economical one is sought, beside the best.
        prefer: see `Preference`; without a standard error, the best.
        cost: the name of the figure that the economical one is cheap by.
    """
    best = best_of(standings)
    if best is None or prefer == "best":
        return best
    return economical_of(best, eligible, cost) or best
