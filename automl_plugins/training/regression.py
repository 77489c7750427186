"""The judgement of predictions that are real values, learned from standardised targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric, MetricCollection

from automl_plugins.spaces.task import Task
from automl_plugins.training.schedule import Shape
from automl_plugins.training.task_module import TaskModule


class RegressionModule(TaskModule):
    """Squared or absolute errors of standardised targets; metrics in the targets' own units.

    Mean and scale of each channel come from the datamodule's `target_statistics` (of its training samples) where it
    has them, and are kept in the `state_dict`. Targets that are nan do not count.

    Args:
        network: gives standardised values `[num_predictions, out_channels, ...]`.
        task: of the target `regression`.
        learning_rate: the optimizer's.
        weight_decay: the optimizer's L2 penalty.
        loss: one of `judged_by`.
        schedule: of the learning rate, see `TaskModule`.

    Raises:
        ValueError: a task of another level or target, another loss, or a number out of range.
    """

    judged_by: ClassVar[Mapping[str, str]] = {"squared": "rmse", "absolute": "mae"}
    """The metric that a search selects by, for each loss."""
    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        learning_rate: float,
        weight_decay: float,
        loss: str = "squared",
        schedule: Shape = "cosine",
    ) -> None:
        super().__init__(network, task, learning_rate, weight_decay, schedule)
        if loss not in self.judged_by:
            raise ValueError(f"loss is {' or '.join(self.judged_by)}; got {loss!r}")
        if task.target != "regression":
            raise ValueError(f"{type(self).__name__} needs a target of real values; the task's is {task.target!r}")
        self.loss = loss
        self.monitor, self.direction = f"val_{self.judged_by[loss]}", "minimize"
        self.register_buffer("mean", torch.zeros(task.out_channels))
        self.register_buffer("scale", torch.ones(task.out_channels))
        self._track(self._judges())

    def _judges(self) -> dict[str, Metric | MetricCollection]:
        """The metrics, by name."""
        return {"rmse": MeanSquaredError(squared=False), "mae": MeanAbsoluteError()}

    def setup(self, stage: str) -> None:
        super().setup(stage)
        statistics: Any = getattr(getattr(self.trainer, "datamodule", None), "target_statistics", None)
        # A new module that is asked to judge a trained network has them from the same data; a loaded one has its own.
        is_new = not bool(self.mean.any()) and bool((self.scale == 1).all())
        if statistics is not None and (stage == "fit" or is_new):
            mean, scale = statistics
            self.mean.copy_(mean)
            self.scale.copy_(scale.masked_fill(scale == 0, 1.0))

    def forward(self, batch: Any) -> Tensor:
        """The predictions for a batch, in the targets' units."""
        return self._restored(self._outputs(batch))

    def _restored(self, standardised: Tensor) -> Tensor:
        """Values in the targets' units."""
        return standardised * _by_channel(self.scale, standardised) + _by_channel(self.mean, standardised)

    def _standardised(self, values: Tensor) -> Tensor:
        """Values in the targets' units as the network learns them."""
        return (values - _by_channel(self.mean, values)) / _by_channel(self.scale, values)

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        known = ~targets.isnan()
        error = functional.mse_loss if self.loss == "squared" else functional.l1_loss
        return error(outputs[known], targets[known], reduction="sum") / known.sum().clamp(min=1)

    def _update(self, metrics: MetricCollection, outputs: Tensor, targets: Tensor) -> None:
        known = ~targets.isnan()
        metrics.update(self._restored(outputs)[known], self._restored(targets)[known])


def _by_channel(values: Tensor, like: Tensor) -> Tensor:
    """A value for each channel, to be combined with a tensor `[num_predictions, channels, ...]`."""
    return values.view(-1, *(1,) * (like.dim() - 2))
