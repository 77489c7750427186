"""Objects described as plain JSON, to tell whether two studies were set up alike."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any


def describe(thing: Any) -> Any:
    """What an object was made with, as far as that can be seen.

    Plain values are themselves. A class or a function is its import path, a `functools.partial`
    its function's with the arguments. Any other object is its class's, with those of its constructor's
    arguments that it keeps under their own names as plain values.
    """
    if thing is None or isinstance(thing, str | int | float | bool):
        return thing
    if isinstance(thing, Mapping):
        return {str(key): describe(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple | range | set | frozenset):
        return [describe(value) for value in thing]
    if isinstance(thing, functools.partial):
        return {
            "call": describe(thing.func),
            "arguments": describe(list(thing.args)),
            "keywords": describe(thing.keywords),
        }
    if inspect.isclass(thing) or inspect.isroutine(thing):
        return f"{thing.__module__}.{thing.__qualname__}"
    kept = vars(thing) if hasattr(thing, "__dict__") else {}
    arguments = [name for name in inspect.signature(type(thing)).parameters if name in kept]
    return {
        "class": describe(type(thing)),
        **{name: describe(kept[name]) for name in arguments if _is_plain(kept[name])},
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float | bool)


def first_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    """The first key, dotted down to the innermost, in which two mappings differ, with both values; else None."""
    for key in dict.fromkeys([*now, *before]):
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            deeper = first_difference(old, new)
            if deeper is not None:
                return f"{key}.{deeper[0]}", *deeper[1:]
        return key, old, new
    return None
