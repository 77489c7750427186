from __future__ import annotations

import pytest

from automl_plugins.objectives.welch import t_quantile, welch_interval


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.7062), (2, 4.30265), (4.5, 2.65891), (8, 2.30600), (30, 2.04227), (1e5, 1.95999)]
)
def test_quantiles_are_those_of_printed_tables(freedom: float, quantile: float) -> None:
    assert t_quantile(0.95, freedom) == pytest.approx(quantile, rel=1e-4)


def test_the_interval_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    for first, second in (
        ([0.81, 0.79], [0.75, 0.77]),
        ([1.0, 3.0, 2.5, 2.0], [0.1, 0.2]),
        ([5.0, 5.1], [1.0, 2.0, 3.0]),
    ):
        theirs = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
        assert welch_interval(first, second) == pytest.approx((theirs.low, theirs.high), rel=1e-9)


def test_values_without_spread_differ_by_what_they_differ() -> None:
    assert welch_interval([2.0, 2.0], [1.0, 1.0]) == (1.0, 1.0)


def test_a_single_value_has_no_interval() -> None:
    assert welch_interval([2.0], [1.0, 1.1, 1.2]) is None
