"""Sentences on who won, what would do at less cost, and whether the search was worth what it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from automl_plugins.objectives.standing import Standing, best_of
from automl_plugins.objectives.welch import CONFIDENCE, welch_interval
from automl_plugins.system.finite import mean_and_deviation, seconds, spread

_NAMES = {"search": "the search", "random search": "random search", "hand": "a hand-made network"}
_INTERVAL = f"Welch's {CONFIDENCE * 100:.0f} % interval"
"""Of the difference of two means over seeds, the report's test of whether they differ; it excludes 0 where they do."""


def winner_line(winner: Standing, label: str, monitor: str, finders: Sequence[str]) -> str:
    """Who won, and who found it.

    Args:
        winner: the best of all.
        label: what the table calls it.
        monitor: what it is best by.
        finders: all that found it: `search`, `random search` or `hand`.
    """
    found = "found by " + " and by ".join(_NAMES[finder] for finder in finders)
    who = "made by hand" if finders == ["hand"] else found
    told = f"the winner by mean validation is {label}, {who}: {monitor} {_shown(winner)}"
    if winner.failures:
        told += (
            f", of {len(winner.values) - winner.failures} of {len(winner.values)} seeds; no contender did better on all"
        )
    return f"{told}; its trainings are in contenders/{winner.contender.key}"


def economical_line(winner: Standing, economical: Standing, label: str, monitor: str, cost: str) -> str:
    """The cheapest contender within one standard error of the winner.

    Args:
        winner: the best of all.
        economical: the cheapest that is as good within the error; may be the winner.
        label: what the table calls it.
        monitor: what the error is of.
        cost: the name of the figure that it is cheap by.
    """
    if economical is winner or economical.contender.key == winner.contender.key:
        return f"economical: nothing cheaper in {cost} is within one standard error ({winner.error:.4f}) of the winner"
    return (
        f"economical: {label}, {cost} {economical.cost(cost):,.6g} instead of {winner.cost(cost):,.6g}, within one "
        f"standard error ({winner.error:.4f}) of the winner: {monitor} {_shown(economical)}"
    )


def worth_lines(standings: Sequence[Standing], searches: Mapping[str, Mapping[str, float]], monitor: str) -> list[str]:
    """Comparisons of the search's best with random search's and with the hand-made ones', and what each took.

    Args:
        standings: of all contenders; `found_by` tells them apart.
        searches: what each arm's trials took, see `report.trials.cost`.
        monitor: what is compared.
    """
    best = {name: best_of([each for each in standings if each.contender.found_by == name]) for name in _NAMES}
    beyond = [each for each in standings if each.broken and each.mean is not None]
    mine, others = best.pop("search"), {name: each for name, each in best.items() if each is not None}
    if mine is None or not searches:
        return []
    if not others:
        return ["whether the search was worth its cost is not known: there is nothing beside it (--random_search true)"]
    took = searches["search"]["cpu_seconds"]
    told, outcomes = [], []
    for name, other in others.items():
        ahead = mine.is_behind(other) * -1
        interval = _interval(mine, other)
        clear = interval is not None and not interval[0] <= 0 <= interval[1]
        outcomes.append((ahead > 0) - (ahead < 0) if clear else 0)
        against = f"random search's {_mean(other)}" if name != "hand" else f"{other.contender.label}'s {_mean(other)}"
        if name == "hand":
            price = f"which took no search; the search took {seconds(took)} CPU seconds"
        else:
            theirs = seconds(searches["random"]["cpu_seconds"])
            price = f"its trials took {seconds(took)} CPU seconds, random search's {theirs}"
        told.append(f"search's {monitor} {_mean(mine)} is {_difference(ahead, interval)} {against}, {price}")
    better = [each.contender.label for each in beyond if each.is_behind(mine) < 0]
    if better:
        told.append(f"better than the search's, and beyond the limits: {', '.join(dict.fromkeys(better))}")
    return [*told, _conclusion(outcomes, seeds=len(mine.values), limited=bool(beyond))]


def _interval(mine: Standing, other: Standing) -> tuple[float, float] | None:
    """Of how much better the mean of the first is; None where a single seed has a value."""
    sign = 1 if mine.maximize else -1
    better, worse = ([sign * value for value in each.values if value is not None] for each in (mine, other))
    return welch_interval(better, worse)


def _difference(ahead: float, interval: tuple[float, float] | None) -> str:
    if ahead == 0:
        return "equal to"
    told = ""
    if interval is not None:
        # Of the difference as it is told, which is above 0.
        low, high = interval if ahead > 0 else (-interval[1], -interval[0])
        told = f" ({_INTERVAL}: {low:.4f} to {high:.4f})"
    return f"{abs(ahead):.4f} {'better' if ahead > 0 else 'worse'}{told} than"


def _conclusion(outcomes: Sequence[int], seeds: int, limited: bool) -> str:
    if seeds == 1:
        return "one seed cannot tell whether the search was worth its cost: give more of them (--seeds 5)"
    if min(outcomes) < 0:
        above = f"{_INTERVAL} of the difference is above 0"
        return f"the search was not worth its cost: what took less was better, and {above} ({seeds} seeds)"
    if min(outcomes) == 0:
        return f"the search was not shown to be worth its cost: {_INTERVAL} of a difference includes 0 ({seeds} seeds)"
    others = "all others within the limits" if limited else "all others"
    above = f"{_INTERVAL}s of the differences are above 0"
    return f"the search was worth its cost: it is ahead of {others}, and {above} ({seeds} seeds)"


def _shown(standing: Standing) -> str:
    return spread(*mean_and_deviation(standing.values))


def _mean(standing: Standing) -> str:
    return spread(standing.mean, None)
