"""The arguments of a project's module and data that a training may have otherwise, by name, with their values now."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from automl_plugins import registry
from automl_plugins.system.nearest import did_you_mean
from automl_plugins.training.description import kept_arguments
from automl_plugins.training.fit import ModuleFactory
from automl_plugins.training.lightning import pl
from automl_plugins.training.project import Project
from automl_plugins.training.registered_module import RegisteredModule

HOMES = ("module", "data")
"""The things whose arguments are settings: `module.learning_rate` is one of the module."""
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class Arguments:
    """The arguments that a class or function takes.

    Args:
        names: of all that are known.
        defaults: of those that have one.
        is_open: it may take others, too.
    """

    names: tuple[str, ...]
    defaults: Mapping[str, Any]
    is_open: bool


def arguments_of(call: Any, supplied: int = 0) -> Arguments:
    """The arguments of a class or function, those of a class's parents where it hands on what it does not name.

    Args:
        call: the class or function, or a `functools.partial` of one, whose keywords are defaults.
        supplied: how many of the first arguments somebody else gives.
    """
    if isinstance(call, functools.partial):
        inner, given = call.func, list(call.args)
        while str(getattr(inner, "__module__", "")).startswith("jsonargparse.") and given:
            inner, *given = given  # how the command line makes one
        found = arguments_of(inner, len(given) + supplied)
        names = tuple(dict.fromkeys((*found.names, *call.keywords)))
        return Arguments(names, {**found.defaults, **call.keywords}, found.is_open)
    parameters, is_open = _of_class(call) if inspect.isclass(call) else _of_function(call)
    taken = parameters[supplied:]
    defaults = {each.name: each.default for each in taken if each.default is not each.empty}
    return Arguments(tuple(each.name for each in taken), defaults, is_open)


def _of_function(call: Any) -> tuple[list[inspect.Parameter], bool]:
    try:
        every = list(inspect.signature(call).parameters.values())
    except (TypeError, ValueError):
        return [], True
    return [each for each in every if each.kind not in _VARIABLE], any(each.kind is each.VAR_KEYWORD for each in every)


def _of_class(cls: type) -> tuple[list[inspect.Parameter], bool]:
    found: dict[str, inspect.Parameter] = {}
    is_open = False
    for parent in cls.__mro__:
        if parent in (pl.LightningModule, pl.LightningDataModule, object):
            break  # they take nothing, so what is left is of use to one of their children
        constructor = vars(parent).get("__init__")
        if constructor is None:
            continue
        parameters, is_open = _of_function(constructor)
        for each in parameters[1:]:
            found.setdefault(each.name, each)
        if not is_open:
            return list(found.values()), False
    return list(found.values()), is_open


def module_arguments(factory: ModuleFactory | None) -> Arguments:
    """The arguments of a module beside its network and its task; of a registered one, those of all that there are.

    Args:
        factory: as a project takes it; None: the module that is registered for the task.
    """
    if factory is not None and not isinstance(factory, RegisteredModule):
        return arguments_of(factory, supplied=2)
    every = [arguments_of(registry.load("modules", name), supplied=2) for name in registry.names("modules")]
    names = dict.fromkeys(name for each in every for name in each.names)
    return Arguments(tuple(names), {}, any(each.is_open for each in every))


def settled(project: Project) -> ModuleFactory:
    """The maker of a project's module, a registered one as its class; the data have been read."""
    factory = project.module
    if isinstance(factory, RegisteredModule):
        return functools.partial(factory.of(project.task), **factory.arguments)
    return factory


def check_names(names: Iterable[str], module: Arguments, data: pl.LightningDataModule) -> None:
    """Refuse settings that are no arguments of a module or of data, which are not read for it.

    Args:
        names: such as `module.learning_rate`.
        module: what the module takes, see `module_arguments`.
        data: the datamodule.

    Raises:
        ValueError: there is one; the message names the nearest argument.
    """
    taken = {"module": ("the module", module), "data": (type(data).__name__, arguments_of(type(data)))}
    for name in names:
        home, _, argument = name.partition(".")
        who, arguments = taken[home]
        if argument not in arguments.names and not arguments.is_open:
            raise ValueError(f"tune.{name}: {who} takes no such argument; {did_you_mean(argument, arguments.names)}")


def values_now(project: Project) -> dict[str, Any]:
    """The values that settings have in a project as it is, by name, as far as is known; its data have been read."""
    kept, _ = kept_arguments(project.data)
    values = {"module": module_arguments(settled(project)).defaults, "data": kept}
    return {f"{home}.{name}": value for home, each in values.items() for name, value in each.items()}
