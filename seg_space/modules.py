"""LightningModules that train a network of pixels: semantic segmentation and dense regression."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torchmetrics import MeanSquaredError, Metric, MetricCollection
from torchmetrics.classification import (
    BinaryConfusionMatrix,
    MulticlassConfusionMatrix,
    MultilabelConfusionMatrix,
)

from automl_plugins.spaces.task import Level, Task
from automl_plugins.training.task_module import TaskModule
from seg_space.losses import PixelLoss
from seg_space.masks import as_classes
from seg_space.metrics import RelativeError, intersection_over_union, pixel_accuracy, sample_errors

Optimizer = Literal["adam", "sgd"]
Schedule = Literal["poly", "constant"]

MOMENTUM = 0.9
POLY_POWER = 0.9
"""The learning rate at step s of S is (1 - s / S) to this power of the first one (Chen et al. 2017, DeepLab, 4.1)."""


class _PixelModule(TaskModule):
    """How a network of pixels is called, and how it is optimized.

    A network with a method `schedule_drop_path(progress)` is told before each step which part of the training is done.

    The mean and deviation of each channel that images were normalised with, `image_mean` and `image_deviation`, come
    from the datamodule's `image_statistics` where it has them. They are kept in the `state_dict`, for images from
    elsewhere, and not applied here: batches come normalised.
    """

    level: ClassVar[Level] = "pixel"
    image_mean: Tensor
    image_deviation: Tensor

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        learning_rate: float,
        weight_decay: float,
        optimizer: Optimizer,
        schedule: Schedule,
    ) -> None:
        super().__init__(network, task, learning_rate, weight_decay)
        if optimizer not in ("adam", "sgd"):
            raise ValueError(f"optimizer is adam or sgd; got {optimizer!r}")
        if schedule not in ("poly", "constant"):
            raise ValueError(f"schedule is poly or constant; got {schedule!r}")
        self.optimizer = optimizer
        self.schedule = schedule
        self._steps = math.inf
        self.register_buffer("image_mean", torch.zeros(task.in_channels))
        self.register_buffer("image_deviation", torch.ones(task.in_channels))

    def setup(self, stage: str) -> None:
        statistics: Any = getattr(getattr(self.trainer, "datamodule", None), "image_statistics", None)
        if stage == "fit" and statistics is not None:
            mean, deviation = statistics
            self.image_mean.copy_(mean)
            self.image_deviation.copy_(deviation)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        # Checkpoints of before do not have them.
        for name in ("image_mean", "image_deviation"):
            state_dict.setdefault(prefix + name, getattr(self, name))
        super()._load_from_state_dict(state_dict, prefix, *others)

    def forward(self, images: Tensor) -> Tensor:
        """The outputs `[batch, out_channels, height, width]` for images `[batch, in_channels, height, width]`."""
        return self.network(images)

    def _outputs(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, targets = batch
        outputs: Tensor = self.network(images)
        if outputs.dim() != 4 or outputs.shape[-2:] != targets.shape[-2:]:
            raise ValueError(
                f"the network gives outputs of shape {list(outputs.shape)} for targets of shape {list(targets.shape)}; "
                "it has to give [batch, channels, height, width] of the targets' height and width"
            )
        return outputs

    def predict_step(self, batch: Any, batch_index: int) -> Tensor:
        return self(batch[0] if isinstance(batch, list | tuple) else batch)

    def on_train_start(self) -> None:
        # Not in `configure_optimizers`: asking there loads the training data before a checkpoint's state is in.
        steps = self.trainer.estimated_stepping_batches
        self._steps = steps if steps > 0 else math.inf
        if self.schedule == "poly" and self._steps == math.inf:
            raise ValueError(
                "schedule='poly' lets the learning rate end at 0, so it needs to know when: give the Trainer "
                "max_epochs or max_steps, or take schedule='constant'"
            )

    def on_train_batch_start(self, batch: Any, batch_index: int) -> None:
        # Scheduled drop path, of the networks that have it.
        schedule = getattr(self.network, "schedule_drop_path", None)
        if schedule is not None:
            schedule(min(self.trainer.global_step / self._steps, 1.0))

    def configure_optimizers(self) -> Any:
        if self.optimizer == "adam":
            optimizer: torch.optim.Optimizer = super().configure_optimizers()
        else:
            optimizer = torch.optim.SGD(
                self.parameters(), lr=self.learning_rate, momentum=MOMENTUM, weight_decay=self.weight_decay
            )
        if self.schedule == "constant":
            return optimizer

        def factor(step: int) -> float:
            return max(1 - step / self._steps, 0.0) ** POLY_POWER

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class SemanticSegmentation(_PixelModule):
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
        schedule: `poly`: the learning rate falls to 0 with the power 0.9 over the Trainer's steps; or `constant`.
        loss: `cross_entropy`, `dice`, `focal`, `jaccard`, `lovasz`, `tversky`, or a sum such as `cross_entropy+dice`.
        ignore_index: the value of pixels that do not count.

    Raises:
        ValueError: a task of another level or target, an unknown loss, or a value out of range; (in training)
            outputs of another size than the masks, masks that hold no classes, or `poly` in a training without an end.
    """

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        optimizer: Optimizer = "adam",
        schedule: Schedule = "poly",
        loss: str = "cross_entropy",
        ignore_index: int = 255,
    ) -> None:
        super().__init__(network, task, learning_rate, weight_decay, optimizer, schedule)
        if task.target == "regression":
            raise ValueError("SemanticSegmentation needs a target of classes or labels; the task's is 'regression'")
        least = task.out_channels if task.target == "classes" else 2
        if 0 <= ignore_index < least:
            raise ValueError(f"ignore_index is none of the classes 0 to {least - 1}; got {ignore_index}")
        self.ignore_index = ignore_index
        self.loss = PixelLoss(loss, task.target, ignore_index)
        self.monitor, self.direction = "val_miou", "maximize"
        self._track({"confusion": self._confusion()})

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
        found = outputs.argmax(dim=1) if self.task.target == "classes" else (outputs > 0).long()
        metrics.update(found, targets)

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

    def _names(self) -> list[str]:
        names = getattr(getattr(self.trainer, "datamodule", None), "classes", None)
        if names is None or len(names) != self.task.out_channels:
            return [str(number) for number in range(self.task.out_channels)]
        return [str(name) for name in names]


class DenseRegression(_PixelModule):
    """Predict real values of every pixel.

    Batches are `(images, targets)`, both `[batch, channels, height, width]`. The network learns standardised
    targets: `forward` and the metrics are in the targets' own units. Mean and scale of each channel come from the
    datamodule's `target_statistics` (of its training samples) where it has them, and are kept in the
    `state_dict`. Targets that are nan do not count.

    `relative_l2` is the mean over samples of ||prediction - target||_2 / ||target||_2, in the targets' own
    units, as on Darcy flow (Li et al. 2021, arXiv 2010.08895); a sample whose target is 0 everywhere does not count.

    Args:
        network: gives values `[batch, out_channels, height, width]`.
        task: of level `pixel`, target `regression`.
        learning_rate: the optimizer's.
        weight_decay: its L2 penalty.
        optimizer: `adam`, or `sgd` with momentum 0.9.
        schedule: `poly`: the learning rate falls to 0 with the power 0.9 over the Trainer's steps; or `constant`.
        loss: `relative_l2`, or `squared`: the mean squared error of standardised targets, judged by RMSE.

    Raises:
        ValueError: a task of another level or target, another loss, or a value out of range; (in training)
            outputs of another size than the targets, or `poly` in a training without an end.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        optimizer: Optimizer = "adam",
        schedule: Schedule = "poly",
        loss: Literal["relative_l2", "squared"] = "relative_l2",
    ) -> None:
        super().__init__(network, task, learning_rate, weight_decay, optimizer, schedule)
        if task.target != "regression":
            raise ValueError(f"DenseRegression needs a target of real values; the task's is {task.target!r}")
        if loss not in ("relative_l2", "squared"):
            raise ValueError(f"loss is relative_l2 or squared; got {loss!r}")
        self.loss = loss
        self.monitor, self.direction = ("val_relative_l2" if loss == "relative_l2" else "val_rmse"), "minimize"
        self.register_buffer("mean", torch.zeros(task.out_channels))
        self.register_buffer("scale", torch.ones(task.out_channels))
        self._track({"rmse": MeanSquaredError(squared=False), "relative_l2": RelativeError()})

    def setup(self, stage: str) -> None:
        super().setup(stage)
        statistics: Any = getattr(getattr(self.trainer, "datamodule", None), "target_statistics", None)
        if stage == "fit" and statistics is not None:
            mean, scale = statistics
            self.mean.copy_(mean)
            self.scale.copy_(scale.masked_fill(scale == 0, 1.0))

    def forward(self, images: Tensor) -> Tensor:
        """The predictions `[batch, out_channels, height, width]`, in the targets' units."""
        return self._restored(self.network(images))

    def _restored(self, standardised: Tensor) -> Tensor:
        return standardised * self.scale.view(-1, 1, 1) + self.mean.view(-1, 1, 1)

    def _select(self, batch: tuple[Tensor, Tensor], outputs: Tensor, stage: str) -> tuple[Tensor, Tensor]:
        return self._restored(outputs), batch[1]

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.loss == "relative_l2":
            errors, there = sample_errors(outputs, targets)
            return errors.sum() / there.sum().clamp(min=1)
        known = ~targets.isnan()
        errors = (torch.where(known, targets, outputs) - outputs) / self.scale.view(-1, 1, 1)
        return errors.square().sum() / known.sum().clamp(min=1)

    def _update(self, metrics: MetricCollection, outputs: Tensor, targets: Tensor) -> None:
        known = ~targets.isnan()
        metrics["rmse"].update(outputs[known], targets[known])
        metrics["relative_l2"].update(outputs, targets)
