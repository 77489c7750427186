"""Estimators by name, by class path, or as they are."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import yaml

from automl_plugins import registry
from automl_plugins.estimators.base import Estimate, Estimator
from automl_plugins.estimators.context import Candidate, Context
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.system.nearest import did_you_mean

_COLLECTED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
EstimatorConfig = str | Mapping[str, Any]
"""A registered name, one with its first argument (`training:3`, `ranks:[naswot,jacov,macs]`), or a mapping with
`class_path` (a name or an import path) and, where wanted, `init_args`."""


def make_estimator(
    config: EstimatorConfig | Estimator | type[Estimator] | Callable[[Architecture], float],
    space: SearchSpace,
    seed: int = 0,
) -> Estimator:
    """An estimator from what a configuration or a script says.

    Args:
        config: a name of the groups `estimators` or `predictors`, or a mapping with `class_path` and `init_args`; an
            estimator is given back as it is, a class is made one, and so is a function of an architecture.
        space: that is searched, for estimators that take a `space`.
        seed: for those that take a `seed`, unless `init_args` has one.

    Raises:
        ValueError: no such estimator, or an argument that it does not take or is not made without.
        TypeError: `config` is none of these.
    """
    if isinstance(config, Estimator):
        return config
    if isinstance(config, str):
        config = _with_argument(config) if ":" in config else {"class_path": _named(config)}
    if isinstance(config, Mapping):
        return _made(*_resolve(config), space, seed)
    if isinstance(config, type):
        if issubclass(config, Estimator):
            return _made(config, {}, space, seed)
    elif callable(config):
        return FunctionEstimator(config)
    raise TypeError(f"an estimator is a name, a mapping with class_path, or an Estimator; got {config!r}")


def _made(cls: type[Any], arguments: Mapping[str, Any], space: SearchSpace, seed: int) -> Estimator:
    offered = {"space": space, "seed": seed}
    parameters = inspect.signature(cls).parameters
    arguments = {**{name: value for name, value in offered.items() if name in parameters}, **arguments}
    for name, parameter in parameters.items():
        is_needed = parameter.default is parameter.empty and parameter.kind not in _COLLECTED
        if is_needed and name not in arguments:
            raise ValueError(f"estimator.init_args.{name} is missing: {cls.__name__} is not made without it")
    if "estimators" in arguments:
        given = arguments["estimators"]
        listed = [given] if isinstance(given, str | Mapping | Estimator) else given
        arguments["estimators"] = [make_estimator(each, space, seed) for each in listed]
    estimator: Estimator = cls(**arguments)
    return estimator


def _with_argument(text: str) -> dict[str, Any]:
    """The mapping that `name:value` is short for; the value is YAML, for the class's first argument of its own."""
    name, _, value = text.partition(":")
    cls = _registered(name)
    own = [each for each in inspect.signature(cls).parameters if each not in ("space", "seed")]
    if not own:
        raise ValueError(f"estimator={text!r}: {name} takes no argument")
    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ValueError(f"estimator={text!r}: {value!r} is no YAML value, such as 3 or [naswot,macs]") from error
    # Text imports nothing, also none that stands within a list.
    if isinstance(read, dict) or (isinstance(read, list) and any(isinstance(each, dict | list) for each in read)):
        raise ValueError(f"estimator={text!r}: {value!r} is one value or a list of values; more is a mapping's affair")
    return {"class_path": name, "init_args": {own[0]: read}}


class FunctionEstimator(Estimator):
    """A function of an architecture as an estimator.

    Args:
        function: gives the score, the higher the better.
    """

    needs_context: ClassVar[bool] = False

    def __init__(self, function: Callable[[Architecture], float]) -> None:
        self.function = function

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        """The function's value."""
        if not isinstance(candidate, Architecture):
            raise TypeError(f"a function of architectures scores no {type(candidate).__name__}")
        return Estimate(float(self.function(candidate)))


def _resolve(config: Mapping[str, Any]) -> tuple[type[Any], dict[str, Any]]:
    """The class and the arguments that a mapping stands for."""
    for unknown in set(config) - {"class_path", "init_args"}:
        raise ValueError(f"estimator.{unknown} is not valid; {did_you_mean(unknown, ('class_path', 'init_args'))}")
    if "class_path" not in config:
        raise ValueError("an estimator needs a class_path beside its init_args")
    path = str(config["class_path"])
    cls = _imported(path) if "." in path else _registered(path)
    arguments = dict(config.get("init_args") or {})
    parameters = inspect.signature(cls).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        for argument in arguments:
            if argument not in parameters:
                nearest = did_you_mean(argument, parameters)
                raise ValueError(f"estimator.init_args.{argument} is no argument of {cls.__name__}; {nearest}")
    return cls, arguments


def _named(name: str) -> str:
    """The name of an estimator that is registered."""
    _registered(name)
    return name


def _registered(name: str) -> type[Any]:
    for group in ("estimators", "predictors"):
        if name in registry.names(group):
            return registry.load(group, name)
    # A text alone imports nothing: where a configuration names a class, its reader looks at it first.
    known = [*registry.names("estimators"), *registry.names("predictors")]
    hint = "an import path is given as {class_path: ...}" if "." in name else did_you_mean(name, known)
    raise ValueError(f"estimator={name!r} is unknown; {hint}")


def _imported(path: str) -> type[Any]:
    module, _, attribute = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"estimator={path!r} cannot be imported: {error}") from error
    if not (inspect.isclass(found) and issubclass(found, Estimator)):
        raise ValueError(f"estimator={path!r} is no Estimator")
    return found
