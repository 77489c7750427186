"""Spaces, data, modules, samplers and the like by registered name, by class name, or by class path."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from typing import Any

from automl_plugins import registry
from automl_plugins.cli.checks import check_class, defined, find_class, shown
from automl_plugins.cli.errors import UsageError, told_briefly
from automl_plugins.cli.signatures import signature
from automl_plugins.cli.source import Definition, is_subclass, look_up_name, resolve, scope_of
from automl_plugins.system.nearest import did_you_mean
from automl_plugins.training.distribution import PACKAGE

STUDY = "automl_plugins.studies.study.Study"
"""Where a study's settings are declared."""
_ONE = {
    "spaces": "space",
    "data": "data",
    "modules": "module",
    "strategies": "strategy",
    "samplers": "sampler",
    "pruners": "pruner",
}
_BASES = {
    "spaces": "automl_plugins.spaces.space.SearchSpace",
    "data": f"{PACKAGE}.LightningDataModule",
    "modules": f"{PACKAGE}.LightningModule",
    "strategies": "automl_plugins.search.Strategy",
    "samplers": "optuna.samplers.BaseSampler",
    "pruners": "optuna.pruners.BasePruner",
}
"""What the classes of a group are derived from."""


def homes(group: str) -> dict[str, str]:
    """Name -> import path: what is registered in a group, and what Optuna has of it.

    Raises:
        RuntimeError: two distributions give a name to different things.
    """
    found = {}
    if group in registry.GROUPS:
        found = {name: registry.where(group, name).replace(":", ".") for name in registry.names(group)}
    return found | {name: f"optuna.{group}.{name}" for name in of_optuna(group)}


def of_optuna(group: str) -> list[str]:
    """The classes of Optuna that a group has beside the registered ones."""
    base = resolve(_BASES[group]) if group in ("samplers", "pruners") else None
    scope = scope_of(f"optuna.{group}")
    if base is None or scope is None:
        return []
    members = {name: look_up_name(scope, name) for name in scope.names()}
    return sorted(
        name
        for name, each in members.items()
        if each is not None and isinstance(each.node, ast.ClassDef) and each.path != base.path
        if not name.startswith(("_", "Base")) and is_subclass(each, base)
    )


def class_path(key: str, group: str, name: str) -> str:
    """The import path of what a name of a group stands for.

    Args:
        key: the key that the name was given for.
        group: one of `registry.GROUPS`, or `pruners`.
        name: a registered name, the name of a registered class, or `package.module.Class`.

    Raises:
        UsageError: nothing has that name; the message names the nearest one.
    """
    with told_briefly(key, 2, ValueError, RuntimeError):
        known = homes(group)
    classes = {home.rpartition(".")[2]: home for home in known.values()}
    if name in known:
        return known[name]
    if name in classes:
        return classes[name]
    if "." in name:
        return name
    raise UsageError(f"{key}={name!r}: no such {_ONE[group]} is installed; {did_you_mean(name, [*known, *classes])}")


def check_plugin(
    key: str, group: str, value: Any, base: type | str | None = None, supplied: Collection[str] = ()
) -> dict[str, Any]:
    """Check a plugin's setting, down to the last argument; nothing is imported where its source tells all.

    Args:
        key: what the messages call it.
        group: one of `registry.GROUPS`, or `pruners`.
        value: a name, or a mapping with a `class_path` and arguments, which may also stand under `init_args`.
        base: what its class is derived from, where that is more than the group says.
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
    return check_class(key, {**value, "class_path": path}, supplied, expected=expected(group, base))


def expected(group: str, base: type | str | None = None) -> list[Definition]:
    """What the classes of a group are derived from."""
    found = defined(base or _BASES[group])
    return [] if found is None else [found]


def one_of(group: str) -> str:
    """The end of a message: the names of a group."""
    return f"it is one of {', '.join(registry.names(group))}, or has a class_path"


def default_sampler() -> str:
    """The sampler of a study that names none."""
    study = resolve(STUDY)
    default = signature(study).parameters["sampler"].default if study is not None else None
    return str(default.value) if isinstance(default, ast.Constant) else "TPESampler"


def check_part(key: str, value: Any) -> Any:
    """Check a sampler or a pruner.

    Args:
        key: `sampler` or `pruner`.
        value: a name, or a mapping with a `class_path` and arguments, which may also stand under `init_args`.

    Returns:
        The name, or a mapping with the keys `class_path` and `init_args`.

    Raises:
        UsageError: there is none of that name, it is of another kind, or a wrong argument.
    """
    group = f"{key}s"
    if value is None:
        return None
    if isinstance(value, str):
        find_class(key, class_path(key, group, value), expected(group))
        return str(value)
    if not isinstance(value, Mapping):
        raise UsageError(f"{key}={shown(value)}: it is a name, or a mapping with a class_path and its arguments")
    if key == "sampler":
        value = {"class_path": default_sampler(), **value}
    if not isinstance(value.get("class_path"), str):
        raise UsageError(f"{key}.class_path is missing; it is a class of optuna.{key}s, such as MedianPruner")
    name = str(value["class_path"])
    path = class_path(key, group, name)
    checked = check_class(key, {**value, "class_path": path}, supplied=("space",), expected=expected(group))
    return {**checked, "class_path": name}


def find_named(key: str, group: str, name: str, kinds: list[Definition]) -> Definition | None:
    """The definition of what a name of a group stands for; None: its source cannot be read.

    Raises:
        UsageError: there is none of that name, or it is of another kind.
    """
    return find_class(key, class_path(key, group, name), kinds)[0]
