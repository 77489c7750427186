"""Scores of pixels, as functions of confusion matrices and of errors."""

from __future__ import annotations

import torch
from torch import Tensor


def intersection_over_union(confusion: Tensor) -> Tensor:
    """The intersection over union of each class, or of each label's foreground, `[channels]`.

    It is nan for a class that neither occurs nor is predicted: its union is empty.

    Args:
        confusion: counts of pixels, integers: `[channels, channels]`, truth by prediction, for classes;
            `[channels, 2, 2]` for labels.
    """
    if confusion.dim() == 3:
        hits = confusion[:, 1, 1]
        return hits / (confusion[:, 1, 0] + confusion[:, 0, 1] + hits)
    hits = confusion.diag()
    return hits / (confusion.sum(dim=0) + confusion.sum(dim=1) - hits)


def pixel_accuracy(confusion: Tensor) -> Tensor:
    """The share of pixels, or of labels of pixels, that are right.

    Args:
        confusion: as for `intersection_over_union`.
    """
    matrix = confusion.sum(dim=0) if confusion.dim() == 3 else confusion
    return matrix.trace() / matrix.sum()


def sample_errors(outputs: Tensor, targets: Tensor) -> Tensor:
    """||outputs - targets||_2 / ||targets||_2 of each sample, `[batch]`; nan where all targets are 0.

    Targets that are nan count in neither norm.

    Args:
        outputs: `[batch, channels, height, width]`.
        targets: of the same shape.
    """
    known = ~targets.isnan()
    differences = torch.where(known, targets, outputs) - outputs
    size = torch.where(known, targets, 0.0).flatten(1).norm(dim=1)
    # Divided by 1 where the quotient is not used: a gradient of zero times infinity would be nan.
    quotient = differences.flatten(1).norm(dim=1) / size.where(size > 0, 1.0)
    return quotient.where(size > 0, torch.nan)
