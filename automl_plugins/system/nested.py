"""Tensors inside of what a network is called with: tuples, dictionaries, dataclasses, PyG graphs, any plain object."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

_PLAIN = (str, bytes, int, float, complex, bool, type(None))
_CODE = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType)


def tensors_in(value: Any) -> list[Tensor]:
    """All tensors inside of a value, each once, in a fixed order."""
    return [leaf for _, leaf in _leaves(value, "", set()) if isinstance(leaf, Tensor)]


def copied(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A copy of a value with other tensors in the place of its own; modules inside of it stay themselves."""
    memo: dict[int, Any] = {}
    for _, leaf in _leaves(value, "", set()):
        memo[id(leaf)] = change(leaf) if isinstance(leaf, Tensor) else leaf
    return copy.deepcopy(value, memo)


def moved(value: Any, device: torch.device) -> Any:
    """A copy of a value with all of its tensors on a device."""
    return copied(value, lambda tensor: tensor.detach().to(device))


def described(value: Any) -> str:
    """Names, dtypes and shapes of all tensors inside of a value, and the plain numbers and words beside them."""
    return ", ".join(f"{name}: {_leaf(leaf)}".removeprefix(": ") for name, leaf in _leaves(value, "", set()))


def _leaf(leaf: Any) -> str:
    if isinstance(leaf, Tensor):
        return f"{str(leaf.dtype).removeprefix('torch.')} {list(leaf.shape)}"
    return repr(leaf) if isinstance(leaf, _PLAIN) else type(leaf).__name__


def _leaves(value: Any, name: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Tensors, modules and plain values, with the way to them; what comes a second time is left out."""
    if isinstance(value, _PLAIN):
        if value is not None:
            yield name, value
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Tensor | nn.Module):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, _joined(name, key), seen)
    elif isinstance(value, list | tuple | set | frozenset):
        for place, item in enumerate(value):
            yield from _leaves(item, name if len(value) == 1 else _joined(name, place), seen)
    elif not isinstance(value, _CODE):
        for key, item in _attributes(value):
            yield from _leaves(item, _joined(name, key), seen)


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    slots = [slot for cls in type(value).__mro__ for slot in _listed(getattr(cls, "__slots__", ()))]
    yield from ((slot, getattr(value, slot)) for slot in slots if hasattr(value, slot) and slot != "__dict__")
    # PyG keeps what belongs to a graph in stores of private names; they say nothing to a reader.
    for key, item in getattr(value, "__dict__", {}).items():
        yield ("" if key in ("_store", "_mapping") else key), item


def _listed(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _joined(name: str, key: object) -> str:
    return f"{name}.{key}".strip(".")
