"""The mean loss of several paths, in the memory of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


def mean_loss(losses: Iterable[Tensor], weights: Sequence[Tensor], scaler: torch.amp.GradScaler | None) -> Tensor:
    """The mean of losses, as a scalar whose gradient with respect to the weights has been computed already.

    The gradient of each loss is taken before the next one is computed. A backward pass through the result hands the
    mean of the gradients on, so that accumulation, loss scaling and DDP's hooks, which must run once a step, are those
    of any loss. Second derivatives are refused.

    Args:
        losses: computed one after the other.
        weights: what the gradient is of; those that no loss depends on get none.
        scaler: keeps small gradients from vanishing under 16-bit mixed precision; None: they do not need it.

    Raises:
        ValueError: there is no loss.
    """
    total, count = None, 0
    sums: list[Tensor | None] = [None] * len(weights)
    for loss in losses:
        total = loss.detach() if total is None else total + loss.detach()
        count += 1
        for place, gradient in enumerate(_gradients(loss, weights, scaler)):
            if gradient is not None:
                before = sums[place]
                sums[place] = gradient if before is None else before + gradient
    if total is None:
        raise ValueError("the mean loss of no path was asked for")
    reached = [(weight, each / count) for weight, each in zip(weights, sums, strict=True) if each is not None]
    tensors = [weight for weight, _ in reached] + [gradient for _, gradient in reached]
    mean: Tensor = _Precomputed.apply(total / count, len(reached), *tensors)
    return mean


def _gradients(loss: Tensor, weights: Sequence[Tensor], scaler: torch.amp.GradScaler | None) -> Sequence[Tensor | None]:
    # A training step is called under autocast, which is meant for the forward pass alone.
    with torch.autocast(loss.device.type, enabled=False):
        if scaler is None or not scaler.is_enabled():
            return torch.autograd.grad(loss, weights, allow_unused=True)
        scaled = torch.autograd.grad(scaler.scale(loss), weights, allow_unused=True)
        scale = scaler.get_scale()
        return [None if gradient is None else gradient / scale for gradient in scaled]


class _Precomputed(torch.autograd.Function):
    """A loss whose gradients are given."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, count: int, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors[count:])
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
        # Gradients are recorded in a backward pass exactly where it is to be differentiated.
        if torch.is_grad_enabled():
            raise RuntimeError(
                "gradients of gradients (create_graph=True) do not reach through the mean loss of several paths, whose "
                "gradients are taken one after the other; add up `step.loss_of` of each path instead"
            )
        gradients = [upstream * gradient for gradient in ctx.saved_tensors]
        return (None, None, *gradients, *[None] * len(gradients))
