"""Samplers and pruners by name, by class path, or as they are."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from automl_plugins import registry
from automl_plugins.samplers.base import ArchitectureSampler
from automl_plugins.samplers.judge import LazyContext
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.studies.hyperband import HyperbandPruner
from automl_plugins.system.nearest import did_you_mean
from automl_plugins.training.description import describe

PartConfig = str | Mapping[str, Any]
"""A name, or a mapping with `class_path` and, where wanted, `init_args`."""


def sampler_factory(
    config: PartConfig | BaseSampler | type[BaseSampler],
    space: SearchSpace | None = None,
    context: LazyContext | None = None,
) -> SamplerFactory:
    """The maker of each trial's sampler.

    Args:
        config: a class of `optuna.samplers` (`TPESampler`), a registered sampler, or a class path
            with `init_args`; or a sampler, which is then used as it is; or a class of samplers.
        space: what is searched, for samplers that take a `space`.
        context: what estimators judge in, for samplers that take a `context`.

    Raises:
        ValueError: no such sampler, or an argument that it does not take.
        TypeError: something else.
    """
    if isinstance(config, BaseSampler):
        return SamplerFactory(type(config), sampler=config)
    return SamplerFactory(*_resolve("sampler", config, optuna.samplers, BaseSampler), space=space, context=context)


class SamplerFactory:
    """Makes the sampler of one trial, seeded by the study's seed and the trial's ordinal alone.

    A study that was killed therefore goes on with the very architectures that it would have
    asked for, and workers that start together ask for different ones. A sampler that takes no
    `seed` is made once and used for all trials, as is one that was given as an object, and one of
    ours (`ArchitectureSampler`), which sees to the same by itself and learns over the trials.

    Args:
        cls: the sampler's class.
        arguments: what it is made with.
        sampler: or a sampler as it is.
        space: what is searched; a sampler that takes a `space` is given it.
        context: what estimators judge in; a sampler that takes a `context` is given it.
        defaults: values that parameters beside the architecture have without tuning, by name; a sampler that takes
            `defaults`, and has none among its arguments, is given them.
    """

    def __init__(
        self,
        cls: type[BaseSampler],
        arguments: Mapping[str, Any] | None = None,
        sampler: BaseSampler | None = None,
        space: SearchSpace | None = None,
        context: LazyContext | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        self.cls = cls
        self.arguments = dict(arguments or {})
        self.given = self._kept = sampler
        self._of_seed: tuple[int, BaseSampler] | None = None
        parameters = inspect.signature(cls).parameters
        self._takes_seed = "seed" in parameters
        supplied: dict[str, Any] = {"space": space, "context": context}
        if "defaults" not in self.arguments:
            supplied["defaults"] = defaults
        self._given: dict[str, Any] = {
            name: value for name, value in supplied.items() if value is not None and name in parameters
        }
        self(0, 0)

    def over(self, space: SearchSpace, defaults: Mapping[str, Any]) -> SamplerFactory:
        """The same, of a space that was narrowed to a task; a sampler that was given as an object stays as it is.

        Args:
            space: narrowed.
            defaults: values that parameters beside the architecture have without tuning, by name.
        """
        if "space" not in self._given or self.given is not None:
            return self
        context = self._given.get("context")
        return SamplerFactory(self.cls, self.arguments, space=space, context=context, defaults=defaults)

    @property
    def described(self) -> Any:
        """The description that tells this sampler from others, as JSON."""
        if self.given is not None:
            return describe(self.given)
        return {"class": describe(self.cls), "arguments": describe(self.arguments)}

    def __call__(self, seed: int, ordinal: int) -> BaseSampler:
        """The sampler of the `ordinal`-th trial, counted from 0.

        Args:
            seed: the study's; a `seed` among the sampler's own arguments comes before it.
            ordinal: how many trials were asked for before.
        """
        if self._kept is not None:
            return self._kept
        if not self._takes_seed:
            self._kept = self.cls(**self._given, **self.arguments)
            return self._kept
        base = self.arguments.get("seed")
        seed = seed if base is None else base
        if issubclass(self.cls, ArchitectureSampler):
            if self._of_seed is None or self._of_seed[0] != seed:
                self._of_seed = seed, self.cls(**self._given, **{**self.arguments, "seed": seed})
            return self._of_seed[1]
        state = np.random.SeedSequence([seed, ordinal]).generate_state(1)
        return self.cls(**self._given, **{**self.arguments, "seed": int(state[0])})


def make_pruner(config: PartConfig | BasePruner | type[BasePruner] | None) -> BasePruner:
    """A pruner of trials.

    Args:
        config: a class of `optuna.pruners` (`MedianPruner`), or a class path with `init_args`; a
            pruner is given back as it is, and a class is made one; None never prunes.

    Raises:
        ValueError: no such pruner, or an argument that it does not take.
        TypeError: something else.
    """
    if config is None:
        return optuna.pruners.NopPruner()
    if isinstance(config, BasePruner):
        return config
    cls, arguments = _resolve("pruner", config, optuna.pruners, BasePruner)
    return HyperbandPruner(**arguments) if cls is optuna.pruners.HyperbandPruner else cls(**arguments)


def comes_with_hyperband(sampler: SamplerFactory) -> bool:
    """True where a study that names no pruner has Hyperband's, for the sake of its sampler."""
    return issubclass(sampler.cls, ArchitectureSampler) and sampler.cls.hyperband


def _resolve(key: str, config: PartConfig | type, home: Any, base: type) -> tuple[type[Any], dict[str, Any]]:
    """The class and the arguments that a name, a mapping or the class itself stands for."""
    if isinstance(config, type) and issubclass(config, base):
        return config, {}
    if isinstance(config, str):
        config = {"class_path": config}
    if not isinstance(config, Mapping):
        raise TypeError(f"{key} is a name, a mapping with class_path, or a {base.__name__}; got {config!r}")
    for unknown in set(config) - {"class_path", "init_args"}:
        raise ValueError(f"{key}.{unknown} is not valid; {did_you_mean(unknown, ('class_path', 'init_args'))}")
    if "class_path" not in config:
        raise ValueError(f"{key} needs a class_path beside its init_args")
    arguments = dict(config.get("init_args") or {})
    cls = _find(key, str(config["class_path"]), home, base)
    parameters = inspect.signature(cls).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        for argument in arguments:
            if argument not in parameters:
                raise ValueError(
                    f"{key}.init_args.{argument} is no argument of {cls.__name__}; {did_you_mean(argument, parameters)}"
                )
    return cls, arguments


def _find(key: str, path: str, home: Any, base: type) -> type[Any]:
    offered = {
        name: member
        for name, member in vars(home).items()
        if inspect.isclass(member) and issubclass(member, base) and not inspect.isabstract(member)
    }
    registered = registry.names("samplers") if base is BaseSampler else []
    name = path.removeprefix(f"{home.__name__}.")
    if name in offered:
        return offered[name]
    if path in registered:
        return registry.load("samplers", path)
    module, _, attribute = path.rpartition(".")
    if not module:
        raise ValueError(f"{key}={path!r} is unknown; {did_you_mean(path, [*offered, *registered])}")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{key}={path!r} cannot be imported: {error}") from error
    if not (inspect.isclass(found) and issubclass(found, base)):
        raise ValueError(f"{key}={path!r} is no {base.__name__}")
    return found
