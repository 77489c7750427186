"""Modules that torch's compiler leaves alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch

Forward = TypeVar("Forward", bound=Callable[..., Any])

_REASON = "which options a supernet runs changes with its gates from step to step; it runs as it is written"


def run_eagerly(forward: Forward) -> Forward:
    """A forward pass that is run as it is written inside of compiled modules, too.

    A supernet's operations depend on the values of its gates, so that nearly every step would be compiled anew.

    Args:
        forward: a method.
    """
    left_alone: list[Callable[..., Any]] = []

    @functools.wraps(forward)
    def run(*arguments: Any, **options: Any) -> Any:
        if not left_alone:  # at the first call: the import of the compiler takes seconds
            left_alone.append(torch.compiler.disable(forward, reason=_REASON))
        return left_alone[0](*arguments, **options)

    return cast(Forward, run)
