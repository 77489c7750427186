"""Tests of differences over seeds: Student's, paired, and Holm's correction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_plugins.objectives.paired import holm, paired_test, paired_tests, t_quantile


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.7062), (2, 4.30265), (4.5, 2.65891), (8, 2.30600), (30, 2.04227), (1e5, 1.95999)]
)
def test_quantiles_are_those_of_printed_tables(freedom: float, quantile: float) -> None:
    assert t_quantile(0.95, freedom) == pytest.approx(quantile, rel=1e-4)


@pytest.mark.parametrize(
    "differences", [[0.03, 0.05], [0.1, -0.2, 0.05], [0.1, 0.11, 0.1, 0.12, 0.09], list(np.linspace(-1, 1.3, 30))]
)
def test_interval_and_p_value_are_scipys(differences: list[float]) -> None:
    stats = pytest.importorskip("scipy.stats")
    theirs = stats.ttest_1samp(differences, 0.0)
    interval, found = theirs.confidence_interval(0.95), paired_test(differences)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-6)
    assert found.pairs == len(differences)


def test_without_spread_an_equal_is_an_equal_and_a_difference_is_one() -> None:
    assert (paired_test([0.0, 0.0]).p, paired_test([0.5, 0.5]).p) == (1.0, 0.0)
    assert (paired_test([0.5, 0.5]).low, paired_test([0.5, 0.5]).high) == (0.5, 0.5)


def test_a_single_pair_shows_nothing() -> None:
    test = paired_tests([0.9], {"other": [0.1]}, maximize=True)["other"]
    assert (test.difference, test.p, test.shows) == (pytest.approx(0.8), None, 0)


def test_holm_corrects_by_hand() -> None:
    # The least by three, the next by two, the last by one, and none below one before it.
    assert holm([0.02, 0.01, 0.04]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_between_no_correction_and_bonferronis(p_values: list[float]) -> None:
    for one, corrected in zip(p_values, holm(p_values), strict=True):
        assert one <= corrected <= min(1.0, len(p_values) * one)


def test_seeds_on_which_either_has_no_value_are_left_out_and_fewer_is_better_where_it_is() -> None:
    tests = paired_tests([0.1, None, 0.1, 0.2], {"a": [0.2, 0.2, None, 0.4], "b": [None] * 4}, maximize=False)
    assert tests.keys() == {"a"}
    assert (tests["a"].pairs, tests["a"].difference) == (2, pytest.approx(0.15))


def test_what_is_shown_is_shown_after_the_correction() -> None:
    mine, other = [0.81, 0.83, 0.83, 0.80, 0.84], [0.80, 0.81, 0.81, 0.80, 0.81]
    alone = paired_tests(mine, {"other": other}, maximize=True)["other"]
    assert 0.025 < alone.p < 0.05
    assert alone.shows == 1
    both = paired_tests(mine, {"other": other, "equal": other}, maximize=True)["other"]
    assert both.adjusted_p == pytest.approx(2 * alone.p)
    assert both.shows == 0
    assert paired_tests(mine, {"other": other}, maximize=False)["other"].shows == -1
