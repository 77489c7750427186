"""The LightningModule of semantic segmentation."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    BinaryConfusionMatrix,
    MulticlassConfusionMatrix,
    MultilabelConfusionMatrix,
)

from automl_plugins.spaces.task import Task
from automl_plugins.training.lightning import pl
from automl_plugins.training.schedule import Shape
from seg_space.auto_loss import AutoLoss
from seg_space.losses import PixelLoss
from seg_space.masks import as_classes
from seg_space.metrics import intersection_over_union, pixel_accuracy
from seg_space.modules.base import Optimizer
from seg_space.modules.pixels import PixelModule


class SemanticSegmentation(PixelModule):
    """Label every pixel: with one of several classes, with yes or no, or with several labels.

    Batches are `(images, masks)`: images `[batch, in_channels, height, width]`, and integer masks
    `[batch, height, width]` (for several labels `[batch, out_channels, height, width]`) that hold classes, or 0
    and 1; pixels that hold `ignore_index` count nowhere. The datamodules of `seg_space` give 255 for them, whatever
    their files have.

    Metrics come from one confusion matrix of the whole epoch and all ranks: never from means over batches or images,
    which weigh classes differently. `miou` is the mean of the intersections over unions of the classes that occur:
    small sets lack some, which are named once. It is nan where none does. For a binary target it is the foreground's
    alone, for several labels the mean of their foregrounds. `pixel_accuracy` is the share of right pixels (of right
    labels). A test also gives the score of each class that occurs as `test_iou/<class>`, by the datamodule's `classes`
    or by number.

    Args:
        network: gives logits `[batch, out_channels, height, width]`.
        task: of level `pixel`, target `classes`, `binary` or `multilabel`.
        learning_rate: the optimizer's.
        weight_decay: its L2 penalty.
        optimizer: `adam`, or `sgd` with momentum 0.9.
        schedule: of the learning rate: `poly` (of the power 0.9) or `cosine` (with warm-up), to zero over the Trainer's
            steps; or `constant`.
        loss: `cross_entropy`, `dice`, `focal`, `jaccard`, `lovasz`, `tversky`, or a sum such as `cross_entropy+dice`;
            or `auto`: cross entropy, with weights and with `lovasz` where the training masks have rare classes, by
            `auto_loss.loss_rule`.
        ignore_index: the value of pixels that do not count.
        encoder_learning_rate: the optimizer's for a pretrained encoder, with the same schedule; None: `learning_rate`.
        frozen_epochs: the first epochs, in which a pretrained encoder stays as it is.
        fixed_statistics: a pretrained encoder's batch statistics stay as they are in all epochs.

    Raises:
        ValueError: a task of another level or target, an unknown loss, or a value out of range; (in training)
            outputs of another size than the masks, masks that hold no classes, or a datamodule without the
            `target_counts` that `auto` needs.
    """

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        optimizer: Optimizer = "adam",
        schedule: Shape = "poly",
        loss: str = "cross_entropy",
        ignore_index: int = 255,
        encoder_learning_rate: float | None = None,
        frozen_epochs: int = 0,
        fixed_statistics: bool = False,
    ) -> None:
        encoder = encoder_learning_rate, frozen_epochs, fixed_statistics
        super().__init__(network, task, learning_rate, weight_decay, optimizer, schedule, *encoder)
        if task.target == "regression":
            raise ValueError("SemanticSegmentation needs a target of classes or labels; the task's is 'regression'")
        least = task.out_channels if task.target == "classes" else 2
        if 0 <= ignore_index < least:
            raise ValueError(f"ignore_index is none of the classes 0 to {least - 1}; got {ignore_index}")
        self.ignore_index = ignore_index
        self.loss: PixelLoss | AutoLoss
        if loss == "auto":
            self.loss = AutoLoss(task.target, task.out_channels, ignore_index)
        else:
            self.loss = PixelLoss(loss, task.target, ignore_index)
        self.monitor, self.direction = "val_miou", "maximize"
        self._track({"confusion": self._confusion()})

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit" and isinstance(self.loss, AutoLoss):
            counts = getattr(getattr(self.trainer, "datamodule", None), "target_counts", None)
            if counts is None:
                raise ValueError(
                    "loss='auto' needs a datamodule with target_counts, the pixels of each class in the training masks "
                    "([1, classes], or [labels, 2]); give it that, or name a loss, such as cross_entropy+lovasz"
                )
            pl.utilities.rank_zero_info(self.loss.settle(counts, self._names()))

    def _confusion(self) -> Metric:
        count = self.task.out_channels
        settings: dict[str, Any] = {"ignore_index": self.ignore_index, "validate_args": False}
        if self.task.target == "classes":
            return MulticlassConfusionMatrix(count, **settings)
        if self.task.target == "binary":
            return BinaryConfusionMatrix(**settings)
        return MultilabelConfusionMatrix(count, **settings)

    def _select(self, batch: tuple[Tensor, Tensor], outputs: Tensor, stage: str) -> tuple[Tensor, Tensor]:
        return outputs, as_classes(batch[1], outputs, self.task, self.ignore_index)

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.loss(outputs, targets)

    def _known(self, targets: Tensor) -> Tensor:
        return targets != self.ignore_index

    def _update(self, metrics: MetricCollection, outputs: Tensor, targets: Tensor) -> None:
        predictions = outputs.argmax(dim=1) if self.task.target == "classes" else (outputs > 0).long()
        metrics.update(predictions, targets)

    def _values(self, stage: str, computed: dict[str, Tensor]) -> dict[str, Tensor]:
        confusion = computed[f"{stage}_confusion"]
        if self.task.target == "binary":
            confusion = confusion.unsqueeze(0)
        scores, names = intersection_over_union(confusion), self._names()
        kinds = "classes" if self.task.target == "classes" else "labels"
        values = {
            f"{stage}_miou": self._mean_of_defined(f"{stage}_miou", scores, kinds, names),
            f"{stage}_pixel_accuracy": pixel_accuracy(confusion),
        }
        if stage == "test" and self.task.target != "binary":
            # What occurs is of the truth alone, so that all networks have the same ones.
            values |= {
                f"test_iou/{name}": score for name, score in zip(names, scores, strict=True) if not score.isnan()
            }
        return values
