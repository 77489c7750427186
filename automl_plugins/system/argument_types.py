"""Refusals of constructor arguments of another type than annotated, which Python itself would take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

_SHOWN = 80
_SINGLE: dict[Any, tuple[tuple[type, ...], str, str]] = {
    bool: ((bool, np.bool_), "true or false", "of true and false"),
    int: ((Integral,), "a whole number", "of whole numbers"),
    float: ((Real,), "a number", "of numbers"),
    str: ((str,), "a text", "of texts"),
    NoneType: ((NoneType,), "null", "of nulls"),
}
"""Of each annotation that is looked at: the types that are accepted, and its name, alone and in a list."""


def check_types(constructor: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Refuse arguments of another type than a constructor says: `"false"` for a switch, `True` or `nan` for a number.

    The command line does so itself; in Python `3.0` passes for a depth until a network is built. Numbers,
    switches, texts, and lists of them are looked at; ranges are not.

    Args:
        constructor: whose annotations count.
        given: the values by argument, `locals()` where the constructor begins.

    Raises:
        ValueError: an argument is of another type.
    """
    for name, hint in _hints(constructor).items():
        if name in given and not _fits(given[name], hint):
            raise ValueError(f"{name} is {_named(hint)}; got {repr(given[name])[:_SHOWN]}")


@cache
def _hints(constructor: Callable[..., Any]) -> dict[str, Any]:
    return {name: hint for name, hint in get_type_hints(constructor).items() if name != "return"}


def _fits(value: Any, hint: Any) -> bool:
    if hint in _SINGLE:
        return isinstance(value, _SINGLE[hint][0]) and (hint is bool or not isinstance(value, bool | np.bool_))
    inner = get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, each) for each in inner)
    if get_origin(hint) is Literal:
        return any(type(value) is type(each) for each in inner)  # which of them is another check's, and message's
    if get_origin(hint) in (tuple, Sequence) and inner:
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            return False
        return all(_fits(each, inner[0]) for each in value)
    return True


def _named(hint: Any) -> str:
    if hint in _SINGLE:
        return _SINGLE[hint][1]
    if get_origin(hint) in (Union, UnionType):
        return ", or ".join(dict.fromkeys(_named(each) for each in get_args(hint)))
    if get_origin(hint) is Literal:
        return "a text"
    (first, *_) = get_args(hint)
    return f"a list {_SINGLE[first][2] if first in _SINGLE else ''}".strip()
