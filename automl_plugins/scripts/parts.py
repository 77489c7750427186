"""Parts of a call or an output by their paths: arguments, dictionaries, sequences, and objects with attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

from torch import Tensor, nn

_DEEPEST = 4
_MISSING = object()


def named_arguments(parameters: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name, however they were given; those beyond the named ones by their places.

    Args:
        parameters: names of the positional parameters.
        args: positional arguments.
        kwargs: keyword arguments.
    """
    names = [parameters[place] if place < len(parameters) else str(place) for place in range(len(args))]
    return {**dict(zip(names, args, strict=True)), **kwargs}


def parts_of(value: Any, numbers: Sequence[str] = ()) -> dict[str, Any]:
    """Tensors and whole numbers inside of a value, by their paths; the path of the value itself is empty.

    Args:
        value: of the kinds that `children` knows, to a small depth.
        numbers: attributes of whole numbers that are looked for on objects, beside what they hold.
    """
    return dict(_walk(value, "", numbers, 0))


def part_at(value: Any, path: str) -> Any:
    """The part at a path; None where there is none."""
    for step in path.split(".") if path else ():
        value = _child(value, step)
        if value is _MISSING:
            return None
    return value


def children(value: Any) -> dict[str, Any] | None:
    """The contents of a container, by name or place; None: it is none.

    Containers are mappings, what has `keys()` and `[]` as PyG's graphs have, sequences, dataclasses and plain objects.
    """
    if value is None or isinstance(value, Tensor | nn.Module | str | bytes | int | float | type):
        return None
    if _is_keyed(value):
        return {key: value[key] for key in value.keys() if isinstance(key, str)}  # noqa: SIM118 - not of all mappings
    if isinstance(value, list | tuple):
        return {str(place): item for place, item in enumerate(value)}
    if is_dataclass(value) or type(value).__module__ not in ("builtins", "torch"):
        return dict(getattr(value, "__dict__", {})) or None
    return None


def _is_keyed(value: Any) -> bool:
    return isinstance(value, Mapping) or (callable(getattr(value, "keys", None)) and hasattr(value, "__getitem__"))


def _walk(value: Any, path: str, numbers: Sequence[str], depth: int) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Tensor) or type(value) is int:
        yield path, value
        return
    held = children(value)
    if held is None or depth == _DEEPEST:
        return
    for name, item in held.items():
        yield from _walk(item, f"{path}.{name}".strip("."), numbers, depth + 1)
    if isinstance(value, dict | list | tuple):
        return
    for name in numbers:
        count = getattr(value, name, None)
        if type(count) is int and name not in held:
            yield f"{path}.{name}".strip("."), count


def _child(value: Any, step: str) -> Any:
    if isinstance(value, list | tuple):
        return value[int(step)] if step.isdecimal() and int(step) < len(value) else _MISSING
    if _is_keyed(value) and step in value:
        return value[step]
    return getattr(value, step, _MISSING) if not isinstance(value, Mapping | Tensor) else _MISSING
