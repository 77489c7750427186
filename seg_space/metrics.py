"""Scores of pixels, as functions of confusion matrices and of errors."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


def intersection_over_union(confusion: Tensor) -> Tensor:
    """The intersection over union of each class, or of each label's foreground, `[channels]`.

    It is nan for a class that does not occur: what is falsely found of it counts against the classes that are missed.

    Args:
        confusion: counts of pixels, integers: `[channels, channels]`, truth by prediction, for classes;
            `[channels, 2, 2]` for labels.
    """
    if confusion.dim() == 3:
        hits, there = confusion[:, 1, 1], confusion[:, 1].sum(dim=1)
        union = there + confusion[:, 0, 1]
    else:
        hits, there = confusion.diag(), confusion.sum(dim=1)
        union = there + confusion.sum(dim=0) - hits
    return torch.where(there > 0, hits / union, torch.nan)


def pixel_accuracy(confusion: Tensor) -> Tensor:
    """The share of pixels, or of labels of pixels, that are right.

    Args:
        confusion: as for `intersection_over_union`.
    """
    matrix = confusion.sum(dim=0) if confusion.dim() == 3 else confusion
    return matrix.trace() / matrix.sum()


def sample_errors(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """||outputs - targets||_2 / ||targets||_2 of each channel of each sample, and which have one: `[batch, channels]`.

    Those of which all targets are 0 have none, and 0 in its place. Targets that are nan count in neither norm; outputs
    that are nan make the error of their channel nan.

    Args:
        outputs: `[batch, channels, height, width]`.
        targets: of the same shape.
    """
    known = ~targets.isnan()
    differences = (torch.where(known, targets, outputs) - outputs).flatten(2)
    sizes = torch.where(known, targets, 0.0).flatten(2)
    # Both are brought to the targets' magnitude: squares of very small and very large numbers are 0 and infinite.
    magnitude = sizes.abs().amax(dim=2, keepdim=True)
    there = magnitude[..., 0] > 0
    magnitude = magnitude.where(magnitude > 0, 1.0)
    # Divided by 1 where the quotient is not used: a gradient of zero times infinity would be nan.
    size = (sizes / magnitude).norm(dim=2).where(there, 1.0)
    quotient = (differences / magnitude).norm(dim=2) / size
    return quotient.where(there, 0.0), there


class RelativeError(Metric):
    """The mean of `sample_errors` over an epoch and all ranks; nan where nothing has one, and once an output was."""

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "count"):
            self.add_state(name, torch.zeros(()), dist_reduce_fx="sum")

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Count the samples of a batch."""
        errors, there = sample_errors(outputs, targets)
        self.total = self.total + errors.sum()
        self.count = self.count + there.sum()

    def compute(self) -> Tensor:
        return self.total / self.count
