"""The part of LightningModules of images that does not depend on targets: optimizer, schedule, normalisation."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from automl_plugins.spaces.task import Task
from automl_plugins.training.task_module import TaskModule

Optimizer = Literal["adam", "sgd"]
Schedule = Literal["poly", "constant"]

MOMENTUM = 0.9
POLY_POWER = 0.9
"""The learning rate at step s of S is (1 - s / S) to this power of the first one (Chen et al. 2017, DeepLab, 4.1)."""


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
        schedule: `poly`: the learning rate falls to 0 with the power 0.9 over the Trainer's steps; or `constant`.
        judgement: arguments of the class that judges outputs by targets, the next one in line.

    Raises:
        ValueError: a task of another level, or a value out of range; (in training) `poly` without an end.
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
        schedule: Schedule,
        **judgement: Any,
    ) -> None:
        super().__init__(network, task, learning_rate, weight_decay, **judgement)
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
