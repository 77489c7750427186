"""Spaces, data and modules by registered name, by class name, or by class path."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from importlib import import_module
from typing import Any

from automl_plugins import registry
from automl_plugins.cli.checks import check_class, import_class, shown
from automl_plugins.cli.errors import UsageError, told_briefly, without_deprecations
from automl_plugins.nearest import did_you_mean
from automl_plugins.study import Study

_ONE = {"spaces": "space", "data": "data", "modules": "module", "strategies": "strategy"}


def class_path(key: str, group: str, name: str) -> str:
    """The import path of what a name of a group stands for.

    Args:
        key: the key that the name was given for.
        group: one of `registry.GROUPS`.
        name: a registered name, the name of a registered class, or `package.module.Class`.

    Raises:
        UsageError: nothing has that name; the message names the nearest one.
    """
    with told_briefly(key, 2, ValueError, RuntimeError):
        homes = {
            registered: registry.where(group, registered).replace(":", ".") for registered in registry.names(group)
        }
    classes = {home.rpartition(".")[2]: home for home in homes.values()}
    if name in homes:
        return homes[name]
    if name in classes:
        return classes[name]
    if "." in name:
        return name
    raise UsageError(f"{key}={name!r}: no such {_ONE[group]} is installed; {did_you_mean(name, [*homes, *classes])}")


def check_plugin(
    key: str, group: str, value: Any, base: type | None = None, supplied: Collection[str] = ()
) -> dict[str, Any]:
    """Check a plugin's setting, down to the last argument.

    Args:
        key: what the messages call it.
        group: one of `registry.GROUPS`.
        value: a name, or a mapping with a `class_path` and arguments, which may also stand under `init_args`.
        base: what its class is derived from.
        supplied: arguments that come from elsewhere.

    Returns:
        A mapping with the keys `class_path`, as an import path, and `init_args`.

    Raises:
        UsageError: an unknown name, a wrong argument, or a class of another kind.
    """
    if isinstance(value, str):
        value = {"class_path": value}
    if not isinstance(value, Mapping) or not isinstance(value.get("class_path"), str):
        raise UsageError(f"{key}={shown(value)}: {one_of(group)}")
    path = class_path(key, group, str(value["class_path"]))
    with without_deprecations():
        found = import_class(key, path)
    if not inspect.isclass(found) if base is None else not (inspect.isclass(found) and issubclass(found, base)):
        raise UsageError(f"{key}={value['class_path']!r}: it is no {'class' if base is None else base.__name__}")
    return check_class(key, {**value, "class_path": path}, supplied)


def one_of(group: str) -> str:
    """The end of a message: the names of a group."""
    return f"it is one of {', '.join(registry.names(group))}, or has a class_path"


def check_part(key: str, value: Any) -> Any:
    """Check the arguments of a sampler or a pruner; whether there is one of that name, the study says.

    Args:
        key: `sampler` or `pruner`.
        value: a name, or a mapping with a `class_path` and arguments, which may also stand under `init_args`.

    Returns:
        The name, or a mapping with the keys `class_path` and `init_args`.

    Raises:
        UsageError: a wrong argument.
    """
    if not isinstance(value, Mapping):
        return value
    if key == "sampler":
        value = {"class_path": inspect.signature(Study).parameters[key].default, **value}
    if not isinstance(value.get("class_path"), str):
        raise UsageError(f"{key}.class_path is missing; it is a class of optuna.{key}s, such as MedianPruner")
    name = str(value["class_path"])
    home = f"optuna.{key}s"
    with without_deprecations():
        path = f"{home}.{name}" if hasattr(import_module(home), name) else name
    if key == "sampler" and name in registry.names("samplers"):
        with told_briefly(key, 2, ValueError, RuntimeError):
            path = registry.where("samplers", name).replace(":", ".")
    return {**check_class(key, {**value, "class_path": path}, supplied=("space",)), "class_path": name}
