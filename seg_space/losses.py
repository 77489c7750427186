"""Losses of pixels, by name: cross entropy, and those of segmentation_models_pytorch."""

from __future__ import annotations

from typing import Any

import segmentation_models_pytorch as smp
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins.spaces.task import Target
from automl_plugins.system.nearest import did_you_mean

MODES = {"classes": "multiclass", "binary": "binary", "multilabel": "multilabel"}
"""The modes of smp's losses by the kind of targets."""

_OF_SMP: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "dice": (smp.losses.DiceLoss, {}),
    "focal": (smp.losses.FocalLoss, {}),
    "jaccard": (smp.losses.JaccardLoss, {}),
    "lovasz": (smp.losses.LovaszLoss, {}),
    # Missed pixels weigh more than false ones, as in Salehi et al. 2017; with equal weights it is Dice again.
    "tversky": (smp.losses.TverskyLoss, {"alpha": 0.3, "beta": 0.7}),
}

LOSSES = ("cross_entropy", *_OF_SMP)
"""The names of losses."""


class PixelLoss(nn.Module):
    """A sum of losses of the pixels that are not ignored; zero, with zero gradients, where none is left.

    `cross_entropy` is the mean over pixels (and labels), of the binary kind where targets are; `dice`, `jaccard`,
    `tversky`, `lovasz` and `focal` are smp's, which count over the whole batch.

    Shapes: outputs `[batch, channels, height, width]`; targets `[batch, height, width]`, for several labels
    `[batch, channels, height, width]`.

    Args:
        name: one of `LOSSES`, or several joined by `+`.
        target: what kind the targets are.
        ignore_index: the target of pixels that do not count.

    Raises:
        ValueError: there is no loss of that name.
    """

    def __init__(self, name: str, target: Target, ignore_index: int) -> None:
        super().__init__()
        self.target = target
        self.ignore_index = ignore_index
        self.names = [part.strip() for part in name.split("+")]
        for part in self.names:
            if part not in LOSSES:
                raise ValueError(
                    f"loss is a sum of {', '.join(LOSSES)}, such as cross_entropy+dice; got {name!r}; "
                    f"{did_you_mean(part, LOSSES)}"
                )
        self.parts = nn.ModuleDict()
        for part in self.names:
            if part in _OF_SMP:
                made, arguments = _OF_SMP[part]
                mode = MODES[target]
                if part == "focal" and target == "multilabel":
                    # smp 0.6 fails on ignored pixels there; a label of a pixel is one yes or no.
                    mode = "binary"
                self.parts[part] = made(mode, ignore_index=ignore_index, **arguments)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        known = targets != self.ignore_index
        # Some of smp's fail where there is nothing to count, or give nan.
        if self.parts and not known.any():
            return outputs.sum() * 0.0
        losses = [
            self.parts[name](outputs, targets) if name in self.parts else self._cross_entropy(outputs, targets, known)
            for name in self.names
        ]
        return sum(losses[1:], start=losses[0])

    def _cross_entropy(self, outputs: Tensor, targets: Tensor, known: Tensor) -> Tensor:
        if self.target == "classes":
            total = functional.cross_entropy(outputs, targets, ignore_index=self.ignore_index, reduction="sum")
        else:
            truth = targets.view_as(outputs).to(outputs.dtype)
            weight = known.view_as(outputs).to(outputs.dtype)
            total = functional.binary_cross_entropy_with_logits(outputs, truth, weight, reduction="sum")
        return total / known.sum().clamp(min=1)
