"""Comparisons of tensors in float64."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from automl_plugins.supernets.searchable import Searchable

TOLERANCE = 1e-10
# What is smaller than this is compared as if it were this large.
SMALL = 1e-4


@contextmanager
def float64() -> Iterator[None]:
    """Have torch make floating-point tensors in float64 inside the block."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def tensors_of(value: Any) -> list[Tensor]:
    """All tensors in an output, which may be a tensor, or a tuple, list or dictionary of outputs."""
    if isinstance(value, Tensor):
        return [value]
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple | list) else ()
    return [tensor for part in parts for tensor in tensors_of(part)]


def rows_of(searchable: Searchable, matrix: Tensor) -> dict[str, Tensor]:
    """A matrix of gates, choice by choice."""
    return {choice.name: matrix[row, : len(choice.options)] for row, choice in enumerate(searchable.choices)}


def product_of(change: Tensor, gradient: Tensor | None) -> float:
    """The change of the loss, in first order, by a change of what the gradient is of."""
    return 0.0 if gradient is None else float((change * gradient).sum())


def scale_of(gradient: Tensor | None) -> float:
    """The sum of absolute values; 0 where there is no gradient."""
    return 0.0 if gradient is None else float(gradient.abs().sum())


def is_finite(gradient: Tensor | None) -> bool:
    """True where a gradient has finite values alone; options that were not run have none."""
    return gradient is None or bool(gradient.isfinite().all())


def assert_close(what: str, ours: list[Tensor], theirs: list[Tensor], where: str) -> None:
    """Hold that tensors of the supernet and of a network are equal within `TOLERANCE` of the largest value."""
    assert len(ours) == len(theirs), f"{what} are {len(ours)} and {len(theirs)} {where}"
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape, f"{what} have the shapes {one.shape} and {other.shape} {where}"
        difference = float((one - other).detach().abs().max()) if one.numel() else 0.0
        scale = max(SMALL, float(other.detach().abs().max()) if other.numel() else 0.0)
        assert difference <= TOLERANCE * scale, f"{what} of supernet and network differ by {difference} {where}"
