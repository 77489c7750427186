"""Deep supervision: a loss over the outputs of several levels of a network, while it is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor
from torch.nn import functional


@runtime_checkable
class SupervisedAtLevels(Protocol):
    """A network that is trained by the outputs of several levels, and evaluated by the full ones, its `forward`."""

    def forward_levels(self, images: Tensor) -> list[Tensor]:
        """The outputs `[batch, out_channels, height, width]` of each level, the full ones first."""


def loss_of_levels(levels: list[Tensor], targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The mean loss of all levels, each weighing half of the one before (Isensee et al. 2021).

    Args:
        levels: outputs, the full ones first.
        targets: of pixels, `[..., height, width]`; for coarser levels the nearest pixel's.
        loss: of outputs and targets of one size.
    """
    weights = [0.5**level for level in range(len(levels))]
    losses = [
        weight * loss(outputs, resized(targets, outputs)) for weight, outputs in zip(weights, levels, strict=True)
    ]
    return sum(losses[1:], losses[0]) / sum(weights)


def resized(targets: Tensor, outputs: Tensor) -> Tensor:
    """The targets `[batch, ..., height, width]` of the outputs' height and width, by the nearest pixel."""
    size = outputs.shape[-2:]
    if targets.shape[-2:] == size:
        return targets
    flat = targets.reshape(len(targets), -1, *targets.shape[-2:])
    found = functional.interpolate(flat.double(), size=size, mode="nearest-exact")
    return found.to(targets.dtype).reshape(*targets.shape[:-2], *size)
