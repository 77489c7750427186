"""Random labels that belong to samples: a function of what a sample holds and of a seed, whatever batch it comes in."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from automl_plugins.spaces.task import Task

_STEP = -7046029254386353131
"""The increment of SplitMix64 (Steele, Lea and Flood 2014) as a signed number, and below its two factors."""
_FACTORS = (-4658895280553007687, -7723592293110705685)
_SHIFTS = (30, 27, 31)
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def fingerprints(rows: Tensor) -> Tensor:
    """A number for each row, equal where the rows are bit by bit: int64 `[num_rows]`.

    Sums of whole numbers do not depend on their order, so that devices and batches agree.

    Args:
        rows: `[num_rows, ...]`, of any dtype, dense.
    """
    flat = rows.detach().reshape(len(rows), -1)
    if flat.is_floating_point():
        flat = flat.contiguous().view(_BITS[flat.element_size()])
    factors = mixed(torch.arange(flat.shape[1], device=flat.device)) | 1
    return mixed((flat.long() * factors).sum(dim=1))


def mixed(numbers: Tensor, *others: Tensor | int) -> Tensor:
    """Numbers, and others with them, scattered over all of int64."""
    for other in others:
        numbers = mixed(numbers) + other
    numbers = numbers + _STEP
    for shift, factor in zip(_SHIFTS, (*_FACTORS, 1), strict=True):
        # Of a signed number, a shift to the right brings in ones.
        numbers = (numbers ^ ((numbers >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return numbers


def labels_of(samples: Tensor, like: Tensor, task: Task, seed: int, scale: tuple[float, float]) -> Tensor:
    """Random targets of samples.

    Args:
        samples: a number for each, int64 `[num_samples]`.
        like: the targets in whose place they are put, `[num_samples]` or `[num_samples, num_columns]`.
        task: whose targets they are.
        seed: of the draw.
        scale: mean and deviation of real-valued ones.

    Returns:
        Targets of the shape and the dtype of `like`.
    """
    columns = torch.arange(max(like[:1].numel(), 1), device=samples.device)
    numbers = mixed(samples.unsqueeze(1), seed, columns)
    if task.target == "classes":
        drawn = (_uniform(numbers) * task.out_channels).long()
    elif task.target == "regression":
        # Box and Muller 1958.
        radius = (-2 * _uniform(numbers).log()).sqrt()
        drawn = scale[0] + scale[1] * radius * (2 * math.pi * _uniform(mixed(numbers))).cos()
    else:
        drawn = _uniform(numbers) < 0.5
    return drawn.reshape(like.shape).to(like.dtype)


def _uniform(numbers: Tensor) -> Tensor:
    """Between 0 and 1, never either: float64."""
    return (((numbers >> 11) & ((1 << 53) - 1)).double() + 0.5) / 2**53
