"""The part of LightningModules of images that does not depend on targets: optimizer, schedule, normalisation."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from automl_plugins.spaces.task import Task
from automl_plugins.training.schedule import Shape
from automl_plugins.training.task_module import TaskModule

Optimizer = Literal["adam", "sgd"]

MOMENTUM = 0.9


class VisionModule(TaskModule):
    """The call of a network of images with batches `(images, targets)`, and its optimization.

    A network with a method `schedule_drop_path(progress)` is told the part of the training that is done before each
    step.

    The mean and deviation of each channel that images were normalised with, `image_mean` and `image_deviation`, come
    from the datamodule's `image_statistics` where it has them. They are kept in the `state_dict`, for images from
    elsewhere, and not applied here: batches come normalised.

    Args:
        network: of images `[batch, in_channels, height, width]`.
        task: of the level that the subclass is for.
        learning_rate: the optimizer's.
        weight_decay: its L2 penalty.
        optimizer: `adam`, or `sgd` with momentum 0.9.
        schedule: of the learning rate: `poly` (of the power 0.9) or `cosine` (with warm-up), to zero over the Trainer's
            steps; or `constant`.
        judgement: arguments of the class that judges outputs by targets, the next one in line.

    Raises:
        ValueError: a task of another level, or a value out of range.
    """

    image_mean: Tensor
    image_deviation: Tensor

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        learning_rate: float,
        weight_decay: float,
        optimizer: Optimizer,
        schedule: Shape,
        **judgement: Any,
    ) -> None:
        super().__init__(network, task, learning_rate, weight_decay, schedule=schedule, **judgement)
        if optimizer not in ("adam", "sgd"):
            raise ValueError(f"optimizer is adam or sgd; got {optimizer!r}")
        self.optimizer = optimizer
        self.register_buffer("image_mean", torch.zeros(task.in_channels))
        self.register_buffer("image_deviation", torch.ones(task.in_channels))

    def setup(self, stage: str) -> None:
        super().setup(stage)
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
        """The outputs for images `[batch, in_channels, height, width]`: logits, or values in the targets' units."""
        outputs: Tensor = self.network(images)
        return outputs

    def predict_step(self, batch: Any, batch_index: int) -> Tensor:
        return self(batch[0] if isinstance(batch, list | tuple) else batch)

    def on_train_batch_start(self, batch: Any, batch_index: int) -> None:
        # Scheduled drop path, of the networks that have it.
        schedule = getattr(self.network, "schedule_drop_path", None)
        if schedule is not None:
            schedule(min(self.trainer.global_step / self.planned_steps, 1.0))

    def _optimizer(self) -> torch.optim.Optimizer:
        if self.optimizer == "adam":
            return super()._optimizer()
        return torch.optim.SGD(
            self.parameters(), lr=self.learning_rate, momentum=MOMENTUM, weight_decay=self.weight_decay
        )
