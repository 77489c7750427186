"""What the LightningModules of all spaces have in common."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric, MetricCollection

from automl_plugins._lightning import pl
from automl_plugins.task import Level, Task


class TaskModule(pl.LightningModule):
    """Loss, metrics and optimizer around a network; a subclass says how predictions and targets are judged.

    Metrics are of whole epochs, and of all ranks together.

    Args:
        network: what is trained.
        task: what it must fit.
        learning_rate: the optimizer's.
        weight_decay: the optimizer's L2 penalty.

    Raises:
        ValueError: a task of another level, or a number out of range.
    """

    level: ClassVar[Level]
    monitor: str
    """The metric that a search selects by: a validation metric of this module."""
    direction: Literal["minimize", "maximize"]
    """Whether `monitor` is better when lower or when higher."""

    def __init__(self, network: nn.Module, task: Task, learning_rate: float, weight_decay: float) -> None:
        super().__init__()
        if task.level != self.level:
            name = type(self).__name__
            raise ValueError(f"{name} trains {self.level}-level tasks; the task is of level {task.level!r}")
        # Said so that nan is refused too.
        if not learning_rate > 0:
            raise ValueError(f"learning_rate is greater than 0; got {learning_rate}")
        if not weight_decay >= 0:
            raise ValueError(f"weight_decay is at least 0; got {weight_decay}")
        self.network = network
        self.task = task
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.metrics = nn.ModuleDict()

    def _track(self, metrics: dict[str, Metric | MetricCollection]) -> None:
        """Keep metrics of their own for validation and test."""
        collection = MetricCollection(metrics)
        self.metrics["val"] = collection.clone(prefix="val_")
        self.metrics["test"] = collection.clone(prefix="test_")
        self.losses = nn.ModuleDict({"val": MeanMetric(), "test": MeanMetric()})

    def _tracked(self, stage: str) -> tuple[MetricCollection, MeanMetric]:
        return cast(MetricCollection, self.metrics[stage]), cast(MeanMetric, self.losses[stage])

    def forward(self, batch: Any) -> Tensor:
        """The network's outputs for a batch: logits, or values in the targets' units."""
        return self._outputs(batch)

    def _outputs(self, batch: Any) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} does not say how its network is called")

    def _select(self, batch: Any, outputs: Tensor, stage: str) -> tuple[Tensor, Tensor]:
        """The outputs and targets that count in a stage."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its targets are")

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean over the known targets, zero where there is none."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its loss is")

    def _known(self, targets: Tensor) -> Tensor:
        """Which targets are known."""
        return ~targets.isnan()

    def _update(self, metrics: MetricCollection, outputs: Tensor, targets: Tensor) -> None:
        metrics.update(outputs, targets)

    def _values(self, stage: str, computed: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is logged of the epoch's metrics."""
        return computed

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        loss = self._loss(*self._select(batch, self._outputs(batch), "train"))
        # Logging costs more than a small graph's step, so it waits until somebody listens.
        if self.trainer.loggers:
            self.log("train_loss", loss.detach(), on_step=False, on_epoch=True, batch_size=1, sync_dist=True)
        return loss

    def _evaluate(self, batch: Any, stage: str) -> None:
        outputs, targets = self._select(batch, self._outputs(batch), stage)
        metrics, losses = self._tracked(stage)
        self._update(metrics, outputs, targets)
        losses.update(self._loss(outputs, targets), weight=self._known(targets).sum())

    def _report(self, stage: str) -> None:
        metrics, losses = self._tracked(stage)
        values = {**self._values(stage, metrics.compute()), f"{stage}_loss": losses.compute()}
        # `Trainer.validate` runs in inference mode; states made there could not be updated in a later `fit`.
        with torch.inference_mode(mode=False):
            metrics.reset()
            losses.reset()
        # `compute` has reduced over the ranks, so all have the same values, and so has their mean.
        self.log_dict(values, prog_bar=True, sync_dist=True)

    def validation_step(self, batch: Any, batch_index: int) -> None:
        self._evaluate(batch, "val")

    def on_validation_epoch_end(self) -> None:
        self._report("val")

    def test_step(self, batch: Any, batch_index: int) -> None:
        self._evaluate(batch, "test")

    def on_test_epoch_end(self) -> None:
        self._report("test")

    def predict_step(self, batch: Any, batch_index: int) -> Tensor:
        return self(batch)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
