"""Refusals of jsonargparse in one line of our words: the setting, its value, what is accepted, the nearest name."""

from __future__ import annotations

import importlib
import re
import typing
from collections.abc import Iterator

from automl_plugins.cli.classes import ARGUMENTS, SUPPLIED
from automl_plugins.cli.errors import one_line, shown
from automl_plugins.cli.settings import Given
from automl_plugins.cli.source import arguments_of, resolve
from automl_plugins.system.nearest import did_you_mean

_MOST, _LONGEST = 300, 2_000
_WORDS = {
    "int": "an integer",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "NoneType": "null",
    "None": "null",
    "Any": "any value",
    **dict.fromkeys(("Path", "PathLike"), "a path"),
    **dict.fromkeys(("dict", "Dict", "Mapping", "MutableMapping"), "a mapping"),
    **dict.fromkeys(("list", "List", "tuple", "Tuple", "Sequence", "Iterable", "Collection", "set"), "a list"),
    "Callable": "a function",
}
_END = re.compile(
    r"Option '(?P<option>[^']+)' is not accepted"
    r"|arguments are required: (?P<missing>\w+)"
    r"|Importing '(?P<denied>[^']+)' is not allowed"
    r"|(?P<abstract>\S+) is abstract"
    r"|Import path (?P<other>\S+) does not correspond to a subclass of (?P<base>\w+)"
    r"|Not a valid subclass of (?P<kind>\w+)"
    r"|Subtypes: \[(?P<types>.+)\]"
    r"|^ *Expected an? (?P<type>(?!dot import).+?)(?:\. Got value:.*)?$"
)
"""The end of a branch of a message: what is wrong."""


def explained(message: str, given: Given) -> str:
    """One line for a message of jsonargparse's.

    Args:
        message: a tree by indentation: keys, classes whose arguments they are, and in the end what is wrong.
        given: the settings that it is about.
    """
    lines = [line[:_LONGEST] for line in message.splitlines()]
    depths = [len(line) - len(line.lstrip(" -")) for line in lines]
    ends = {place: wrong for place, line in enumerate(lines) if (wrong := _END.search(line))}
    if not ends:
        return one_line(message)[:_MOST]
    last = max(ends, key=lambda place: depths[place])
    wrong, branch = ends[last], [lines[last]]
    for place in range(last, -1, -1):
        if depths[place] < depths[last]:
            branch, last = [lines[place], *branch], place
    text = "\n".join(branch)
    key = given.spelled(".".join(re.findall(r'Parser key "([^"]+)"', text)))
    classes = re.findall(r"class_path[ =]'([^']+)'", text)
    return one_line(_told(key, classes[-1] if classes else ARGUMENTS.get(key, ""), given, wrong))


def said_by_constructor(message: str) -> str:
    """The words of a class's own in a message on a setting that may be of several types; other messages as they are."""
    if not message.lstrip().startswith("Does not validate against any of the Union subtypes"):
        return message
    errors = re.findall(r"^\s*- (.+)$", message, flags=re.MULTILINE)
    return next((error for error in errors if not error.startswith("Expected a")), message)


def _told(key: str, cls: str, given: Given, wrong: re.Match[str]) -> str:
    kind = str(wrong.lastgroup)
    what = wrong[kind]
    if kind == "option":
        inner = given.spelled(f"{key}.{what}")
        definition = resolve(cls)
        takes = arguments_of(definition)[0] if definition is not None else {}
        hint = did_you_mean(what, [name for name in takes if name not in SUPPLIED.get(key, ())])
        return f"{inner}={shown(given.get(inner))}: there is no such key; {hint}"
    if kind == "missing":
        return f"{key}.{what} is missing; it is {_described(_type_of(cls, what))}" if cls else f"{what} is missing"
    if kind == "denied":
        return f"{key}={shown(what)}: it is no class or function that may be named here"
    if kind == "abstract":
        return f"{key}={shown(what)}: it is abstract; name a class that is derived from it"
    if kind == "base":
        return f"{key}={shown(wrong['other'])}: it is no {what}"
    accepted = f"a {what}, by name or class_path" if kind == "kind" else _described(what)
    value = given.get(key)
    cure = f"; write [{value}]" if accepted.startswith("a list") and isinstance(value, str) else ""
    return f"{key} is {accepted}; got {shown(value)}{cure}"


def _type_of(cls: str, name: str) -> str:
    """The type of a class's argument, as text; the class has been imported before."""
    module, _, attribute = cls.rpartition(".")
    function = getattr(importlib.import_module(module), attribute).__init__
    hint = typing.get_type_hints(function).get(name, typing.Any)
    return str(hint)


def _described(types: str) -> str:
    """Types, as Python writes them, in words."""
    words = dict.fromkeys(_described_one(each) for each in _parts(types))
    return " or ".join(sorted(words, key=lambda word: word in ("true or false", "null")))


def _described_one(written: str) -> str:
    head, _, inner = written.removeprefix("<class '").removesuffix("'>").partition("[")
    name, inner = head.rpartition(".")[2], inner.removesuffix("]")
    if name in ("Union", "Optional"):
        return _described(inner) + (" or null" if name == "Optional" else "")
    if name == "Literal":
        return f"one of {inner.replace(chr(39), '')}"
    word = _WORDS.get(name, f"a {name}, by name or class_path")
    if inner and word in ("a list", "a mapping"):
        parts = [part for part in _parts(inner) if part != "..."]
        return f"{word} (of {_described(parts[-1])})"
    return word


def _parts(types: str) -> Iterator[str]:
    """The members of `A | B`, or of `A, B`, brackets kept whole."""
    depth, part = 0, ""
    for character in types:
        depth += {"[": 1, "]": -1}.get(character, 0)
        if depth == 0 and character in ",|":
            yield part.strip()
            part = ""
        else:
            part += character
    yield part.strip()
