"""The training settings that a study searches along with the architecture: parameters of the same Optuna trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from automl_plugins.spaces.space import SearchSpace
from automl_plugins.system.arguments import is_finite, is_number, switch
from automl_plugins.system.nearest import did_you_mean
from automl_plugins.training.tunable import HOMES

_FORM = "a list of values, or {low: 1e-4, high: 1e-2, log: true}"
_RANGE = ("low", "high", "log")
_PLAIN = (str, int, float, bool)
_LARGEST = 2**53
"""The largest whole number of a range: beyond it samplers, which reckon in floats, would miss some."""


@dataclass(frozen=True)
class Tuning:
    """The training settings that a study searches along, by their names: `module.learning_rate`, `data.batch_size`.

    Args:
        distributions: the values that each may have, as Optuna has them.
    """

    distributions: Mapping[str, BaseDistribution] = field(default_factory=dict)

    @property
    def described(self) -> dict[str, Any]:
        """The description that a user would write, as plain values."""
        return {name: _described(each) for name, each in self.distributions.items()}

    def suggest(self, trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        """Ask a trial for every setting, as an ordinary parameter of its name."""
        return {name: _suggest(trial, name, each) for name, each in self.distributions.items()}

    def of(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The settings among the parameters of a trial."""
        return {name: parameters[name] for name in self.distributions if name in parameters}

    def without(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a trial that are no settings: its architecture's choices."""
        return {name: value for name, value in parameters.items() if name not in self.distributions}

    def offered(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Those of some settings whose values may be drawn."""
        return {
            name: settings[name]
            for name, each in self.distributions.items()
            if name in settings and _offers(each, settings[name])
        }

    def extremes(self) -> list[tuple[str, Any]]:
        """Every value of a list and both ends of a range, each with its name: what to try before a study begins."""
        return [
            (name, value)
            for name, each in self.distributions.items()
            for value in (each.choices if isinstance(each, CategoricalDistribution) else (each.low, each.high))  # type: ignore[attr-defined]
        ]


def make_tuning(tune: Mapping[str, Any] | None, space: SearchSpace) -> Tuning:
    """The tuning that a user's `tune` describes.

    Args:
        tune: for each setting a list of plain values, or a range `{low, high, log}`, of whole numbers where both ends
            are.
        space: that is searched beside it.

    Raises:
        ValueError: it is something else; the message names the setting.
    """
    if tune is None:
        return Tuning()
    if not isinstance(tune, Mapping):
        raise ValueError(f"tune is a mapping of settings, each {_FORM}; got {tune!r}")
    choices = {choice.name for choice in space.whole.choices}
    distributions = {}
    for name, values in tune.items():
        home, _, argument = str(name).partition(".")
        if home not in HOMES or not argument.isidentifier():
            raise ValueError(
                f"tune.{name} is no setting: one is an argument of the module or of the data, by its name there, such "
                "as module.learning_rate or data.batch_size"
            )
        if name in choices:
            raise ValueError(f"tune.{name}: the space {space.name!r} has a choice of that name")
        distributions[str(name)] = _distribution(f"tune.{name}", values)
    return Tuning(distributions)


def _distribution(key: str, values: Any) -> BaseDistribution:
    if isinstance(values, Mapping):
        return _range(key, values)
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ValueError(f"{key} is {_FORM}; got {values!r}")
    if not values:
        raise ValueError(f"{key}=[]: there is no value to choose from; it is {_FORM}")
    values = [_plain(value) for value in values]
    for place, value in enumerate(values):
        if not (value is None or isinstance(value, _PLAIN)):
            raise ValueError(f"{key} is a list of texts, numbers, true, false and null; got {value!r}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{key} is a list of finite numbers; got {value}")
        if value in values[:place]:
            raise ValueError(f"{key} has {value!r} twice")
    return CategoricalDistribution(tuple(values))


def _plain(value: Any) -> Any:
    """The number of Python's that a scalar of NumPy is, which neither YAML nor JSON can hold; else the value itself."""
    return value.item() if isinstance(value, np.generic) else value


def _range(key: str, values: Mapping[str, Any]) -> BaseDistribution:
    for name in values:
        if name not in _RANGE:
            raise ValueError(f"{key}.{name} is not valid; {did_you_mean(name, _RANGE)}")
    for name in ("low", "high"):
        if name not in values:
            raise ValueError(f"{key}: {name} is missing; it is {_FORM}")
        if not is_finite(values[name]):
            raise ValueError(f"{key}.{name} is a finite number; got {values[name]!r}")
    low, high, log = _plain(values["low"]), _plain(values["high"]), switch(f"{key}.log", values.get("log", False))
    if low >= high:
        raise ValueError(f"{key}: low={low} is not below high={high}")
    if log and low <= 0:
        raise ValueError(f"{key}: with log, low is greater than 0; got {low}")
    if isinstance(low, int) and isinstance(high, int):
        if max(-low, high) > _LARGEST:
            raise ValueError(f"{key}: whole numbers are at most {_LARGEST:,}; got low={low} and high={high}")
        return IntDistribution(low, high, log)
    return FloatDistribution(float(low), float(high), log)


def _suggest(trial: optuna.trial.BaseTrial, name: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    range_: Any = distribution
    ask = trial.suggest_int if isinstance(distribution, IntDistribution) else trial.suggest_float
    return ask(name, range_.low, range_.high, log=range_.log)


def _described(distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    return {name: getattr(distribution, name) for name in _RANGE}


def _offers(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    return is_number(value) and bool(distribution.low <= value <= distribution.high)  # type: ignore[attr-defined]
