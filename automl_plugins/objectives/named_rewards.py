"""Rewards by the names that a configuration has for them: one number of a metric and a cost."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from automl_plugins.objectives.rewards import (
    mnasnet_reward,
    monas_floor_reward,
    monas_limit_reward,
    monas_mixed_reward,
)
from automl_plugins.system.arguments import is_finite
from automl_plugins.system.nearest import did_you_mean


@dataclass(frozen=True)
class MnasnetReward:
    """`mnasnet_reward` of the metric and a cost; `below: 0, above: -1` is the hard one."""

    cost: str
    target: float
    below: float = -0.07
    above: float | None = None

    def __call__(self, score: float, figures: Mapping[str, float]) -> float:
        return mnasnet_reward(score, figures[self.cost], self.target, self.below, self.above)


@dataclass(frozen=True)
class MonasMixedReward:
    """`monas_mixed_reward` of the metric and a cost, which is taken as a share of `most`; above that it is 1."""

    cost: str
    most: float
    weight: float = 0.5

    def __call__(self, score: float, figures: Mapping[str, float]) -> float:
        return monas_mixed_reward(score, _share(figures[self.cost], self.most), self.weight)


@dataclass(frozen=True)
class MonasLimitReward:
    """`monas_limit_reward` of the metric and a cost, which is taken as a share of the limit."""

    cost: str
    limit: float

    def __call__(self, score: float, figures: Mapping[str, float]) -> float:
        return monas_limit_reward(score, figures[self.cost] / self.limit, 1.0)


@dataclass(frozen=True)
class MonasFloorReward:
    """`monas_floor_reward` of the metric and a cost, which is taken as a share of `most`; above that it is 1.

    It is for the least cost of what is good enough: scores above the floor count alike.
    """

    cost: str
    most: float
    floor: float

    def __call__(self, score: float, figures: Mapping[str, float]) -> float:
        return monas_floor_reward(score, _share(figures[self.cost], self.most), self.floor)


def _share(cost: float, most: float) -> float:
    share = cost / most
    return share if math.isnan(share) else min(1.0, share)


REWARDS: dict[str, Callable[..., Any]] = {
    "mnasnet": MnasnetReward,
    "monas-mixed": MonasMixedReward,
    "monas-limit": MonasLimitReward,
    "monas-floor": MonasFloorReward,
}
"""By the name that a configuration has for them. Of their metric more is better, and it is best between 0 and 1."""

_RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "target": ("above 0", lambda value: value > 0),
    "most": ("above 0", lambda value: value > 0),
    "limit": ("above 0", lambda value: value > 0),
    "floor": ("a number", lambda value: True),
    "weight": ("between 0 and 1", lambda value: 0 <= value <= 1),
    # With another sign, more of a cost would be better.
    "below": ("at most 0", lambda value: value <= 0),
    "above": ("at most 0", lambda value: value <= 0),
}


def make_reward(config: Any) -> Any:
    """A reward from its name, or from a mapping with `class_path` and arguments beside it.

    Raises:
        ValueError: no such reward or argument, one that is missing, or a number out of its range.
    """
    if not isinstance(config, str | Mapping):
        raise ValueError(f"reward is a name or a mapping with class_path; got {config!r}")
    options: dict[str, Any] = {"class_path": config} if isinstance(config, str) else dict(config)
    name = str(options.pop("class_path", None))
    arguments = {**(options.pop("init_args", None) or {}), **options}
    if name not in REWARDS:
        raise ValueError(f"reward: there is no {name!r}; {did_you_mean(name, REWARDS)}")
    parameters = inspect.signature(REWARDS[name]).parameters
    for argument in arguments:
        if argument not in parameters:
            raise ValueError(f"reward.{argument} is no argument of {name}; {did_you_mean(argument, parameters)}")
    for argument, parameter in parameters.items():
        if parameter.default is parameter.empty and argument not in arguments:
            raise ValueError(f"reward.{argument} is missing")
        if argument in _RANGES and arguments.get(argument) is not None:
            check_number(f"reward.{argument}", arguments[argument], argument)
    return REWARDS[name](**arguments)


def check_number(name: str, value: Any, kind: str) -> None:
    """Check a number of an objective.

    Args:
        name: of the setting, for the message.
        value: of the setting.
        kind: the argument's own name, which has a range.

    Raises:
        ValueError: it is no finite number, or out of its range.
    """
    range_, fits = _RANGES[kind]
    if not is_finite(value) or not fits(value):
        raise ValueError(f"{name} is {range_}; got {value!r}")
