from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_plugins.objectives.named_rewards import (
    MnasnetReward,
    MonasFloorReward,
    MonasLimitReward,
    MonasMixedReward,
    make_reward,
)
from automl_plugins.objectives.rewards import (
    mnasnet_reward,
    monas_floor_reward,
    monas_limit_reward,
    monas_mixed_reward,
)


def test_double_cost_for_the_tolerated_gain_is_worth_the_same() -> None:
    exponent = -math.log2(1.05)
    assert exponent == pytest.approx(-0.07, abs=5e-4)
    assert mnasnet_reward(0.70, 10, 10, exponent) == pytest.approx(mnasnet_reward(0.70 * 1.05, 20, 10, exponent))
    assert mnasnet_reward(0.5, 20, 10) / mnasnet_reward(0.5, 10, 10) == pytest.approx(2**-0.07)


def test_the_hard_reward_asks_nothing_below_the_target() -> None:
    assert mnasnet_reward(0.7, 3, 10, below=0, above=-1) == 0.7
    assert mnasnet_reward(0.7, 20, 10, below=0, above=-1) == pytest.approx(0.35)


PLAIN: list[Callable[[float, float], float]] = [
    lambda accuracy, cost: mnasnet_reward(accuracy, cost, 10),
    lambda accuracy, cost: mnasnet_reward(accuracy, cost, 10, below=0, above=-1),
    lambda accuracy, cost: monas_mixed_reward(accuracy, cost if math.isnan(cost) else min(1.0, cost / 20), 0.5),
    lambda accuracy, cost: monas_limit_reward(accuracy, cost, 10),
]


def of_floor(accuracy: float, cost: float) -> float:
    return MonasFloorReward("macs", most=20, floor=0.7)(accuracy, {"macs": cost})


@pytest.fixture(params=range(7))
def reward(request: pytest.FixtureRequest) -> Callable[[float, float], float]:
    of_figures = [MnasnetReward("macs", 10), MonasMixedReward("macs", 20), MonasLimitReward("macs", 10)]
    if request.param < len(PLAIN):
        return PLAIN[request.param]
    made = of_figures[request.param - len(PLAIN)]
    return lambda accuracy, cost: made(accuracy, {"macs": cost})


@given(st.floats(-10, 10), st.floats(-10, 10), st.floats(0, 20))
def test_a_better_score_at_the_same_cost_is_never_a_smaller_reward(one: float, other: float, cost: float) -> None:
    for reward in [*PLAIN, of_floor]:
        low, high = reward(min(one, other), cost), reward(max(one, other), cost)
        assert math.isfinite(low)
        assert low <= high


@given(st.floats(-10, 10), st.floats(0, 20), st.floats(0, 20))
def test_a_lower_cost_at_the_same_score_is_never_a_smaller_reward(accuracy: float, one: float, other: float) -> None:
    for reward in [*PLAIN, of_floor]:
        assert reward(accuracy, min(one, other)) >= reward(accuracy, max(one, other))


def test_a_score_of_0_is_a_value(reward: Callable[[float, float], float]) -> None:
    assert -1 < reward(0.0, 5.0) <= 0
    assert reward(-0.5, 5.0) < reward(0.0, 5.0) < reward(0.1, 5.0)


def test_a_cost_of_0_is_a_value(reward: Callable[[float, float], float]) -> None:
    assert math.isfinite(reward(0.5, 0.0))
    assert reward(0.5, 0.0) >= reward(0.5, 1.0)


@pytest.mark.parametrize(("accuracy", "cost"), [(math.nan, 5.0), (math.inf, 5.0), (-math.inf, 5.0), (0.5, math.nan)])
def test_what_is_not_a_number_ranks_last(accuracy: float, cost: float, reward: Callable[[float, float], float]) -> None:
    assert reward(accuracy, cost) == of_floor(accuracy, cost) == -math.inf


@pytest.mark.parametrize("target", [0, -1, math.nan, math.inf])
def test_a_target_without_meaning_is_refused(target: float) -> None:
    with pytest.raises(ValueError, match="the target is a number above 0"):
        mnasnet_reward(1, 1, target)
    with pytest.raises(ValueError, match="the limit is a number above 0"):
        monas_limit_reward(1, 1, target)
    with pytest.raises(ValueError, match="a cost is at least 0; got -1"):
        mnasnet_reward(1, -1, 1)


def test_monas_mixes_within_0_and_1_only() -> None:
    assert monas_mixed_reward(0.8, 0.5, 0.75) == pytest.approx(0.6 - 0.125)
    with pytest.raises(ValueError, match="cost is between 0 and 1"):
        monas_mixed_reward(0.8, 12, 0.75)


def test_missing_a_limit_by_less_is_better() -> None:
    assert monas_limit_reward(0.8, 5, 5) == 0.8
    assert 0 > monas_limit_reward(0.9, 6, 5) > monas_limit_reward(0.9, 7, 5)
    assert monas_floor_reward(0.8, 0.3, 0.8) == 0.7
    assert 0 > monas_floor_reward(0.7, 0.3, 0.8) > monas_floor_reward(0.6, 0.3, 0.8)
    with pytest.raises(ValueError, match="cost is between 0 and 1 in MONAS's floor reward; got 12"):
        monas_floor_reward(0.8, 12, 0.8)


def test_of_what_reaches_the_floor_the_cheapest_is_best() -> None:
    reward = make_reward({"class_path": "monas-floor", "cost": "macs", "most": 20, "floor": 0.7})
    assert reward(0.7, {"macs": 5}) == reward(0.9, {"macs": 5}) == 0.75
    assert reward(0.7, {"macs": 30}) == 0  # above the most, all cost alike
    assert reward(0.6, {"macs": 1}) == pytest.approx(-0.1)
