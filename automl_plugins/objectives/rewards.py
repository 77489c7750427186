"""One number of several: the rewards that MnasNet and MONAS give a controller.

Plain functions of floats, for an objective to return or a study to be maximised by. One weighted number finds one
region of the front, and no region where the front is not convex; a study with several objectives
finds the front.
"""

from __future__ import annotations

import math


def mnasnet_exponent(gain: float) -> float:
    """The exponent w of MnasNet's soft reward: double cost is worth a relative gain in accuracy of `gain`.

    `(1 + gain) * 2 ** w == 1`; 0.05 gives -0.07, as in the paper (Tan et al., CVPR 2019, section 3). Where accuracy
    is near what can be reached, as on citation graphs, tolerate less: 0.01 gives -0.014.

    Raises:
        ValueError: `gain` is not above 0.
    """
    if gain <= 0:
        raise ValueError(f"gain is the relative accuracy that double cost must bring, above 0; got {gain}")
    return -math.log2(1 + gain)


def mnasnet_reward(
    accuracy: float, cost: float, target: float, below: float = -0.07, above: float | None = None
) -> float:
    """`accuracy * (cost / target) ** w` (MnasNet, equations 2 and 3).

    Soft: the same exponent on both sides, as `mnasnet_exponent` gives it. Hard: `below=0, above=-1`, so that the target
    is a limit.

    Args:
        accuracy: above 0, larger is better.
        cost: latency, MACs or the like, above 0.
        target: what it should be, above 0.
        below: w where the cost is at most the target.
        above: w where it is more; as below where left out.

    Raises:
        ValueError: a number is not above 0: the reward has no meaning there.
    """
    for name, value in (("accuracy", accuracy), ("cost", cost), ("target", target)):
        if not value > 0:
            raise ValueError(f"{name} is above 0 in MnasNet's reward; got {value}")
    exponent = below if cost <= target or above is None else above
    return accuracy * (cost / target) ** exponent


def monas_mixed_reward(accuracy: float, cost: float, weight: float) -> float:
    """`weight * accuracy - (1 - weight) * cost` (MONAS; Hsu et al., 2018, section 3.2), both within 0 and 1.

    Raises:
        ValueError: a number is outside 0 and 1, so that the weight would mean nothing.
    """
    for name, value in (("accuracy", accuracy), ("cost", cost), ("weight", weight)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is between 0 and 1 in MONAS's mixed reward; got {value}")
    return weight * accuracy - (1 - weight) * cost


def monas_limit_reward(accuracy: float, cost: float, limit: float) -> float:
    """The accuracy where the cost keeps the limit; else less than nothing, by how far it is missed.

    MONAS gives 0 there, from which nothing can be learned before the limit has been kept once.
    """
    return accuracy if cost <= limit else -(cost - limit)


def monas_floor_reward(accuracy: float, cost: float, floor: float) -> float:
    """`1 - cost`, with the cost within 0 and 1, where the accuracy reaches the floor; else less than nothing.

    As in `monas_limit_reward`, how far the floor is missed takes the place of MONAS's 0.
    """
    return 1 - cost if accuracy >= floor else -(floor - accuracy)
