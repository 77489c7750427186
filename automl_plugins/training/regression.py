"""The judgement of predictions that are real values, learned from standardised targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric, MetricCollection

from automl_plugins.spaces.task import Task
from automl_plugins.training.once import warn_once
from automl_plugins.training.schedule import Shape
from automl_plugins.training.scores import TargetErrors
from automl_plugins.training.task_module import TaskModule


class RegressionModule(TaskModule):
    """Squared or absolute errors of standardised targets; metrics in the targets' own units.

    Mean and scale of each channel come from the datamodule's `target_statistics` (of its training samples) where it
    has them, and are kept in the `state_dict`. Targets that are nan do not count.

    Several targets may have several units, in which no error is common to all: `nrmse` is the root mean square over the
    targets of each one's RMSE over its scale, `nmae` the mean of each one's MAE over its scale. In the test each
    target's own error is `test_rmse/NAME`, or `test_mae/NAME` where absolute errors are learned.

    Args:
        network: gives standardised values `[num_predictions, out_channels, ...]`.
        task: of the target `regression`.
        learning_rate: the optimizer's.
        weight_decay: the optimizer's L2 penalty.
        loss: one of `judged_by`, by whose metric a search selects; with several targets by its normalised form.
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
        self._several = task.out_channels > 1
        kind = self.judged_by[loss]
        self.monitor, self.direction = f"val_{_normalised(kind) if self._several else kind}", "minimize"
        self.register_buffer("mean", torch.zeros(task.out_channels))
        self.register_buffer("scale", torch.ones(task.out_channels))
        self._track(self._judges())

    def _judges(self) -> dict[str, Metric | MetricCollection]:
        """The metrics, by name."""
        if self._several:
            count = self.task.out_channels
            return {"rmse": TargetErrors(count, squared=True), "mae": TargetErrors(count, squared=False)}
        return {"rmse": MeanSquaredError(squared=False), "mae": MeanAbsoluteError()}

    def setup(self, stage: str) -> None:
        super().setup(stage)
        statistics: Any = getattr(getattr(self.trainer, "datamodule", None), "target_statistics", None)
        # A new module that is asked to judge a trained network has them from the same data; a loaded one has its own.
        is_new = not bool(self.mean.any()) and bool((self.scale == 1).all())
        mixes_units = is_new and self.monitor in ("val_nrmse", "val_nmae")
        if statistics is None and stage == "fit" and mixes_units:
            warn_once(
                f"{self.monitor} takes the errors of {self.task.out_channels} targets together, each in its own units, "
                "since the datamodule has no target_statistics; give it the mean and the standard deviation of each "
                "target in training"
            )
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

    def _in_units(self, values: Tensor) -> Tensor:
        return self._restored(values)

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        known = ~targets.isnan()
        error = functional.mse_loss if self.loss == "squared" else functional.l1_loss
        return error(outputs[known], targets[known], reduction="sum") / known.sum().clamp(min=1)

    def _update(self, metrics: MetricCollection, outputs: Tensor, targets: Tensor) -> None:
        outputs, targets = self._restored(outputs), self._restored(targets)
        known = ~targets.isnan()
        if not self._several:
            metrics.update(outputs[known], targets[known])
            return
        # One by one: updated together, metrics whose states happen to be equal would become one.
        for metric in metrics.values():
            metric.update(outputs, targets)

    def _values(self, stage: str, computed: dict[str, Tensor]) -> dict[str, Tensor]:
        values = {}
        for name, errors in computed.items():
            if errors.dim() == 0:
                values[name] = errors
                continue
            kind = name.removeprefix(f"{stage}_")
            relative = errors / self.scale
            parts = relative.square() if kind == "rmse" else relative
            together = f"{stage}_{_normalised(kind)}"
            # One warning is enough: both metrics are undefined for the same targets.
            judges = self.monitor.endswith(f"_{_normalised(kind)}")
            mean = self._mean_of_defined(together, parts, "targets", self._names()) if judges else parts.nanmean()
            values[together] = mean.sqrt() if kind == "rmse" else mean
            if stage == "test" and kind == ("mae" if self.loss == "absolute" else "rmse"):
                values |= {f"{name}/{target}": error for target, error in self._each(errors)}
        return values

    def _each(self, errors: Tensor) -> Iterable[tuple[str, Tensor]]:
        """The targets that have an error, by name, with it."""
        return ((name, error) for name, error in zip(self._names(), errors, strict=True) if not error.isnan())


def _normalised(kind: str) -> str:
    """The name of a metric of errors over their targets' scales; a relative error is normalised as it is."""
    return f"n{kind}" if kind in ("rmse", "mae") else kind


def _by_channel(values: Tensor, like: Tensor) -> Tensor:
    """A value for each channel, to be combined with a tensor `[num_predictions, channels, ...]`."""
    return values.view(-1, *(1,) * (like.dim() - 2))
