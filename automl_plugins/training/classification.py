"""The judgement of predictions that are rows of logits: classes, yes or no, or several labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import BinaryAccuracy

from automl_plugins.spaces.task import Task
from automl_plugins.training.schedule import Shape
from automl_plugins.training.scores import UNKNOWN, ClassAccuracy, LabelAUROC, LabelF1
from automl_plugins.training.task_module import TaskModule


class ClassificationModule(TaskModule):
    """Cross entropy; accuracy for classes, AUROC for a binary target, the mean of the labels' AUROC for several.

    A class without a target in a stage, and a label whose known targets are all equal, are left out of the mean, and
    named once. If nothing is left, the metric is nan. Labels that are nan do not count.

    A subclass says how its network is called, and by `_rows` which outputs and targets count.

    Args:
        network: gives logits `[num_predictions, out_channels]`.
        task: of a target other than `regression`.
        learning_rate: the optimizer's.
        weight_decay: the optimizer's L2 penalty.
        class_weighted: weight each class by the share of a batch that is *not* of it, and report the mean of the
            classes' recalls as accuracy.
        schedule: of the learning rate, see `TaskModule`.

    Raises:
        ValueError: a task of another level or target, or a number out of range.
    """

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        learning_rate: float,
        weight_decay: float,
        class_weighted: bool = False,
        schedule: Shape = "cosine",
    ) -> None:
        super().__init__(network, task, learning_rate, weight_decay, schedule)
        self.direction = "maximize"
        self.class_weighted = class_weighted
        if class_weighted and task.target != "classes":
            raise ValueError(f"class_weighted is for targets of several classes; the task's target is {task.target!r}")
        if task.target == "classes":
            self.monitor = "val_accuracy"
            self._track({"accuracy": ClassAccuracy(task.out_channels, by_class=class_weighted)})
        elif task.target in ("binary", "multilabel"):
            self.monitor = "val_auroc"
            accuracy = BinaryAccuracy(ignore_index=UNKNOWN, validate_args=False)
            metrics: dict[str, Metric | MetricCollection] = {"auroc": LabelAUROC(task.out_channels)}
            self._track(metrics | ({"accuracy": accuracy} if task.target == "binary" else {"f1": LabelF1()}))
        else:
            raise ValueError(f"{type(self).__name__} needs a target of classes; the task's is {task.target!r}")

    def _rows(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs with targets as losses and metrics take them."""
        if self.task.target == "classes":
            # Some data sets keep classes as floats, or in a column.
            return outputs, targets.view(-1).long()
        # Yes or no comes as a number or a row of one, as integers or, with nan, as floats.
        return outputs, targets.view_as(outputs).to(outputs.dtype)

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.task.target != "classes":
            known = ~targets.isnan()
            losses = functional.binary_cross_entropy_with_logits(outputs[known], targets[known], reduction="sum")
            return losses / known.sum().clamp(min=1)
        if not self.class_weighted:
            return functional.cross_entropy(outputs, targets, reduction="sum") / max(len(targets), 1)
        weights = _class_weights(targets, self.task.out_channels).to(outputs.dtype)
        losses = functional.cross_entropy(outputs, targets, weights, reduction="sum")
        return losses / weights.index_select(0, targets).sum().clamp(min=torch.finfo(outputs.dtype).tiny)

    def _update(self, metrics: MetricCollection, outputs: Tensor, targets: Tensor) -> None:
        if self.task.target == "classes":
            metrics.update(outputs, targets)
            return
        targets = targets.nan_to_num(UNKNOWN).long()
        for name, metric in metrics.items(keep_base=True):
            metric.update((outputs > 0).long() if name == "accuracy" else outputs, targets)

    def _values(self, stage: str, computed: dict[str, Tensor]) -> dict[str, Tensor]:
        kinds = "classes" if self.task.target == "classes" else "labels"
        return {
            name: value if value.dim() == 0 else self._mean_of_defined(name, value, kinds, self._names())
            for name, value in computed.items()
        }


def _class_weights(targets: Tensor, num_classes: int) -> Tensor:
    """(V - V_c) / V for the V targets of a batch, V_c of them of class c, `[num_classes]`.

    A class that has the batch for itself would weigh nothing, and the weighted mean be 0 / 0: it weighs one.
    """
    counts = torch.bincount(targets, minlength=num_classes)
    return torch.where(counts == len(targets), 1.0, (len(targets) - counts) / max(len(targets), 1))
