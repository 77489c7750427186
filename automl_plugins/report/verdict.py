"""Sentences on who won, what would do at less cost, and whether the search was worth what it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from automl_plugins.objectives.paired import CONFIDENCE, PairedTest
from automl_plugins.objectives.standing import Preference, Standing
from automl_plugins.system.finite import mean_and_deviation, seconds, spread
from automl_plugins.training.items import ItemError

_NAMES = {"search": "the search", "random search": "random search"}


def winner_line(winner: Standing, label: str, monitor: str, finders: Sequence[str], prefer: Preference = "best") -> str:
    """Who won, and who found it.

    Args:
        winner: the best of all, or the economical one.
        label: what the table calls it.
        monitor: what it is best by.
        finders: all that found it: `search`, `random search` or `hand`.
        prefer: the one of these two that was asked for.
    """
    found = " and by ".join(_NAMES[finder] for finder in finders if finder != "hand")
    who = " and ".join([*(["made by hand"] if "hand" in finders else []), *([f"found by {found}"] if found else [])])
    by = "the winner by mean validation" if prefer == "best" else "the winner, the economical one,"
    told = f"{by} is {label}, {who}: {monitor} {_shown(winner)}"
    if winner.failures:
        told += (
            f", of {len(winner.values) - winner.failures} of {len(winner.values)} seeds; no contender did better on all"
        )
    return f"{told}; its trainings are in contenders/{winner.contender.key}"


def item_line(error: ItemError, monitor: str) -> str:
    """The standard error of the winner's score over the items of the validation."""
    return (
        f"over the {error.items:,} items of the validation, the winner's {monitor} of one seed has a standard error of "
        f"{error.error:.4f} (bootstrap); the deviation over seeds knows nothing of it"
    )


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


def best_line(best: Standing, winner: Standing, label: str, monitor: str, cost: str) -> str:
    """The best by mean validation, where an economical one was preferred.

    Args:
        best: of all.
        winner: the economical one.
        label: what the table calls the best.
        monitor: what it is best by.
        cost: the name of the figure that the winner is cheap by.
    """
    return (
        f"the best by mean validation is {label}: {monitor} {_shown(best)}, {cost} {best.cost(cost):,.6g} where the "
        f"winner has {winner.cost(cost):,.6g}; the winner is within one standard error ({best.error:.4f}) of it"
    )


def worth_lines(
    standings: Mapping[str, Standing],
    tests: Mapping[str, Mapping[str, PairedTest]],
    searches: Mapping[str, Mapping[str, float]],
    monitor: str,
    beyond: Sequence[Standing] = (),
) -> list[str]:
    """Comparisons of the search's network with random search's and with the best that was made by hand.

    Args:
        standings: the network of each that is compared, by who found it; chosen on other seeds than it is judged by.
        tests: of the search against each other one, by metric: `monitor`, and that of the test where there is one.
        searches: what each arm's trials took, see `report.trials.cost`; empty where nothing was searched.
        monitor: the metric of validation.
        beyond: networks that break a limit.
    """
    mine = standings.get("search")
    if mine is None:
        return []
    others = {name: each for name, each in standings.items() if name != "search"}
    if not others:
        return ["whether the search was worth its cost is not known: there is nothing beside it (--random_search true)"]
    names = {name: name if name != "hand" else each.contender.label for name, each in others.items()}
    told = []
    for name, other in others.items():
        test = tests[monitor].get(name)
        if test is not None:
            against = f"{_possessive(names[name])} {_mean(other)}"
            price = _price(name, searches)
            told.append(f"search's {monitor} {_mean(mine)} is {_difference(test)} {against}{price}")
    for metric, by_name in tests.items():
        if metric != monitor and by_name:
            each = [f"{_difference(test)} {_possessive(names[name])}" for name, test in by_name.items()]
            told.append(f"in the test, which chose nothing, search's {metric} is {', and '.join(each)}")
    better = [each.contender.label for each in beyond if each.is_behind(mine) < 0]
    if better:
        told.append(f"better than the search's, and beyond the limits: {', '.join(dict.fromkeys(better))}")
    return [*told, _conclusion({names[name]: test for name, test in tests[monitor].items()}, len(mine.values))]


def ensemble_line(
    ensemble: Standing, winner: Standing, test: PairedTest | None, times: Mapping[str, float], monitor: str
) -> str:
    """An ensemble beside the winner.

    Args:
        ensemble: its standing; any seed has a value.
        winner: the winner's.
        test: of the ensemble against the winner; None where they share no seed with a value.
        times: how many times the winner's cost it takes, by the cost's name.
        monitor: what both are judged by.
    """
    members = "; ".join(member.label for member in ensemble.contender.members)
    compared = "" if test is None else f", {_difference(test)} the winner's {_mean(winner)}"
    costs = ", ".join(f"{factor:.3g} times its {name}" for name, factor in times.items())
    return (
        f"{ensemble.contender.label} ({members}): {monitor} {_shown(ensemble)}{compared}, at {costs}; "
        "it stands beside the winner, in the folder ensemble"
    )


def random_line(values: Sequence[float | None], best: Mapping[str, float | None], monitor: str) -> str:
    """The mean of the first random networks, a diagnostic of the space: how good is a network that nobody chose?

    Args:
        values: of random search's first trials; None of those without one.
        best: the value of the best trial of each arm.
        monitor: what they are values of.
    """
    ended = sum(value is not None for value in values)
    of = f"{len(values)} random networks" if ended == len(values) else f"{ended} of {len(values)} random networks"
    beside = ", ".join(f"{_possessive(arm)} {spread(value, None)}" for arm, value in best.items())
    return f"trials of {of}: {monitor} {spread(*mean_and_deviation(values))} in the mean; the best: {beside}"


def _price(name: str, searches: Mapping[str, Mapping[str, float]]) -> str:
    """Words for what the search's trials took beside another's."""
    if "search" not in searches:
        return ""
    took = f"{seconds(searches['search']['cpu_seconds'])} CPU seconds"
    arm = {"random search": "random", "hand": "hand-made"}.get(name, name)
    if arm not in searches:
        return f", which took no search; the search took {took}"
    return f"; its trials took {took}, {_possessive(arm)} {seconds(searches[arm]['cpu_seconds'])}"


def _difference(test: PairedTest) -> str:
    if test.difference == 0:
        return "equal to"
    ahead, told = test.difference > 0, ""
    if test.low is not None and test.high is not None:
        # Of the difference as it is told, which is above 0.
        low, high = (test.low, test.high) if ahead else (-test.high, -test.low)
        told = f" ({CONFIDENCE * 100:.0f} % interval {low:.4f} to {high:.4f}, {_p(test.adjusted_p)})"
    return f"{abs(test.difference):.4f} {'better' if ahead else 'worse'}{told} than"


def _p(value: float | None) -> str:
    if value is None:
        return "no p"
    return "p < 0.0001" if value < 1e-4 else f"p = {value:.4f}" if value < 0.1 else f"p = {value:.2f}"


def _conclusion(tests: Mapping[str, PairedTest], seeds: int) -> str:
    if seeds == 1:
        return "one seed cannot tell whether the search was worth its cost: give more of them (--seeds 5)"
    outcomes: dict[int, list[str]] = {1: [], 0: [], -1: []}
    for name, test in tests.items():
        outcomes[test.shows].append(name)
    ahead, unclear, behind = " and ".join(outcomes[1]), " or ".join(outcomes[0]), " and ".join(outcomes[-1])
    worth = "was not worth" if behind else "was not shown to be worth" if unclear else "was worth"
    told = [f"{behind} beat{'s' if len(outcomes[-1]) == 1 else ''} it"] if behind else []
    told += [f"no evidence that the search beats {unclear}"] if unclear else []
    told += [f"it beats {ahead}"] if ahead else []
    by_holm = f", p by Holm over {len(tests)} comparisons" if len(tests) > 1 else ""
    return f"the search {worth} its cost: {'; '.join(told)} (paired t test over {seeds} seeds{by_holm})"


def _possessive(name: str) -> str:
    return "the hand-made networks'" if name == "hand-made" else f"{name}'s"


def _shown(standing: Standing) -> str:
    return spread(*mean_and_deviation(standing.values))


def _mean(standing: Standing) -> str:
    return spread(standing.mean, None)
