"""Scores of classes, labels and targets that know where they are undefined: nan there, never 0.

All are of a whole epoch and of all ranks: which classes occur is known only then.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

UNKNOWN = -1
"""The target of a label that was not measured."""


class ClassAccuracy(Metric):
    """The share of right predictions: of all targets, or of those of each class.

    Shapes:
        outputs: `[num_targets, num_classes]`; the greatest is what is predicted.
        targets: integers `[num_targets]`.
        result: a number, or with `by_class` the recalls `[num_classes]`; nan: no such target.

    Args:
        num_classes: how many there are.
        by_class: give the recall of each class.
    """

    full_state_update = False
    hits: Tensor
    total: Tensor

    def __init__(self, num_classes: int, by_class: bool) -> None:
        super().__init__()
        self.by_class = by_class
        for name in ("hits", "total"):
            self.add_state(name, torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        right = (outputs.argmax(dim=-1) == targets).long()
        # Not counted by `bincount`, which asks the device for the greatest one.
        self.hits = self.hits.index_add(0, targets, right)
        self.total = self.total.index_add(0, targets, torch.ones_like(targets))

    def compute(self) -> Tensor:
        return self.hits / self.total if self.by_class else self.hits.sum() / self.total.sum()


class TargetErrors(Metric):
    """The root mean square error, or the mean absolute one, of each target in its own units; nan: none is known.

    Shapes:
        outputs: `[num_rows, num_targets, ...]`.
        targets: the same, nan where unknown.
        result: `[num_targets]`.

    Args:
        num_targets: how many there are.
        squared: root mean square, not mean absolute errors.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, num_targets: int, squared: bool) -> None:
        super().__init__()
        self.squared = squared
        for name in ("total", "count"):
            self.add_state(name, torch.zeros(num_targets), dist_reduce_fx="sum")

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        known = ~targets.isnan()
        errors = torch.where(known, targets, outputs) - outputs
        errors = errors.square() if self.squared else errors.abs()
        rows = [dimension for dimension in range(errors.dim()) if dimension != 1]
        self.total = self.total + errors.sum(dim=rows)
        self.count = self.count + known.sum(dim=rows)

    def compute(self) -> Tensor:
        mean = self.total / self.count
        return mean.sqrt() if self.squared else mean


class LabelF1(Metric):
    """F1 of yes, over all labels of all rows (the micro average); nan where no label is yes.

    Without a yes, all networks that find none are 0 / 0, and all others are equal at 0.

    Shapes:
        outputs: logits, of any shape.
        targets: 1, 0, or `UNKNOWN`, of the same shape.
    """

    full_state_update = False
    hits: Tensor
    found: Tensor
    there: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("hits", "found", "there"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        found, there = (outputs > 0) & (targets != UNKNOWN), targets == 1
        self.hits = self.hits + (found & there).sum()
        self.found = self.found + found.sum()
        self.there = self.there + there.sum()

    def compute(self) -> Tensor:
        return torch.where(self.there > 0, 2 * self.hits / (self.found + self.there), torch.nan)


class LabelAUROC(Metric):
    """The area under the ROC curve of each label; nan where all of its known targets are equal.

    It is of the outputs as they are: probabilities of 32 bits tie where the logits do not.

    Shapes:
        outputs: scores `[num_rows, num_labels]`.
        targets: 1, 0, or `UNKNOWN`, of the same shape.
        result: `[num_labels]`.

    Args:
        num_labels: how many there are.
    """

    full_state_update = False
    outputs: list[Tensor]
    targets: list[Tensor]

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.num_labels = num_labels
        # Flat, so that ranks with and without a batch have states that fit together.
        self.add_state("outputs", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        scores = outputs.detach().flatten()
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))  # ranks on all devices
        self.outputs.append(scores)
        self.targets.append(targets.flatten().to(scores.dtype))

    def compute(self) -> Tensor:
        if len(self.outputs) == 0:
            return torch.full((self.num_labels,), torch.nan, device=self.device)
        outputs, targets = (
            dim_zero_cat(state).view(-1, self.num_labels).unbind(dim=1) for state in (self.outputs, self.targets)
        )
        return torch.stack([roc_area(*label) for label in zip(outputs, targets, strict=True)])


def roc_area(outputs: Tensor, targets: Tensor) -> Tensor:
    """The probability that the output of a random yes is above that of a random no; a tie counts half.

    Args:
        outputs: scores `[num_rows]`.
        targets: 1, 0, or `UNKNOWN`, `[num_rows]`.

    Returns:
        A number; nan where there is no yes, or no no.
    """
    outputs, yes = outputs[targets != UNKNOWN], targets[targets != UNKNOWN] == 1
    _, place, ties = outputs.unique(return_inverse=True, return_counts=True)
    # Ranks count from 1; twice the mean rank of ties is an integer, so nothing is rounded.
    twice_rank = 2 * ties.cumsum(0) - ties + 1
    count, others = yes.sum(), (~yes).sum()
    return (twice_rank[place[yes]].sum() - count * (count + 1)) / (2 * count * others)
