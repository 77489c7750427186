"""Settings against what a class takes: every key, type and name is checked before anything is made or imported.

Types are read from the source (`signatures`), so a mistake is told in a moment, in one line; a class path is
followed to its definition, and only what is derived from the expected class is let through. What the source cannot
tell is imported and looked at, and jsonargparse has the last word on the types of nested arguments.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from automl_plugins.cli.errors import UsageError, without_deprecations
from automl_plugins.cli.kinds import ANY, BOOL, FLOAT, INT, STR, Kind, members
from automl_plugins.cli.settings import Text, plain
from automl_plugins.cli.signatures import Parameter, Signature, is_dataclass, signature
from automl_plugins.cli.source import Definition, exists, is_subclass, resolve, scope_of
from automl_plugins.system.nearest import did_you_mean

_WORDS = {"int": "an integer", "float": "a number", "str": "text", "bool": "true or false", "null": "null"}
_TYPES = {int: INT, float: FLOAT, str: STR, bool: BOOL}
_CLASS_KEYS = ("class_path", "init_args", "dict_kwargs")
_FUNCTIONS = ("torch.nn.functional", "torchmetrics.functional")
"""Modules whose functions may be named where a function is asked for, beside the asking class's own package."""
_LARGEST_SEED = 2**32 - 1


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


def defined(thing: Any) -> Definition | None:
    """The definition of a class or a function, or of its import path; None: its source cannot be read."""
    if isinstance(thing, Definition) or thing is None:
        return thing
    return resolve(thing if isinstance(thing, str) else f"{thing.__module__}.{thing.__qualname__}")


def check_call(
    function: Callable[..., Any] | Definition | str | None,
    given: Mapping[str, Any],
    prefix: str = "",
    supplied: Collection[str] = (),
    elsewhere: Collection[str] = (),
) -> dict[str, Any]:
    """Check settings against the signature that they are arguments for.

    Args:
        function: a class, or a function; or where it is defined, or its import path.
        given: its arguments by name.
        prefix: what stands before their names in messages.
        supplied: arguments that come from the program, and are no settings.
        elsewhere: arguments that are given in another place, and are checked there.

    Returns:
        The settings as plain values of the types that the signature asks for.

    Raises:
        UsageError: an unknown key, a missing one, or a value of the wrong type.
    """
    definition = defined(function)
    takes = Signature(is_open=True) if definition is None else signature(definition)
    owner = "" if definition is None else definition.scope.module
    parameters = {name: each for name, each in takes.parameters.items() if name not in supplied}
    if not takes.is_open:
        check_keys(given, parameters, prefix)
    for name, parameter in parameters.items():
        if parameter.default is None and name not in given and name not in elsewhere:
            raise UsageError(f"{prefix}{name} is missing; it is {describe(parameter.kind)}")
    unknown = Parameter(next(iter(parameters.values())).scope, None, None) if parameters else None
    return {
        name: convert(f"{prefix}{name}", value, parameters.get(name, unknown) or ANY, owner)
        for name, value in given.items()
    }


def convert(key: str, value: Any, hint: Parameter | Kind | type, owner: str = "") -> Any:
    """A value as the type that is asked for.

    Args:
        key: what the messages call it.
        value: as it was given.
        hint: an argument, or a type.
        owner: the module of the class whose argument it is; functions may come from its package.

    Raises:
        UsageError: it is of another type, or no finite number.
    """
    kind = hint.kind if isinstance(hint, Parameter) else hint if isinstance(hint, Kind) else _TYPES[hint]
    if isinstance(value, Text):
        # `--folder 2024` is a text and `--trials 2024` a number: the type says which.
        value = value.parsed if _fits(value.parsed, kind) or not _fits(str(value), kind) else str(value)
    value = _nested(key, value, kind, owner)
    if not _fits(value, kind):
        raise UsageError(f"{key} is {describe(kind)}; got {shown(value)}")
    if isinstance(value, float) and not math.isfinite(value) and not _may_be_infinite(value, hint):
        raise UsageError(f"{key} is {describe(kind)}, and finite; got {shown(value)}")
    if key.rpartition(".")[2] in ("seed", "seed_everything") and type(value) is int and value > _LARGEST_SEED:
        raise UsageError(f"{key} is at most {_LARGEST_SEED}; got {value}")
    return value


def _may_be_infinite(value: float, hint: Parameter | Kind | type) -> bool:
    """Whether an argument that is infinite by default is given so, as a run's config.yaml repeats it."""
    default = ast.unparse(hint.default) if isinstance(hint, Parameter) and hint.default is not None else ""
    return ("nan" if math.isnan(value) else "inf") in default


def _nested(key: str, value: Any, kind: Kind, owner: str) -> Any:
    """The parts of a value that have signatures of their own, checked; all else plain."""
    if isinstance(value, list | tuple):
        element = _element(kind)
        return [convert(f"{key}[{position}]", each, element, owner) for position, each in enumerate(value)]
    of = {each.name: each for each in members(kind)}
    classes = [each.definition for each in members(kind) if each.name == "class" and each.definition is not None]
    if isinstance(value, str):
        if classes and not _fits(value, kind, plainly=True):
            return check_class(key, {"class_path": str(value)}, expected=classes)
        if "callable" in of and not _fits(value, kind, plainly=True):
            return _check_function(key, str(value), of["callable"], owner)
        if "opaque" in of and _is_import_path(value):
            raise UsageError(f"{key}={shown(value)}: a name to import is not taken here; its type cannot be told")
        return plain(value)
    if not isinstance(value, Mapping):
        return plain(value)
    dataclass = next((each for each in classes if is_dataclass(each)), None)
    if not value and classes and "mapping" not in of and dataclass is None:
        raise UsageError(f"{key}={{}}: it names no class; give it a class_path")
    if "class_path" in value:
        if "callable" in of and not classes:
            classes = _made_by(of["callable"])
        if not classes:
            raise UsageError(f"{key}.class_path={shown(value['class_path'])}: no class is made here, {key} names none")
        return check_class(key, value, expected=classes)
    if dataclass is not None:
        return check_call(dataclass, value, f"{key}.")
    inner = of["mapping"].arguments[0] if "mapping" in of and of["mapping"].arguments else ANY
    return {name: convert(f"{key}.{name}", each, inner, owner) for name, each in value.items()}


def _element(kind: Kind) -> Kind:
    """The kind of a list's elements."""
    for each in members(kind):
        if each.name == "list" and each.arguments:
            element: Kind = each.arguments[0]
            return element
        if each.name == "tuple" and len(each.arguments) == 2 and each.arguments[1] is ...:
            return each.arguments[0]
    return Kind("opaque") if any(each.name == "opaque" for each in members(kind)) else ANY


def _is_import_path(value: str) -> bool:
    """Whether importing what a text names would find a module."""
    first, *rest = value.split(".")
    return bool(rest) and all(part.isidentifier() for part in (first, *rest)) and exists(first)


def _made_by(callable_kind: Kind) -> list[Definition]:
    """The classes that may stand where a function is asked for: those of its results, else modules of torch."""
    results = [each.definition for each in members(callable_kind.arguments[0]) if each.definition is not None]
    module = resolve("torch.nn.Module")
    return results or ([module] if module is not None else [])


def _check_function(key: str, path: str, kind: Kind, owner: str) -> Any:
    """Check what is named where a function is asked for: it is none of any module, but one that was meant for it."""
    module = path.rpartition(".")[0]
    found = resolve(path) if module else None
    own = bool(owner) and module.partition(".")[0] == owner.partition(".")[0]
    if module in _FUNCTIONS and not exists(path):
        return path
    if found is not None and own and isinstance(found.node, ast.FunctionDef):
        return path
    if module and (found is None or not isinstance(found.node, ast.ClassDef)):
        homes = [*_FUNCTIONS, *([owner.partition(".")[0]] if owner else [])]
        raise UsageError(f"{key}={path!r}: it is a function of {', '.join(homes)}, or a class of the right kind")
    return check_class(key, {"class_path": path}, expected=_made_by(kind), partial=True)


def check_class(
    key: str,
    value: Mapping[str, Any],
    supplied: Collection[str] = (),
    expected: Sequence[Definition] = (),
    partial: bool = False,
) -> dict[str, Any]:
    """Check a `class_path` with its arguments, which may stand beside it or under `init_args`.

    Args:
        key: what the messages call it.
        value: the mapping.
        supplied: arguments that come from elsewhere.
        expected: the classes that it must be derived from one of.
        partial: further arguments are given by who calls it.

    Returns:
        The mapping with the keys `class_path` and `init_args`.

    Raises:
        UsageError: a class that cannot be imported, one of another kind, or a wrong argument.
    """
    arguments = value.get("init_args") or {}
    if not isinstance(arguments, Mapping):
        raise UsageError(f"{key}.init_args={shown(arguments)}: it is a mapping of arguments")
    beside = {name: each for name, each in value.items() if name not in _CLASS_KEYS}
    cls, path = find_class(key, value["class_path"], expected)
    takes = Signature(is_open=True) if cls is None else signature(cls)
    required = list(takes.parameters) if partial else [n for n, each in takes.parameters.items() if not each.default]
    checked = {
        **check_call(cls, arguments, f"{key}.init_args.", supplied, elsewhere=[*supplied, *required]),
        **check_call(cls, beside, f"{key}.", supplied, elsewhere=[*arguments, *(required if partial else ())]),
    }
    further = value.get("dict_kwargs")
    if further is None:
        return {"class_path": path, "init_args": checked}
    if not isinstance(further, Mapping) or not takes.is_open:
        raise UsageError(f"{key}.dict_kwargs={shown(further)}: {path} takes no arguments beside its own")
    return {"class_path": path, "init_args": checked, "dict_kwargs": _nested(f"{key}.dict_kwargs", further, ANY, "")}


def find_class(key: str, given: Any, expected: Sequence[Definition] = ()) -> tuple[Definition | None, str]:
    """The class that a class path, or a short name, stands for.

    Args:
        key: what the messages call it.
        given: `package.module.Class`, or the name of a class beside the expected one.
        expected: the classes that it must be derived from one of.

    Returns:
        Its definition, None where its source cannot be read, and its import path.

    Raises:
        UsageError: there is none, it cannot be imported, or it is of another kind.
    """
    path = str(plain(given))
    name = path.rpartition(".")[2]
    if "." not in path:
        path = _of_short_name(key, path, expected)
    found = resolve(path)
    if found is not None and isinstance(found.node, ast.ClassDef):
        verdicts = [is_subclass(found, each) for each in expected] or [True]
        if True in verdicts:
            return found, path
        if None not in verdicts:
            raise UsageError(f"{key}={path!r}: {_of_another_kind(found, expected)}")
    elif found is not None and isinstance(found.node, ast.FunctionDef):
        raise UsageError(f"{key}={path!r}: it is no {_named(expected)}, but a function")
    module = path.rpartition(".")[0]
    home = scope_of(module)
    if found is None and home is not None and not home.is_open and not home.stars and not exists(path):
        raise UsageError(f"{key}={path!r}: {module} has no {name!r}; {did_you_mean(name, _public(home.names()))}")
    # Its source does not tell, so it is looked at.
    made = import_class(key, path)
    kinds = tuple(import_class(key, each.path) for each in expected)
    if not inspect.isclass(made) or (kinds and not issubclass(made, kinds)):
        raise UsageError(f"{key}={path!r}: it is no {_named(expected)}")
    return defined(made), path


def _named(expected: Sequence[Definition]) -> str:
    return " or ".join(dict.fromkeys(each.name for each in expected)) or "class"


def _of_another_kind(found: Definition, expected: Sequence[Definition]) -> str:
    for each in expected:
        for ours, theirs in (("pytorch_lightning", "lightning.pytorch"), ("lightning.pytorch", "pytorch_lightning")):
            other = resolve(each.path.replace(ours, theirs, 1)) if each.path.startswith(ours) else None
            if other is not None and is_subclass(found, other):
                package = theirs.partition(".")[0]
                return f"it is built on {theirs}, and we run on {ours}; set AUTOML_PLUGINS_LIGHTNING={package}"
    return f"it is no {_named(expected)}"


def _of_short_name(key: str, name: str, expected: Sequence[Definition]) -> str:
    """The import path of a class that has its expected ancestor's module or packages for a home."""
    known: dict[str, str] = {}
    for each in expected:
        home = each.scope.module
        while home:
            scope = scope_of(home)
            known = {**{one: f"{home}.{one}" for one in (scope.names() if scope else ())}, **known}
            home = home.rpartition(".")[0]
    if name not in known:
        what = _named(expected)
        raise UsageError(f"{key}={name!r}: there is no such {what}; {did_you_mean(name, _public(known)[:40])}")
    return known[name]


def _public(names: Collection[str]) -> list[str]:
    return [name for name in names if name[:1].isupper()]


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
        raise UsageError(f"{key}={path!r}: {module} has no {name!r}; {did_you_mean(name, _public(dir(home)))}")
    return getattr(home, name)


def _fits(value: Any, kind: Kind, plainly: bool = False) -> bool:
    return any(_fits_one(value, member, plainly) for member in members(kind))


def _fits_one(value: Any, kind: Kind, plainly: bool = False) -> bool:
    """Whether a value is of a kind; `plainly`: without being made or imported."""
    match kind.name:
        case "literal":
            return any(type(value) is type(option) and value == option for option in kind.arguments)
        case "float":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "bool":
            return isinstance(value, bool)
        case "null":
            return value is None
        case "str" | "path":
            return isinstance(value, str) and not (plainly and _is_import_path(value))
        case "mapping":
            values = kind.arguments[0] if kind.arguments else ANY
            return isinstance(value, Mapping) and all(_fits(each, values) for each in value.values())
        case "tuple":
            return isinstance(value, list | tuple) and _fits_tuple(value, kind.arguments)
        case "list":
            return isinstance(value, list | tuple) and all(
                _fits(each, kind.arguments[0]) for each in value if kind.arguments
            )
        case "class" | "callable":
            # It is named, alone or in a mapping; a number cannot stand for one.
            return not plainly and isinstance(value, str | Mapping)
        case _:
            return not plainly


def _fits_tuple(value: Sequence[Any], kinds: tuple[Any, ...]) -> bool:
    if not kinds:
        return True
    if len(kinds) == 2 and kinds[1] is ...:
        return all(_fits(each, kinds[0]) for each in value)
    return len(value) == len(kinds) and all(map(_fits, value, kinds))


def describe(kind: Kind) -> str:
    """A kind in words."""
    return " or ".join(dict.fromkeys(_describe_one(member) for member in members(kind)))


def _describe_one(kind: Kind) -> str:
    if kind.name == "literal":
        return f"one of {', '.join(map(str, kind.arguments))}"
    if kind.name == "class" and kind.definition is not None:
        return f"a {kind.definition.name}, by name or class_path"
    if kind.name == "list" and kind.arguments and kind.arguments[0] != ANY:
        return f"a list (of {describe(kind.arguments[0])})"
    if kind.name == "tuple" and kind.arguments:
        return f"a list (of {describe(kind.arguments[0])})"
    words = {"path": "a path", "mapping": "a mapping", "list": "a list", "tuple": "a list", "callable": "a function"}
    return _WORDS.get(kind.name) or words.get(kind.name, "any value")
