"""The base of all spaces' LightningModules."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from automl_plugins.spaces.task import Level, Task
from automl_plugins.system.arguments import positive
from automl_plugins.training.items import ItemError, ItemStates, state_of
from automl_plugins.training.lightning import pl
from automl_plugins.training.once import warn_once
from automl_plugins.training.schedule import Schedule, Shape, check_shape, planned_steps


class EpochMean(Metric):
    """A weighted mean over an epoch and all ranks; nan once a value was, and where nothing weighs anything.

    torchmetrics' `MeanMetric` leaves values that are nan out, with which a network that has diverged in some
    batches is judged by the others.
    """

    full_state_update = False
    total: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "weight"):
            self.add_state(name, torch.zeros(()), dist_reduce_fx="sum")

    def update(self, value: Tensor, weight: Tensor) -> None:
        """Count a value with its weight."""
        self.total = self.total + value * weight
        self.weight = self.weight + weight

    def compute(self) -> tuple[Tensor, Tensor]:
        """The mean so far, and the sum of the weights."""
        return self.total / self.weight, self.weight


_MOST_ITEMS = 250
"""The number of items of a batch that are told apart."""
_NAMED = 10
"""The number of classes or labels that a warning lists."""


class TaskModule(pl.LightningModule):
    """Loss, metrics and optimizer around a network; a subclass says how predictions and targets are judged.

    Metrics are of whole epochs, and of all ranks together. A metric that is undefined is nan, and so are all metrics of
    an epoch in which an output or the loss is not a number: the network has diverged, whatever `argmax` makes of it.

    Args:
        network: what is trained.
        task: what it must fit.
        learning_rate: the optimizer's.
        weight_decay: the optimizer's L2 penalty.
        schedule: of the learning rate over the steps that the Trainer gives: `cosine`, with warm-up, or `poly`, both to
            zero, or `constant`; without a known end (`max_time` alone) the rate is constant.

    Raises:
        ValueError: a task of another level, another schedule, or a number out of range.
    """

    level: ClassVar[Level]
    monitor: str
    """The metric that a search selects by: a validation metric of this module."""
    _alone: tuple[tuple[MetricCollection, EpochMean], ItemStates] | None = None
    direction: Literal["minimize", "maximize"]
    """True where `monitor` is better when lower or when higher."""

    def __init__(
        self, network: nn.Module, task: Task, learning_rate: float, weight_decay: float, schedule: Shape = "cosine"
    ) -> None:
        super().__init__()
        if task.level != self.level:
            name = type(self).__name__
            raise ValueError(f"{name} trains {self.level}-level tasks; the task is of level {task.level!r}")
        self.network = network
        self.task = task
        self.learning_rate = positive("learning_rate", learning_rate)
        self.weight_decay = positive("weight_decay", weight_decay, zero=True)
        self.schedule = check_shape(schedule)
        self.planned_steps = math.inf
        self.metrics = nn.ModuleDict()

    def _track(self, metrics: dict[str, Metric | MetricCollection]) -> None:
        """Keep metrics of their own for validation and test."""
        collection = MetricCollection(metrics)
        self.metrics["val"] = collection.clone(prefix="val_")
        self.metrics["test"] = collection.clone(prefix="test_")
        self.losses = nn.ModuleDict({"val": EpochMean(), "test": EpochMean()})

    def _tracked(self, stage: str) -> tuple[MetricCollection, EpochMean]:
        return cast(MetricCollection, self.metrics[stage]), cast(EpochMean, self.losses[stage])

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
        """The targets that are known."""
        return ~targets.isnan()

    def _update(self, metrics: MetricCollection, outputs: Tensor, targets: Tensor) -> None:
        metrics.update(outputs, targets)

    def _values(self, stage: str, computed: dict[str, Tensor]) -> dict[str, Tensor]:
        """The epoch's metrics as they are logged."""
        return computed

    def _names(self) -> list[str]:
        """The names of classes, labels or targets that the datamodule has, or their numbers."""
        datamodule, count = getattr(self.trainer, "datamodule", None), self.task.out_channels
        for attribute in ("target_columns", "classes"):
            names = getattr(datamodule, attribute, None)
            if isinstance(names, list | tuple) and len(names) == count:  # some keep the number of classes
                return [str(name) for name in names]
        return [str(number) for number in range(count)]

    def _mean_of_defined(self, name: str, scores: Tensor, kinds: str, names: Sequence[str]) -> Tensor:
        """The mean of the scores that are defined, with one warning that names the others; nan where none is.

        Args:
            name: of the metric, with the stage.
            scores: `[count]`, nan where undefined.
            kinds: the plural of what has a score: `classes`, `labels` or `targets`.
            names: of each.
        """
        if self._alone is not None:
            return scores.nanmean()
        undefined = [names[index] for index in scores.isnan().nonzero().flatten().tolist()]
        if undefined and len(undefined) < len(names) and not self.trainer.sanity_checking:
            listed = ", ".join(undefined[:_NAMED]) + (", ..." if len(undefined) > _NAMED else "")
            warn_once(
                f"{name} is the mean over {len(names) - len(undefined)} of {len(names)} {kinds}; "
                f"the data of this stage do not define it for {listed}"
            )
        return scores.nanmean()

    def _warn_of_undefined(self, stage: str, values: dict[str, Tensor], weight: Tensor) -> None:
        """Say once which metrics of an epoch of a network that has not diverged are nan."""
        undefined = [name for name, value in values.items() if value.isnan()]
        if not undefined or self.trainer.sanity_checking:
            return
        if weight == 0:
            warn_once(f"{', '.join(values)} are undefined (nan): no target of this stage counts; give it some")
        elif f"{stage}_loss" not in undefined:
            warn_once(
                f"{', '.join(undefined)} is undefined (nan): the targets of this stage are all alike; "
                f"give it others, or monitor {stage}_loss"
            )

    def _training_loss(self, batch: Any) -> Tensor:
        """The loss of a training batch."""
        return self._loss(*self._select(batch, self._outputs(batch), "train"))

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        loss = self._training_loss(batch)
        # Logging costs more than a small graph's step, so it waits until somebody listens.
        if self.trainer.loggers:
            self.log("train_loss", loss.detach(), on_step=False, on_epoch=True, batch_size=1, sync_dist=True)
        return loss

    def item_error(self, monitor: str, validate: Callable[[], Mapping[str, float]]) -> ItemError | None:
        """The standard error of a validation metric over the items that it is computed on, see `ItemStates`.

        Args:
            monitor: the metric.
            validate: validates this module, and gives what it logs.
        """
        metrics, losses = self._tracked("val")
        copies = {name: copy.deepcopy(metric) for name, metric in metrics.items(keep_base=True)}
        alone = MetricCollection(dict(copies), prefix="val_", compute_groups=False), copy.deepcopy(losses)
        items = ItemStates([*copies.values(), alone[1]])
        self._alone = alone, items
        try:
            score = validate().get(monitor, math.nan)
            for metric in items.metrics:  # Lightning has brought the module back from its device
                metric.to(self.device)

            def value() -> float:
                loss, values = alone[1].compute()[0], self._values("val", alone[0].compute())
                return float((values | {"val_loss": loss})[monitor])

            return items.error(value, score) if math.isfinite(score) else None
        finally:
            self._alone = None

    def _item_sizes(self, batch: Any, targets: Tensor, stage: str) -> list[int]:
        """The number of rows of each item in a batch: one, where a row does not depend on the next."""
        return [1] * len(targets)

    def _count_items(self, batch: Any, outputs: Tensor, targets: Tensor, stage: str) -> None:
        """Note what each item adds to the metrics; where a batch has many, neighbours together."""
        if self._alone is None:
            return
        (metrics, losses), items = self._alone
        for metric in items.metrics:
            metric.to(self.device)
        sizes = self._item_sizes(batch, targets, stage)
        together = math.ceil(len(sizes) / _MOST_ITEMS)
        groups = [sizes[place : place + together] for place in range(0, len(sizes), max(together, 1))]
        rows = [sum(group) for group in groups]
        for group, some, truth in zip(groups, outputs.split(rows), targets.split(rows), strict=True):
            if len(truth):
                metrics.reset()
                losses.reset()
                self._update(metrics, some, truth)
                losses.update(self._loss(some, truth), weight=self._known(truth).sum())
                items.add([state_of(metric) for metric in items.metrics], len(group) - group.count(0))

    def _evaluate(self, batch: Any, stage: str) -> None:
        given = self._outputs(batch)
        outputs, targets = self._select(batch, given, stage)
        self._count_items(batch, outputs, targets, stage)
        metrics, losses = self._tracked(stage)
        self._update(metrics, outputs, targets)
        # Decided on the device, without waiting for it; the mean stays nan until the epoch's end.
        loss = torch.where(given.isfinite().all(), self._loss(outputs, targets), torch.nan)
        losses.update(loss, weight=self._known(targets).sum())

    def _report(self, stage: str) -> None:
        metrics, losses = self._tracked(stage)
        loss, weight = losses.compute()
        values = {
            name: torch.where(loss.isnan(), torch.nan, value)
            for name, value in self._values(stage, metrics.compute()).items()
        }
        values[f"{stage}_loss"] = loss
        self._warn_of_undefined(stage, values, weight)
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

    def judged(self, batch: Any) -> tuple[Tensor, Tensor, Tensor]:
        """The outputs for a batch and its targets, as a validation counts them, and which of the targets are known.

        Outputs are logits `[num_predictions, out_channels, ...]`, or values in the targets' units.
        """
        outputs, targets = self._select(batch, self._outputs(batch), "val")
        return self._in_units(outputs), self._in_units(targets), self._known(targets)

    def _in_units(self, values: Tensor) -> Tensor:
        """Outputs or targets that `_select` gives, in the targets' units."""
        return values

    def predict_step(self, batch: Any, batch_index: int) -> Tensor:
        return self(batch)

    def _optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)

    def configure_optimizers(self) -> Any:
        """The optimizer with its schedule; alone, at its constant rate, for a loop without a Trainer."""
        optimizer = self._optimizer()
        if self._trainer is None or self.schedule == "constant":
            return optimizer
        schedule = Schedule(optimizer, self.schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        # Not in `configure_optimizers`: asking there loads the training data before a checkpoint's state is in.
        self.planned_steps = planned_steps(self.trainer)
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, Schedule):
                config.scheduler.end_at(self.planned_steps)
