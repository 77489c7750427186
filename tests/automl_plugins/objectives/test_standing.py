"""Who wins: the best mean over the seeds, whoever found it, and never what is not a number."""

from __future__ import annotations

import math
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_plugins.objectives.contender import Contender
from automl_plugins.objectives.standing import Standing, best_of, economical_of, preferred_of
from automl_plugins.system.finite import mean_and_deviation, spread, strict_json

SCORES = st.lists(st.none() | st.floats(-1e6, 1e6), min_size=3, max_size=3)


def standing(
    *values: float | None,
    label: str = "x",
    maximize: bool = True,
    parameters: int | None = None,
    broken: tuple[str, ...] = (),
    figures: dict[str, float] | None = None,
) -> Standing:
    return Standing(Contender(label, reference=label), values, maximize, parameters, figures or {}, broken)


@given(st.lists(SCORES, min_size=1, max_size=6), st.booleans())
def test_the_winner_has_the_best_mean_of_all_that_failed_least(
    scores: list[list[float | None]], maximize: bool
) -> None:
    every = [standing(*values, label=str(number), maximize=maximize) for number, values in enumerate(scores)]
    winner = best_of(every)
    able = [each for each in every if each.failures < 3]
    if not able:
        assert winner is None
        return
    assert winner is not None
    fewest = min(each.failures for each in able)
    means = [fmean(value for value in each.values if value is not None) for each in able if each.failures == fewest]
    assert winner.mean == (max if maximize else min)(means)


def test_a_seed_that_failed_puts_a_contender_behind_all_that_have_none() -> None:
    lucky = standing(0.9, 0.9, 0.9, 0.9, None, label="lucky")
    steady = standing(0.5, 0.5, 0.5, 0.5, 0.5, label="steady")
    assert best_of([lucky, steady]) is steady
    assert lucky.mean == pytest.approx(0.9)
    assert lucky.failures == 1
    assert best_of([lucky, standing(None, None, None, None, None)]) is lucky


def test_what_breaks_a_limit_does_not_win() -> None:
    assert best_of([standing(0.9, broken=("macs",)), standing(0.1, label="kept")]) == standing(0.1, label="kept")
    assert best_of([standing(0.9, broken=("macs",))]) is None


def test_of_equals_the_first_wins() -> None:
    first = standing(0.5, label="first")
    assert best_of([first, standing(0.5, label="second")]) is first


def test_the_error_of_the_mean_is_that_of_the_seeds_that_have_a_value() -> None:
    assert standing(0.1, 0.3, 0.8).error == pytest.approx(stdev([0.1, 0.3, 0.8]) / math.sqrt(3))
    assert standing(0.1, None, 0.3).error == pytest.approx(stdev([0.1, 0.3]) / math.sqrt(2))
    assert standing(0.1).error is None


def test_the_economical_one_is_the_cheapest_within_one_standard_error() -> None:
    winner = standing(0.80, 0.84, label="winner", parameters=1000)  # its standard error is 0.02
    near = standing(0.801, 0.801, label="near", parameters=500)
    cheaper = standing(0.799, 0.799, label="cheaper", parameters=10)
    every = [cheaper, near, winner]
    assert best_of(every) is winner
    assert economical_of(winner, every, "params") is near
    assert economical_of(winner, [winner, cheaper], "params") is winner
    # The first cost counts where there is one; what has not been measured is not cheap.
    measured = standing(0.81, 0.81, label="measured", parameters=2000, figures={"macs": 5.0})
    costly = standing(0.80, 0.84, label="winner", parameters=1, figures={"macs": 9.0})
    assert economical_of(costly, [costly, near, measured], "macs") is measured


def test_what_is_preferred_wins() -> None:
    best, near = standing(0.80, 0.84, label="best", parameters=1000), standing(0.81, 0.81, label="near", parameters=9)
    both = [near, best]
    assert preferred_of(both, both, "best", "params") is best
    assert preferred_of(both, both, "economical", "params") is near
    assert preferred_of([best], [best], "economical", "params") is best
    single = standing(0.8, parameters=9)
    every = [single, standing(0.8, parameters=1)]
    assert preferred_of(every, every, "economical", "params") is single, "it knows no error"
    assert preferred_of([standing(None)], [], "economical", "params") is None


def test_the_economical_one_may_be_another_than_those_that_the_best_is_taken_of() -> None:
    best, near = standing(0.80, 0.84, label="best", parameters=1000), standing(0.81, 0.81, label="near", parameters=9)
    better = standing(0.99, 0.99, label="better", parameters=2000)
    assert preferred_of([best], [near, better], "economical", "params") is near
    assert preferred_of([best], [near, better], "best", "params") is best


def test_one_seed_tells_of_no_economical_one() -> None:
    assert economical_of(standing(0.8, parameters=9), [standing(0.8, parameters=1)], "params") is None


@given(st.lists(st.none() | st.floats(), max_size=5))
def test_means_leave_out_what_is_not_a_number_and_json_says_null(values: list[float | None]) -> None:
    mean, deviation = mean_and_deviation(values)
    left = [value for value in values if value is not None and math.isfinite(value)]
    assert (mean is None) == (not left)
    assert (deviation is None) == (len(left) < 2)
    assert "NaN" not in strict_json({"values": values})
    assert "Infinity" not in strict_json({"values": values})


def test_one_value_has_no_deviation() -> None:
    assert spread(0.5, None) == "0.5000"
    assert spread(0.5, 0.0) == "0.5000 ± 0.0000"
    assert spread(None, None) == "undefined"
