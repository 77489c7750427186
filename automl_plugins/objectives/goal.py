"""The goal of a study: a metric, and beside it costs to minimise, hard limits, or one reward for both."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from automl_plugins.measures.figures import check_figure
from automl_plugins.objectives.limits import set_limits
from automl_plugins.objectives.named_rewards import check_number, make_reward
from automl_plugins.spaces.budget import COUNTED
from automl_plugins.spaces.limits import REFERENCES
from automl_plugins.training.best_validation import Direction

if TYPE_CHECKING:
    import optuna


def counted_limits(limits: Any) -> dict[str, Any] | None:
    """The limits of a study that its space is narrowed to: of figures counted before a training, and the factor.

    Args:
        limits: as a study takes them, unchecked.
    """
    if not isinstance(limits, Mapping):
        return None
    return {name: limit for name, limit in limits.items() if name in (*COUNTED, REFERENCES)}


class Goal:
    """The values that a study's trials are told: one for the metric or the reward, and one for each cost.

    Args:
        costs: figures to minimise beside the metric; with any, a study has a front instead of one best trial.
        limits: figure -> the most that it may be, as Optuna constraints; null: anything. Those that are counted before
            a training, and the factor `references`, are the project's, too: see `counted_limits`.
        reward: a name of `REWARDS` with its arguments beside `class_path`, as a mapping; the value is then the
            reward, to be maximised, and not the metric.

    Raises:
        ValueError: an unknown figure or reward, a limit that is not a number above 0, a reward beside costs, or
            another argument that means nothing.
    """

    def __init__(
        self, costs: Sequence[str] = (), limits: Mapping[str, float | None] | None = None, reward: Any = None
    ) -> None:
        if isinstance(costs, str):
            raise ValueError(f"costs is a list of figures; got {costs!r}; write [{costs}]")
        if limits is not None and not isinstance(limits, Mapping):
            raise ValueError(f"limits says of figures the most that each may be, such as macs: 1.0e+9; got {limits!r}")
        self.costs = tuple(costs)
        self.asked_limits = dict(limits or {})
        """The limits as they were asked for."""
        self.limits = {
            name: limit for name, limit in self.asked_limits.items() if name != REFERENCES and limit is not None
        }
        self.reward = None if reward is None else make_reward(reward)
        if self.reward is not None and self.costs:
            raise ValueError("reward: it makes one value of all, so give either a reward or costs to minimise")
        for key, names in (("costs", self.costs), ("limits", self.limits), ("reward.cost", self._rewarded)):
            for name in names:
                check_figure(key, name)
        if len(set(self.costs)) < len(self.costs):
            raise ValueError(f"costs: one comes twice in {', '.join(self.costs)}")
        for name, limit in self.limits.items():
            check_number(f"limits.{name}", limit, "limit")

    @property
    def _rewarded(self) -> tuple[str, ...]:
        return () if self.reward is None else (self.reward.cost,)

    @property
    def figures(self) -> tuple[str, ...]:
        """The figures that must be measured."""
        return tuple(dict.fromkeys((*self.costs, *self.limits, *self._rewarded)))

    def broken(self, figures: Mapping[str, float], among: Collection[str] | None = None) -> list[str]:
        """The limits that figures break; one that is unknown breaks its own.

        Args:
            figures: by name.
            among: the limits to look at; all where left out.
        """
        limits = {name: limit for name, limit in self.limits.items() if among is None or name in among}
        return [name for name, limit in limits.items() if not figures.get(name, math.inf) <= limit]

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
        """The values that a trial is told."""
        if self.reward is not None:
            return [self.reward(score, figures)]
        return [score, *(figures[name] for name in self.costs)]

    def constrain(self, trial: optuna.Trial, figures: Mapping[str, float]) -> None:
        """Tell a trial how far it keeps the limits."""
        set_limits(trial, figures, self.limits)
