"""Agreement of the processes of a distributed search."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from automl_plugins.strategies import Strategy, composition


def averaged(gradients: Sequence[Tensor | None], like: Sequence[Tensor], world_size: int) -> list[Tensor | None]:
    """The mean of each gradient over the ranks; None where no rank has one.

    Args:
        gradients: of this rank; None: the loss did not depend on it here.
        like: tensors of the gradients' shapes.
        world_size: how many ranks there are.
    """
    if world_size == 1:
        return list(gradients)
    pieces = [torch.zeros_like(each) if grad is None else grad for grad, each in zip(gradients, like, strict=True)]
    present = pieces[0].new_tensor([grad is not None for grad in gradients])
    flat = torch.cat([present, *(piece.flatten() for piece in pieces)])
    torch.distributed.all_reduce(flat)
    counts, *means = flat.split([len(pieces), *(piece.numel() for piece in pieces)])
    return [
        (mean / world_size).view_as(piece) if count > 0 else None
        for count, mean, piece in zip(counts.tolist(), means, pieces, strict=True)
    ]


def mean_over_ranks(value: float | None, device: torch.device, world_size: int) -> float | None:
    """The mean of a number over the ranks that have one; None: no rank has."""
    if world_size == 1:
        return value
    total = torch.tensor([value or 0.0, value is not None], dtype=torch.float64, device=device)
    torch.distributed.all_reduce(total)
    return float(total[0] / total[1]) if total[1] else None


def largest(value: int, device: torch.device, world_size: int) -> int:
    """The largest of a number over the ranks."""
    if world_size == 1:
        return value
    greatest = torch.tensor(value, dtype=torch.int64, device=device)
    torch.distributed.all_reduce(greatest, op=torch.distributed.ReduceOp.MAX)
    return int(greatest)


def copy_from_first(tensors: Iterable[Tensor]) -> None:
    """Give all ranks the first one's values."""
    with torch.no_grad():
        for tensor in tensors:
            tensor.copy_(_first(tensor))


def equal_on_all(tensors: Iterable[Tensor], device: torch.device) -> bool:
    """True where all ranks have the first one's values, bit for bit; all get the same answer."""
    differs = torch.zeros((), dtype=torch.int64, device=device)
    for tensor in tensors:
        same = (_first(tensor) == tensor) | (tensor != tensor)  # what is no number equals nothing
        differs += (~same).sum()
    torch.distributed.all_reduce(differs, op=torch.distributed.ReduceOp.MAX)
    return not differs.item()


def check_equal(tensors: Iterable[Tensor], device: torch.device) -> None:
    """Compare tensors over the ranks, bit for bit.

    Raises:
        RuntimeError: they differ; on all ranks.
    """
    if not equal_on_all(tensors, device):
        raise RuntimeError(
            "the architecture logits differ between the processes, so each would find another architecture; "
            "something moves them on one process alone (random state in a training_step, say)"
        )


def check_state(strategy: Strategy, device: torch.device) -> None:
    """Compare what a strategy remembers over the ranks, bit for bit.

    Raises:
        RuntimeError: it differs; on all ranks.
    """
    leaves = torch.utils._pytree.tree_leaves(composition.state_of(strategy))
    tensors = [each for each in map(_as_tensor, leaves) if each is not None]
    shapes = [tuple(tensor.shape) for tensor in tensors]
    alike = all(other == shapes for other in of_all(shapes, torch.distributed.get_world_size()))
    if not alike or not equal_on_all([tensor.to(device) for tensor in tensors], device):
        raise RuntimeError(
            f"what {type(strategy).__name__} remembers differs between the processes, so they would search in "
            "different ways; keep means over them (`step.average`), and draw from `step.generator`"
        )


def _as_tensor(value: object) -> Tensor | None:
    if isinstance(value, float):
        return torch.tensor(value, dtype=torch.float64)
    return torch.tensor(value) if isinstance(value, int) else value if isinstance(value, Tensor) else None


def of_all(value: Any, world_size: int) -> list[Any]:
    """The values of all ranks, in order."""
    if world_size == 1:
        return [value]
    values: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(values, value)
    return values


def _first(tensor: Tensor) -> Tensor:
    sent = tensor.detach().clone()
    if sent.dtype == torch.bool:  # not every backend sends booleans
        sent = sent.to(torch.uint8)
    torch.distributed.broadcast(sent, src=0)
    return sent.to(tensor.dtype)
