from __future__ import annotations

import pytest

from automl_plugins.objectives.rewards import (
    mnasnet_exponent,
    mnasnet_reward,
    monas_floor_reward,
    monas_limit_reward,
    monas_mixed_reward,
)


def test_the_exponent_of_a_tolerated_gain_is_the_papers() -> None:
    assert mnasnet_exponent(0.05) == pytest.approx(-0.07, abs=5e-4)
    assert mnasnet_exponent(0.01) == pytest.approx(-0.014, abs=5e-4)


def test_double_cost_for_the_tolerated_gain_is_worth_the_same() -> None:
    exponent = mnasnet_exponent(0.05)
    assert mnasnet_reward(0.70, 10, 10, exponent) == pytest.approx(mnasnet_reward(0.70 * 1.05, 20, 10, exponent))
    assert mnasnet_reward(0.5, 20, 10) / mnasnet_reward(0.5, 10, 10) == pytest.approx(2**-0.07)


def test_the_hard_reward_asks_nothing_below_the_target() -> None:
    assert mnasnet_reward(0.7, 3, 10, below=0, above=-1) == 0.7
    assert mnasnet_reward(0.7, 20, 10, below=0, above=-1) == pytest.approx(0.35)


@pytest.mark.parametrize(("accuracy", "cost", "target"), [(0, 1, 1), (1, 0, 1), (1, 1, -1), (float("nan"), 1, 1)])
def test_what_a_power_has_no_meaning_for_is_refused(accuracy: float, cost: float, target: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        mnasnet_reward(accuracy, cost, target)


def test_a_gain_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="gain is the relative accuracy"):
        mnasnet_exponent(0)


def test_monas_mixes_within_0_and_1_only() -> None:
    assert monas_mixed_reward(0.8, 0.5, 0.75) == pytest.approx(0.6 - 0.125)
    with pytest.raises(ValueError, match="cost is between 0 and 1"):
        monas_mixed_reward(0.8, 12, 0.75)


def test_missing_a_limit_by_less_is_better() -> None:
    assert monas_limit_reward(0.8, 5, 5) == 0.8
    assert 0 > monas_limit_reward(0.9, 6, 5) > monas_limit_reward(0.9, 7, 5)
    assert monas_floor_reward(0.8, 0.3, 0.8) == 0.7
    assert 0 > monas_floor_reward(0.7, 0.3, 0.8) > monas_floor_reward(0.6, 0.3, 0.8)
