"""The loss that is chosen by how rare the classes of the training masks are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins.spaces.task import Target
from seg_space.losses import MODES

RARE = 0.1
"""A class is rare that has less than this part of an even share of the pixels."""
MOST_WEIGHT = 10.0
"""No class weighs more beside the median one."""


class Rule(NamedTuple):
    """The rule's answer.

    Args:
        weights: of the cross entropy: of each class, or of the yes of each label.
        rare: positions of the rare classes, or of the labels whose yes is rare.
    """

    weights: Tensor
    rare: tuple[int, ...]


def loss_rule(counts: Tensor, target: Target) -> Rule:
    r"""Weights of classes, where some are rare; ones where none is.

    A class is rare whose share of the known pixels is below a tenth of an even share (one of the classes that occur).
    The weight of class c is then :math:`\sqrt{\mathrm{median}(f) / f_c}`, the root of the weight of median frequency
    balancing (Eigen and Fergus 2015), at most 10; all are scaled so that pixels weigh one in the mean. The yes of a
    label, or of a binary target, is rare below a twentieth; it weighs :math:`\sqrt{(1 - f) / f}`, at most 10.

    Args:
        counts: of training pixels: `[1, classes]`, or `[labels, 2]` of no and yes.
        target: `classes`, `binary` or `multilabel`.
    """
    shares = counts.double() / counts.sum(dim=1, keepdim=True).clamp(min=1)
    if target == "classes":
        share, occurs = shares[0], counts[0] > 0
        is_rare = occurs & (share < RARE / int(occurs.sum()))
        weights = torch.where(occurs, (share[occurs].median() / share).sqrt().clamp(max=MOST_WEIGHT), 1.0)
        weights = weights / (share * weights).sum()
    else:
        no, yes = shares.unbind(dim=1)
        is_rare = (yes > 0) & (yes < RARE / 2)
        weights = torch.where(is_rare, (no / yes).sqrt().clamp(max=MOST_WEIGHT), 1.0)
    rare = tuple(is_rare.nonzero().flatten().tolist())
    return Rule(weights.float() if rare else torch.ones(len(weights)), rare)


class AutoLoss(nn.Module):
    """Cross entropy; where classes are rare, weighted, and the Lovasz loss (Berman et al. 2018) of smp is added.

    `loss_rule` says where. Until `settle` has been called, or a state loaded, it is cross entropy alone.

    Shapes: as of `losses.PixelLoss`; zero, with zero gradients, where no pixel counts.

    Args:
        target: what kind the targets are.
        channels: of the outputs.
        ignore_index: the target of pixels that do not count.
    """

    weights: Tensor
    overlap: Tensor

    def __init__(self, target: Target, channels: int, ignore_index: int) -> None:
        super().__init__()
        self.target, self.ignore_index = target, ignore_index
        self.register_buffer("weights", torch.ones(channels))
        self.register_buffer("overlap", torch.zeros(()))
        self.lovasz = smp.losses.LovaszLoss(MODES[target], ignore_index=ignore_index)

    def settle(self, counts: Tensor, names: Sequence[str]) -> str:
        """Follow the rule.

        Args:
            counts: see `loss_rule`.
            names: of the classes or labels.

        Returns:
            What was chosen, in words.

        Raises:
            ValueError: the counts have another shape, or are no numbers of pixels.
        """
        channels = len(self.weights)
        expected = [1, channels] if self.target == "classes" else [channels, 2]
        if list(counts.shape) != expected or not bool((counts.isfinite() & (counts >= 0)).all()):
            raise ValueError(
                f"loss='auto': the datamodule's target_counts are numbers of pixels, {expected} of them for this task; "
                f"got {list(counts.shape)}, {counts.flatten()[:6].tolist()}"
            )
        if not bool(counts.any()):
            return "loss auto: cross entropy, since no pixel of the training masks counts"
        rule = loss_rule(counts, self.target)
        self.weights.copy_(rule.weights)
        self.overlap.fill_(float(bool(rule.rare)))
        if not rule.rare:
            return "loss auto: cross entropy, since no class is rare"
        told = ", ".join(f"{names[place]} {self._share(counts, place):.2%}" for place in rule.rare)
        weights = ", ".join(f"{weight:.2f}" for weight in rule.weights.tolist())
        return f"loss auto: cross entropy with the weights {weights}, and lovasz, since few pixels are of: {told}"

    def _share(self, counts: Tensor, place: int) -> float:
        row, column = (0, place) if self.target == "classes" else (place, 1)
        return float(counts[row, column] / counts[row].sum())

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        known = targets != self.ignore_index
        if not known.any():
            return outputs.sum() * 0.0
        total = self._cross_entropy(outputs, targets, known) / known.sum()
        return total + self.overlap * self.lovasz(outputs, targets) if self.overlap else total

    def _cross_entropy(self, outputs: Tensor, targets: Tensor, known: Tensor) -> Tensor:
        weights = self.weights.to(outputs.dtype)
        if self.target == "classes":
            return functional.cross_entropy(outputs, targets, weights, ignore_index=self.ignore_index, reduction="sum")
        truth, counted = (each.view_as(outputs).to(outputs.dtype) for each in (targets, known))
        given: dict[str, Any] = {"pos_weight": weights.view(-1, 1, 1), "reduction": "sum"}
        return functional.binary_cross_entropy_with_logits(outputs, truth, counted, **given)
