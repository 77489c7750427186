"""The part of LightningModules of images that does not depend on targets: optimizer, schedule, normalisation."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from automl_plugins.spaces.task import Task
from automl_plugins.system.arguments import at_least, positive, switch
from automl_plugins.training.schedule import Shape
from automl_plugins.training.task_module import TaskModule
from seg_space.modules.encoders import Encoders
from seg_space.pretrained.normalisation import match_normalisation

Optimizer = Literal["adam", "sgd"]

MOMENTUM = 0.9


class VisionModule(TaskModule):
    """The call of a network of images with batches `(images, targets)`, and its optimization.

    A network with a method `schedule_drop_path(progress)` is told the part of the training that is done before each
    step.

    A pretrained encoder in the network (`seg_space.pretrained`) is told the statistics of the datamodule's images when
    a fit begins. It may learn at a rate of its own, and not at all in the first epochs, in which its batch statistics
    stay as they are too. The three arguments for it change nothing in a network without one.

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
        encoder_learning_rate: the optimizer's for a pretrained encoder, with the same schedule; None: `learning_rate`.
        frozen_epochs: the first epochs, in which a pretrained encoder stays as it is.
        fixed_statistics: a pretrained encoder's batch statistics stay as they are in all epochs.
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
        encoder_learning_rate: float | None = None,
        frozen_epochs: int = 0,
        fixed_statistics: bool = False,
        **judgement: Any,
    ) -> None:
        super().__init__(network, task, learning_rate, weight_decay, schedule=schedule, **judgement)
        if optimizer not in ("adam", "sgd"):
            raise ValueError(f"optimizer is adam or sgd; got {optimizer!r}")
        self.optimizer = optimizer
        if encoder_learning_rate is not None:
            positive("encoder_learning_rate", encoder_learning_rate)
        self.encoder_learning_rate = encoder_learning_rate
        self.frozen_epochs = at_least("frozen_epochs", frozen_epochs, 0)
        self.fixed_statistics = switch("fixed_statistics", fixed_statistics)
        self._encoders = Encoders(network)
        self.register_buffer("image_mean", torch.zeros(task.in_channels))
        self.register_buffer("image_deviation", torch.ones(task.in_channels))

    def setup(self, stage: str) -> None:
        super().setup(stage)
        data: Any = getattr(self.trainer, "datamodule", None)
        statistics: Any = getattr(data, "image_statistics", None)
        if stage == "fit":
            self._encoders = Encoders(self.network)
        if stage == "fit" and statistics is not None:
            match_normalisation(self.network, data)
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
        super().on_train_start()
        # A training that goes on within an epoch does not start it again.
        self._freeze_encoders()

    def on_train_epoch_start(self) -> None:
        self._freeze_encoders()

    @property
    def _frozen(self) -> bool:
        return self.current_epoch < self.frozen_epochs

    def _freeze_encoders(self) -> None:
        # DistributedDataParallel waits for the gradients of all weights that once asked for them.
        self._encoders.freeze(self._frozen and self.trainer.world_size == 1)
        self._encoders.fix_statistics(self._frozen or self.fixed_statistics)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if self._frozen:
            self._encoders.forget_gradients()

    def on_train_end(self) -> None:
        self._encoders.freeze(False)

    def on_train_batch_start(self, batch: Any, batch_index: int) -> None:
        # Scheduled drop path, of the networks that have it.
        schedule = getattr(self.network, "schedule_drop_path", None)
        if schedule is not None:
            schedule(min(self.trainer.global_step / self.planned_steps, 1.0))

    def _optimizer(self) -> torch.optim.Optimizer:
        groups = self._groups()
        if self.optimizer == "adam":
            return torch.optim.Adam(groups, lr=self.learning_rate, weight_decay=self.weight_decay)
        return torch.optim.SGD(groups, lr=self.learning_rate, momentum=MOMENTUM, weight_decay=self.weight_decay)

    def _groups(self) -> list[Any]:
        """The parameters, those of a pretrained encoder in a group of their own where they have their own rate."""
        every, encoder = list(self.parameters()), list(Encoders(self.network).weights)
        if self.encoder_learning_rate is None or not encoder:
            return every
        inside = set(map(id, encoder))
        others = [weight for weight in every if id(weight) not in inside]
        return [{"params": others}, {"params": encoder, "lr": self.encoder_learning_rate}]
