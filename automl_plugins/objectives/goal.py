"""What a study is after: a metric, and beside it costs to minimise, hard limits, or one reward for both."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from automl_plugins.measures.costs import set_limits
from automl_plugins.measures.figures import FIGURES
from automl_plugins.objectives.rewards import mnasnet_reward, monas_limit_reward, monas_mixed_reward
from automl_plugins.system.nearest import did_you_mean
from automl_plugins.training.best_validation import Direction

if TYPE_CHECKING:
    import optuna


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
        share = figures[self.cost] / self.most
        return monas_mixed_reward(score, share if math.isnan(share) else min(1.0, share), self.weight)


@dataclass(frozen=True)
class MonasLimitReward:
    """`monas_limit_reward` of the metric and a cost, which is taken as a share of the limit."""

    cost: str
    limit: float

    def __call__(self, score: float, figures: Mapping[str, float]) -> float:
        return monas_limit_reward(score, figures[self.cost] / self.limit, 1.0)


REWARDS: dict[str, Callable[..., Any]] = {
    "mnasnet": MnasnetReward,
    "monas-mixed": MonasMixedReward,
    "monas-limit": MonasLimitReward,
}
"""By the name that a configuration has for them. Of their metric more is better, and it is best between 0 and 1."""

_RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "target": ("above 0", lambda value: value > 0),
    "most": ("above 0", lambda value: value > 0),
    "limit": ("above 0", lambda value: value > 0),
    "weight": ("between 0 and 1", lambda value: 0 <= value <= 1),
    # With another sign, more of a cost would be better.
    "below": ("at most 0", lambda value: value <= 0),
    "above": ("at most 0", lambda value: value <= 0),
}


class Goal:
    """What a study's trials are told: a value for the metric or the reward, and one for each cost.

    Args:
        costs: figures to minimise beside the metric; with any, a study has a front instead of one best trial.
        limits: figure -> the most that it may be, as Optuna constraints.
        reward: a name of `REWARDS` with its arguments beside `class_path`, as a mapping; the value is then the
            reward, to be maximised, and not the metric.

    Raises:
        ValueError: an unknown figure or reward, a limit that is not a number above 0, a reward beside costs, or
            another argument that means nothing.
    """

    def __init__(
        self, costs: Sequence[str] = (), limits: Mapping[str, float] | None = None, reward: Any = None
    ) -> None:
        if isinstance(costs, str):
            raise ValueError(f"costs is a list of figures; got {costs!r}; write [{costs}]")
        if limits is not None and not isinstance(limits, Mapping):
            raise ValueError(f"limits says of figures the most that each may be, such as macs: 1.0e+9; got {limits!r}")
        self.costs = tuple(costs)
        self.limits = dict(limits or {})
        self.reward = None if reward is None else _make_reward(reward)
        if self.reward is not None and self.costs:
            raise ValueError("reward: it makes one value of all, so give either a reward or costs to minimise")
        for key, names in (("costs", self.costs), ("limits", self.limits), ("reward.cost", self._rewarded)):
            for name in names:
                if name not in FIGURES:
                    raise ValueError(f"{key}: there is no figure {name!r}; {did_you_mean(name, FIGURES)}")
        if len(set(self.costs)) < len(self.costs):
            raise ValueError(f"costs: one comes twice in {', '.join(self.costs)}")
        for name, limit in self.limits.items():
            _check_number(f"limits.{name}", limit, "limit")

    @property
    def _rewarded(self) -> tuple[str, ...]:
        return () if self.reward is None else (self.reward.cost,)

    @property
    def figures(self) -> tuple[str, ...]:
        """What must be measured."""
        return tuple(dict.fromkeys((*self.costs, *self.limits, *self._rewarded)))

    def directions(self, metric: Direction) -> list[Direction]:
        """Of the values, after the metric's.

        Raises:
            ValueError: a reward of a metric of which less is better.
        """
        if self.reward is not None and metric == "minimize":
            raise ValueError(
                "reward: it takes a metric of which more is better, between 0 and 1, such as an accuracy; the metric "
                "of this study is minimised, so give it costs or limits instead"
            )
        costs: list[Direction] = ["minimize"] * len(self.costs)
        return [metric, *costs]

    def values(self, score: float, figures: Mapping[str, float]) -> list[float]:
        """What a trial is told."""
        if self.reward is not None:
            return [self.reward(score, figures)]
        return [score, *(figures[name] for name in self.costs)]

    def constrain(self, trial: optuna.Trial, figures: Mapping[str, float]) -> None:
        """Tell a trial how far it keeps the limits."""
        set_limits(trial, figures, self.limits)


def _make_reward(config: Any) -> Any:
    if not isinstance(config, str | Mapping):
        raise ValueError(f"reward is a name or a mapping with class_path; got {config!r}")
    given: dict[str, Any] = {"class_path": config} if isinstance(config, str) else dict(config)
    name = str(given.pop("class_path", None))
    arguments = {**(given.pop("init_args", None) or {}), **given}
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
            _check_number(f"reward.{argument}", arguments[argument], argument)
    return REWARDS[name](**arguments)


def _check_number(name: str, value: Any, kind: str) -> None:
    told, fits = _RANGES[kind]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not fits(value):
        raise ValueError(f"{name} is {told}; got {value!r}")
