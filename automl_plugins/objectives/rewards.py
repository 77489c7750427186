"""One number of several: the rewards that MnasNet and MONAS give a controller.

Plain functions of floats, for an objective to return or a study to be maximised by. One weighted number finds one
region of the front, and no region where the front is not convex; a study with several objectives
finds the front.
"""

from __future__ import annotations

import math

_LEAST_RATIO = 1e-6
"""Costs below this share of the target count as this share: at 0 MnasNet's reward has no bound."""


def mnasnet_reward(
    accuracy: float, cost: float, target: float, below: float = -0.07, above: float | None = None
) -> float:
    """`accuracy * (cost / target) ** w` (MnasNet, equations 2 and 3).

    Soft: the same exponent on both sides; with `w = -log2(1 + gain)`, double cost is worth a relative gain in accuracy
    of `gain`, and -0.07 is 0.05 of it. Hard: `below=0, above=-1`, so that the target is a limit. If the paper
    defines none: a score of 0 or less is its own reward, since a product would reward a high cost with it; a cost of 0
    counts as a millionth of the target; what is not a finite number ranks last.

    Args:
        accuracy: larger is better.
        cost: latency, MACs or the like, at least 0.
        target: of the cost, above 0.
        below: w where the cost is at most the target.
        above: w where it is more; as below where left out.

    Raises:
        ValueError: the target is not above 0, or the cost is below 0.
    """
    _check_cost("cost", cost)
    _check_limit("target", target)
    if not _finite(accuracy, cost):
        return -math.inf
    if accuracy <= 0:
        return accuracy
    exponent = below if cost <= target or above is None else above
    return float(accuracy * max(cost / target, _LEAST_RATIO) ** exponent)


def monas_mixed_reward(accuracy: float, cost: float, weight: float) -> float:
    """`weight * accuracy - (1 - weight) * cost` (MONAS; Hsu et al., 2018, section 3.2), the cost within 0 and 1.

    The weight means what it says where the accuracy is within 0 and 1 too; a metric outside of that (a correlation, a
    score in percent) is taken as it is. A value that is no finite number ranks last.

    Raises:
        ValueError: the cost or the weight is outside 0 and 1.
    """
    _check_share("cost", cost, "mixed")
    _check_share("weight", weight, "mixed")
    return weight * accuracy - (1 - weight) * cost if _finite(accuracy, cost) else -math.inf


def monas_limit_reward(accuracy: float, cost: float, limit: float) -> float:
    """The accuracy where the cost keeps the limit; else less than nothing, by how far it is missed.

    MONAS gives 0 there, from which nothing can be learned before the limit has been kept once. An accuracy below 0
    that misses the limit is less than either. A value that is no finite number ranks last.

    Raises:
        ValueError: the limit is not above 0, or the cost is below 0.
    """
    _check_cost("cost", cost)
    _check_limit("limit", limit)
    if not _finite(accuracy, cost):
        return -math.inf
    return accuracy if cost <= limit else min(accuracy, 0.0) - (cost - limit)


def monas_floor_reward(accuracy: float, cost: float, floor: float) -> float:
    """`1 - cost`, with the cost within 0 and 1, where the accuracy reaches the floor; else less than nothing.

    As in `monas_limit_reward`, the distance to the floor takes the place of MONAS's 0. A value that is no finite number
    ranks last.

    Raises:
        ValueError: the cost is outside 0 and 1.
    """
    _check_share("cost", cost, "floor")
    if not _finite(accuracy, cost):
        return -math.inf
    return 1 - cost if accuracy >= floor else -(floor - accuracy)


def _finite(accuracy: float, cost: float) -> bool:
    return math.isfinite(accuracy) and math.isfinite(cost)


def _check_share(name: str, value: float, reward: str) -> None:
    # nan is not outside.
    if value < 0 or value > 1:
        raise ValueError(f"{name} is between 0 and 1 in MONAS's {reward} reward; got {value}")


def _check_cost(name: str, value: float) -> None:
    if value < 0:
        raise ValueError(f"a {name} is at least 0; got {value}")


def _check_limit(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"the {name} is a number above 0; got {value}")
