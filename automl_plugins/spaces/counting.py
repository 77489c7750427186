"""Counting parameters without building: parts of networks that occur often are counted once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, TypeVar, cast

import torch
from torch import nn

Part = TypeVar("Part", bound=nn.Module)

_IS_COUNTING: ContextVar[bool] = ContextVar("counting", default=False)
_PLAIN = (str, int, float, bool, type(None))


def count_parameters(build: Callable[[], nn.Module]) -> int:
    """The trainable parameters of what is built, without giving memory to them.

    Args:
        build: builds a module; of what it makes by `part` only the number of parameters is right.
    """
    token = _IS_COUNTING.set(True)
    try:
        with torch.device("meta"):
            network = build()
    finally:
        _IS_COUNTING.reset(token)
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def part(make: Callable[..., Part], *arguments: Any, **options: Any) -> Part:
    """`make(*arguments, **options)`; while parameters are counted, a module with as many, which are counted once.

    Args:
        make: a class of modules, or a function that makes one.
        arguments: of `make`; with others than strings and numbers the module itself is made.
        options: likewise.
    """
    plain = all(isinstance(each, _PLAIN) for each in (*arguments, *options.values()))
    if not (_IS_COUNTING.get() and plain):
        return make(*arguments, **options)
    with _building():
        count = _count(make, arguments, tuple(options.items()))
    standing_in = nn.Module()
    if count:
        standing_in.register_parameter("weights", nn.Parameter(torch.empty(count, device="meta")))
    return cast(Part, standing_in)


@lru_cache(maxsize=4096)
def _count(make: Callable[..., nn.Module], arguments: tuple[Any, ...], options: tuple[tuple[str, Any], ...]) -> int:
    with torch.device("meta"):
        made = make(*arguments, **dict(options))
    return sum(parameter.numel() for parameter in made.parameters() if parameter.requires_grad)


@contextmanager
def _building() -> Iterator[None]:
    """Parts of a part are made: it may look at them."""
    token = _IS_COUNTING.set(False)
    try:
        yield
    finally:
        _IS_COUNTING.reset(token)
