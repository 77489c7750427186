"""The look at a command line: its keys, its classes and their arguments are known before anything is imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from automl_plugins import registry
from automl_plugins.cli.classes import (
    ANY,
    ARGUMENTS,
    ESTIMATOR,
    KINDS,
    SPEC,
    SUPPLIED,
    Kind,
    allow,
    class_path,
    importable,
    registered,
)
from automl_plugins.cli.errors import UsageError, shown
from automl_plugins.cli.settings import Given, Item
from automl_plugins.cli.source import arguments_of, exists, is_subclass, resolve, returned
from automl_plugins.system.nearest import did_you_mean

_PARTS = ("space", "data", "module", "task", "sampler", "pruner")
"""Keys whose arguments are another class's once another one is named."""
_DEFAULTS = {**ARGUMENTS, "sampler": "optuna.samplers.TPESampler"}
"""The classes whose arguments are given without naming them."""
_OF_ESTIMATORS = re.compile(
    r"sampler\.(init_args\.)?(predictor|proxy|reward|estimator)|estimators\[\d+\](.*\.estimators\[\d+\])?"
)


def over(base: Mapping[str, Any], given: Given | None = None) -> Given:
    """Settings over others, after a look at all of them: see `looked_at`."""
    given = given or Given()
    return looked_at(replace(given, items=(Item("", base), *given.items)))


def looked_at(given: Given, texts: Collection[str] = ()) -> Given:
    """The same with import paths in place of the names of classes, after a look at every one of them.

    Arguments of a class go when another one is named later.

    Args:
        given: as it was read.
        texts: keys that name no class here.

    Raises:
        UsageError: there is none of a name, it is of another kind, or it does not take an argument.
    """
    given = given.with_parts_joined("sampler", "pruner", "reward")
    found, classes = replace(given, items=()), dict[str, str]()
    for item in given.items:
        new = item if item.key in texts else _looked_at(item, sum(each.key == item.key for each in found.items))
        added = Given((new,))
        for name in _PARTS if new.key not in texts else ():
            value = _part(name, new)
            path = value.get("class_path") if isinstance(value, Mapping) else value
            if value is None or (isinstance(path, str) and classes.get(name, path) != path):
                found = found.without(name)
            if value is None:
                added = added.without(name)
            elif isinstance(path, str):
                classes[name] = path
        found = replace(found, items=(*found.items, *added.items))
    for item in found.items:
        _check_flag(item, {**_DEFAULTS, **classes}.get(item.name))
    _check_bare_module(found.bare_module or {})
    return found


def _looked_at(item: Item, place: int) -> Item:
    """An item after a look at its classes; its place is that among those that add to the same list."""
    key = f"{item.key[:-1]}[{place}]" if item.key.endswith("+") else item.key
    value = look(key, item.value)
    if key in ARGUMENTS and value == {}:
        raise UsageError(f"{key}={{}}: it gives no argument")
    return item if value == item.value else Item(item.key, value)


def _part(name: str, item: Item) -> Any:
    """The value that an item gives to a key as a whole, or its class; an empty one where it gives none."""
    if not item.key:
        return item.value.get(name, {})
    if item.key == name:
        return item.value
    return {"class_path": str(item.value)} if item.key == f"{name}.class_path" else {}


def _check_flag(item: Item, path: str | None) -> None:
    """Refuse a flag such as `--space.layers` of an argument that the class of its key does not take."""
    outer, start = item.name, f"{item.name}.init_args"
    outer = start if item.key.startswith(f"{start}.") else outer
    name = item.key.removeprefix(f"{outer}.").partition(".")[0].rstrip("+")
    if path is not None and "." in item.key and name not in SPEC:
        check_arguments(outer, {name: item.value}, path)


def look(key: str, value: Any) -> Any:
    """A value in which every name of a class is an import path that has been looked at.

    Args:
        key: what the messages call it; empty for a whole config.
        value: plain.

    Raises:
        UsageError: a name that does not exist, a class of another kind, or an argument that it does not take.
    """
    kind = KINDS.get(re.sub(r"(\[\d+\])+$", "", key))
    if key == "references" and isinstance(value, list):
        for name in value:
            check_reference(key, name)
        return value
    if key == "reward":  # the names of rewards are their own
        return {"class_path": value} if isinstance(value, str) else value
    if key in ARGUMENTS and value is not None:
        if not isinstance(value, Mapping) or "class_path" in value:
            told = f"{key} is a mapping of arguments of {ARGUMENTS[key].rpartition('.')[2]}; got {shown(value)}"
            raise UsageError(told)
        check_arguments(key, value, ARGUMENTS[key])
    if isinstance(value, list):
        return [look(f"{key}[{place}]", each) for place, each in enumerate(value)]
    if isinstance(value, str):
        return class_path(key, value, kind) if kind is not None and _names_class(value, kind) else _function(value)
    if not isinstance(value, Mapping):
        return value
    if kind is None and "class_path" not in value:
        return {name: look(f"{key}.{name}" if key else str(name), each) for name, each in value.items()}
    return _spec(key, value, kind or (ESTIMATOR if _OF_ESTIMATORS.fullmatch(key) else ANY))


def check_reference(key: str, name: Any) -> None:
    """Refuse a hand-made network that is neither registered nor a class or function that makes networks.

    It is looked at in its source: a class is one of `torch.nn.Module`, and a function is annotated to return one.

    Args:
        key: what the message calls it.
        name: the name, or the import path.

    Raises:
        UsageError: it is none.
    """
    known = registry.names("references")
    if isinstance(name, str) and name in known:
        return
    if not isinstance(name, str) or "." not in name:
        raise UsageError(f"{key}: there is no {shown(name)}; {did_you_mean(str(name), known)}")
    found, kind = resolve(name), Kind(("torch.nn.Module",))
    if found is None or not isinstance(found.node, ast.FunctionDef):
        try:
            class_path(key, name, kind)
        except UsageError as error:
            if f"it is no {kind.words}" not in str(error):
                raise
            told = f"{error}; a reference is {_REFERENCE}, or one of {', '.join(known)}"
            raise UsageError(told, error.code) from error
        return
    made, module = returned(found), resolve(kind.bases[0])
    if made is None or module is None or not is_subclass(made, module):
        told = f"def {found.name}(task: Task) -> nn.Module"
        raise UsageError(f"{key}={shown(name)}: it is a function that does not say that it makes a network: {told}")


_REFERENCE = "the import path of a class of torch.nn.Module, or of a function `def my_net(task: Task) -> nn.Module`"


def _spec(key: str, value: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """A class with its arguments, which may stand beside its name or under `init_args`; the class may be named later.

    Raises:
        UsageError: it is of another kind, or does not take one of the arguments.
    """
    arguments, path = value.get("init_args") or {}, value.get("class_path")
    if not isinstance(arguments, Mapping):
        raise UsageError(f"{key}.init_args={shown(arguments)}: it is a mapping of arguments")
    if not isinstance(path, str | None):
        raise UsageError(f"{key}.class_path={shown(path)}: it is the name of a class")
    if not value:
        raise UsageError(f"{key}={{}}: it names no {kind.words}")
    spec: dict[str, Any] = {} if path is None else {"class_path": class_path(key, path, kind)}
    inner: dict[str, Any] = {}
    beside = {name: each for name, each in value.items() if name not in SPEC}
    for place, part in ((f"{key}.init_args", arguments), (key, beside)):
        if path is not None:
            check_arguments(place, part, spec["class_path"])
        inner |= {str(name): look(f"{place}.{name}", each) for name, each in part.items()}
    further = {"dict_kwargs": value["dict_kwargs"]} if "dict_kwargs" in value else {}
    return {**spec, **further, **({"init_args": inner} if inner or path is None else {})}


def _names_class(value: str, kind: Kind) -> bool:
    """True where a text names a class, where other texts are taken, too."""
    return kind.is_closed or value in kind.names() or ("." in value and exists(value.partition(".")[0]))


def _function(value: str) -> str:
    """A text; what it names may be imported where it is a function of a package that a class was named of."""
    packages = {path.partition(".")[0] for path in importable}
    found = resolve(value) if value.partition(".")[0] in packages else None
    if found is not None and isinstance(found.node, ast.FunctionDef) and found.path.partition(".")[0] in packages:
        allow(value, found.path)
    return value


def check_arguments(key: str, given: Mapping[str, Any], path: str) -> None:
    """Refuse arguments that a class does not take, as far as its source tells, and those that the program supplies.

    Raises:
        UsageError: there is one; the message names the nearest that it takes, after the key.
    """
    found = resolve(path)
    takes, is_open = arguments_of(found) if found is not None else ({}, True)
    if not is_open:
        supplied = SUPPLIED.get(key.removesuffix(".init_args"), ())
        check_keys(given, [name for name in takes if name not in supplied], f"{key}.")


def _check_bare_module(given: Mapping[str, Any]) -> None:
    """Refuse arguments that no module takes which is registered for a task of the data."""
    modules = [resolve(path) for path in set(registered("modules").values())]
    takes = [name for each in modules if each is not None for name in arguments_of(each)[0]]
    check_keys(given, [name for name in takes if name not in SUPPLIED["module"]], "module.")


def check_keys(given: Mapping[str, Any], valid: Collection[str], prefix: str = "", near: Collection[str] = ()) -> None:
    """Refuse an unknown key, and name the nearest one.

    Args:
        given: the settings.
        valid: the keys that they may have.
        prefix: what stands before them in messages.
        near: what else somebody who mistyped may have meant.

    Raises:
        UsageError: there is one.
    """
    for key, value in given.items():
        if key not in valid:
            hint = did_you_mean(str(key), [*valid, *near])
            raise UsageError(f"{prefix}{key}={shown(value)}: there is no such key; {hint}")
