"""Settings against signatures: every key, type and name is checked before anything is made or read.

jsonargparse checks them too, but its messages speak of Python types over several lines.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from automl_plugins.cli.errors import UsageError, without_deprecations
from automl_plugins.cli.settings import Text, plain
from automl_plugins.nearest import did_you_mean

_KINDS = {int: "an integer", float: "a number", str: "text", bool: "true or false", type(None): "null", Path: "a path"}
_CLASS_KEYS = ("class_path", "init_args", "dict_kwargs")


def shown(value: Any) -> str:
    """A given value as a message shows it, cut short."""
    text = repr(plain(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


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
            raise UsageError(
                f"{prefix}{key}={shown(value)}: there is no such key; {did_you_mean(key, [*valid, *near])}"
            )


def check_call(
    function: Callable[..., Any],
    given: Mapping[str, Any],
    prefix: str = "",
    supplied: Collection[str] = (),
    elsewhere: Collection[str] = (),
) -> dict[str, Any]:
    """Check settings against the signature that they are arguments for.

    Args:
        function: a class, or a function.
        given: its arguments by name.
        prefix: what stands before their names in messages.
        supplied: arguments that come from the program, and are no settings.
        elsewhere: arguments that are given in another place, and are checked there.

    Returns:
        The settings as plain values of the types that the signature asks for.

    Raises:
        UsageError: an unknown key, a missing one, or a value of the wrong type.
    """
    every = inspect.signature(function).parameters
    parameters = {
        name: parameter
        for name, parameter in every.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY) and name not in supplied
    }
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in every.values()):
        check_keys(given, parameters, prefix)
    hints = _hints(function)
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in given and name not in elsewhere:
            raise UsageError(f"{prefix}{name} is missing; it is {describe(hints.get(name, Any))}")
    return {name: convert(f"{prefix}{name}", value, hints.get(name, Any)) for name, value in given.items()}


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of a signature, as far as they can be told at run time."""
    target = inspect.unwrap(function.__init__ if inspect.isclass(function) else function)
    hints: dict[str, Any] = {}
    for name, annotation in getattr(target, "__annotations__", {}).items():
        alone = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            hints |= typing.get_type_hints(alone, globalns=getattr(target, "__globals__", {}))
        except (NameError, TypeError, AttributeError):  # a name that exists for type checkers only
            continue
    return hints


def convert(key: str, value: Any, hint: Any) -> Any:
    """A value as the type that is asked for.

    Raises:
        UsageError: it is of another type.
    """
    if isinstance(value, Text):
        # `--folder 2024` is a text and `--trials 2024` a number: the type says which.
        value = value.parsed if _fits(value.parsed, hint) or not _fits(str(value), hint) else str(value)
    value = _nested(key, value, hint)
    if not _fits(value, hint):
        raise UsageError(f"{key} is {describe(hint)}; got {shown(value)}")
    return value


def _nested(key: str, value: Any, hint: Any) -> Any:
    """The parts of a value that have signatures of their own, checked; all else plain."""
    if isinstance(value, list | tuple):
        element = next((get_args(member)[0] for member in _members(hint) if _is_list(member)), Any)
        return [_nested(f"{key}[{position}]", each, element) for position, each in enumerate(value)]
    classes = _classes(hint)
    if isinstance(value, str) and classes and not _fits(str(value), str if str in _members(hint) else None):
        value = {"class_path": str(value)}
    if not isinstance(value, Mapping):
        return plain(value)
    dataclass = next((each for each in classes if dataclasses.is_dataclass(each)), None)
    if dataclass is not None and "class_path" not in value:
        return check_call(dataclass, value, f"{key}.")
    if "class_path" not in value:
        return {name: _nested(f"{key}.{name}", plain(each), Any) for name, each in value.items()}
    name = str(value["class_path"])
    if classes and "." not in name:
        # jsonargparse knows short names too: those of the classes that have been imported.
        known = {each.__name__: each for cls in classes for each in _subclasses(cls)}
        if name not in known:
            raise UsageError(f"{key}={name!r}: there is no such {classes[0].__name__}; {did_you_mean(name, known)}")
        value = {**value, "class_path": f"{known[name].__module__}.{name}"}
    return check_class(key, value)


def _is_list(hint: Any) -> bool:
    origin = get_origin(hint)
    return inspect.isclass(origin) and issubclass(origin, Collection) and len(get_args(hint)) == 1


def _classes(hint: Any) -> list[type[Any]]:
    """The classes among a hint's members whose objects are made from a class path, or from fields."""
    plain_types = (str, int, float, bool, type(None), Path, object, Any)  # Any is a class since Python 3.11
    members = [each for each in _members(hint) if inspect.isclass(each) and get_origin(each) is None]
    return [each for each in members if each not in plain_types and not issubclass(each, Collection)]


def _subclasses(cls: type[Any]) -> list[type[Any]]:
    return [cls, *(found for each in type.__subclasses__(cls) for found in _subclasses(each))]


def check_class(key: str, value: Mapping[str, Any], supplied: Collection[str] = ()) -> dict[str, Any]:
    """Check a `class_path` with its arguments, which may stand beside it or under `init_args`.

    Args:
        key: what the messages call it.
        value: the mapping.
        supplied: arguments that come from elsewhere.

    Returns:
        The mapping with the keys `class_path` and `init_args`.

    Raises:
        UsageError: a class that cannot be imported, or a wrong argument.
    """
    path = str(value["class_path"])
    arguments = value.get("init_args") or {}
    if not isinstance(arguments, Mapping):
        raise UsageError(f"{key}.init_args={shown(arguments)}: it is a mapping of arguments")
    beside = {name: each for name, each in value.items() if name not in _CLASS_KEYS}
    further = {"dict_kwargs": plain(value["dict_kwargs"])} if value.get("dict_kwargs") else {}
    if "." not in path:
        # A short name; which class it is for, only its owner knows.
        return {"class_path": path, "init_args": plain({**arguments, **beside}), **further}
    cls = import_class(key, path)
    checked = {
        **check_call(cls, arguments, f"{key}.init_args.", supplied, elsewhere=[*supplied, *_required(cls)]),
        **check_call(cls, beside, f"{key}.", supplied, elsewhere=arguments),
    }
    return {"class_path": path, "init_args": checked, **further}


def _required(cls: Any) -> list[str]:
    """Arguments without a default."""
    return [name for name, each in inspect.signature(cls).parameters.items() if each.default is each.empty]


def import_class(key: str, path: str) -> Any:
    """Import `package.module.Class`.

    Raises:
        UsageError: there is no such module, it cannot be imported, or it has no such class.
    """
    module, _, name = path.rpartition(".")
    try:
        with without_deprecations():
            home = importlib.import_module(module)
    except Exception as error:  # importing a plugin runs code that is not ours
        raise UsageError(f"{key}={path!r}: {module} cannot be imported: {type(error).__name__}: {error}") from error
    if not hasattr(home, name):
        raise UsageError(f"{key}={path!r}: {module} has no {name!r}; {did_you_mean(name, _public(home))}")
    return getattr(home, name)


def _public(home: types.ModuleType) -> list[str]:
    return [name for name in dir(home) if not name.startswith("_") and inspect.isclass(getattr(home, name, None))]


def _members(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the hint itself."""
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(member for each in get_args(hint) for member in _members(each))
    return (hint,)


def _fits(value: Any, hint: Any) -> bool:
    return any(_fits_one(value, member) for member in _members(hint))


def _fits_one(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return any(type(value) is type(option) and value == option for option in arguments)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (bool, str, type(None)):
        return isinstance(value, hint)
    if hint is None:
        return value is None
    if hint is Path:
        return isinstance(value, str | Path)
    kind = origin or hint
    if not inspect.isclass(kind):
        return True
    if issubclass(kind, Mapping):
        values = arguments[1] if len(arguments) == 2 else Any
        return isinstance(value, Mapping) and all(_fits(each, values) for each in value.values())
    if kind is tuple:
        return isinstance(value, list | tuple) and _fits_tuple(value, arguments)
    if issubclass(kind, Collection | Sequence):
        return isinstance(value, list | tuple) and all(_fits(each, arguments[0]) for each in value if arguments)
    # A class is named, alone or in a mapping; a number cannot stand for one.
    return kind in (object, Any) or isinstance(value, str | Mapping)


def _fits_tuple(value: Sequence[Any], members: tuple[Any, ...]) -> bool:
    if not members:
        return True
    if len(members) == 2 and members[1] is Ellipsis:
        return all(_fits(each, members[0]) for each in value)
    return len(value) == len(members) and all(map(_fits, value, members))


def describe(hint: Any) -> str:
    """What a type asks for, in words."""
    return " or ".join(dict.fromkeys(_describe_one(member) for member in _members(hint)))


def _describe_one(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if hint in _KINDS:
        return _KINDS[hint]
    kind = origin or hint
    if inspect.isclass(kind) and issubclass(kind, Mapping):
        return "a mapping"
    if inspect.isclass(kind) and issubclass(kind, Sequence | Collection):
        return f"a list (of {describe(arguments[0])})" if arguments and arguments[0] is not Any else "a list"
    return f"a {kind.__name__}, by name or class_path" if inspect.isclass(kind) else "any value"
