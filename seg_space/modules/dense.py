"""The LightningModule of dense regression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torchmetrics import MeanSquaredError, Metric, MetricCollection

from automl_plugins.spaces.task import Task
from automl_plugins.training.regression import RegressionModule
from automl_plugins.training.schedule import Shape
from automl_plugins.training.scores import TargetErrors
from seg_space.metrics import RelativeError, sample_errors
from seg_space.modules.base import Optimizer
from seg_space.modules.pixels import PixelModule


class DenseRegression(PixelModule, RegressionModule):
    """Predict real values of every pixel.

    Batches are `(images, targets)`, both `[batch, channels, height, width]`. The network learns standardised
    targets: `forward` and the metrics are in the targets' own units. Mean and scale of each channel come from the
    datamodule's `target_statistics` (of its training samples) where it has them, and are kept in the
    `state_dict`. Targets that are nan do not count.

    `relative_l2` is the mean over samples of ||prediction - target||_2 / ||target||_2, in the targets' own
    units, as on Darcy flow (Li et al. 2021, arXiv 2010.08895); a sample whose target is 0 everywhere does not count.
    With several channels, whose units may differ, it is the mean over channels too, and `nrmse` takes the place of
    `rmse`, see `RegressionModule`.

    Args:
        network: gives values `[batch, out_channels, height, width]`.
        task: of level `pixel`, target `regression`.
        learning_rate: the optimizer's.
        weight_decay: its L2 penalty.
        optimizer: `adam`, or `sgd` with momentum 0.9.
        schedule: of the learning rate: `poly` (of the power 0.9) or `cosine` (with warm-up), to zero over the Trainer's
            steps; or `constant`.
        loss: `relative_l2`, or `squared`: the mean squared error of standardised targets, judged by RMSE (several
            channels by NRMSE).
        encoder_learning_rate: the optimizer's for a pretrained encoder, with the same schedule; None: `learning_rate`.
        frozen_epochs: the first epochs, in which a pretrained encoder stays as it is.
        fixed_statistics: a pretrained encoder's batch statistics stay as they are in all epochs.

    Raises:
        ValueError: a task of another level or target, another loss, or a value out of range; (in training)
            outputs of another size than the targets.
    """

    judged_by: ClassVar[Mapping[str, str]] = {"relative_l2": "relative_l2", "squared": "rmse"}

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        optimizer: Optimizer = "adam",
        schedule: Shape = "poly",
        loss: Literal["relative_l2", "squared"] = "relative_l2",
        encoder_learning_rate: float | None = None,
        frozen_epochs: int = 0,
        fixed_statistics: bool = False,
    ) -> None:
        encoder = encoder_learning_rate, frozen_epochs, fixed_statistics
        super().__init__(network, task, learning_rate, weight_decay, optimizer, schedule, *encoder, loss=loss)

    def _judges(self) -> dict[str, Metric | MetricCollection]:
        count = self.task.out_channels
        rmse = TargetErrors(count, squared=True) if self._several else MeanSquaredError(squared=False)
        return {"rmse": rmse, "relative_l2": RelativeError()}

    def forward(self, images: Tensor) -> Tensor:
        """The predictions `[batch, out_channels, height, width]`, in the targets' units."""
        return self._restored(self.network(images))

    def _select(self, batch: tuple[Tensor, Tensor], outputs: Tensor, stage: str) -> tuple[Tensor, Tensor]:
        return self._restored(outputs), batch[1]

    def _in_units(self, values: Tensor) -> Tensor:
        return values  # `_select` has restored them

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.loss == "relative_l2":
            errors, there = sample_errors(outputs, targets)
            return errors.sum() / there.sum().clamp(min=1)
        known = ~targets.isnan()
        errors = (torch.where(known, targets, outputs) - outputs) / self.scale.view(-1, 1, 1)
        return errors.square().sum() / known.sum().clamp(min=1)

    def _update(self, metrics: MetricCollection, outputs: Tensor, targets: Tensor) -> None:
        known = ~targets.isnan()
        metrics["rmse"].update(*((outputs, targets) if self._several else (outputs[known], targets[known])))
        metrics["relative_l2"].update(outputs, targets)
