"""The standard error of a module's validation score over the items of its data, for modules of ours and of users."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchmetrics import MeanMetric, Metric

from automl_plugins.training.fit import evaluate
from automl_plugins.training.items import ItemError, ItemStates, State, state_of
from automl_plugins.training.lightning import pl
from automl_plugins.training.task_module import TaskModule

_MOST_BATCHES = 1_000


def item_error(
    module: pl.LightningModule, data: pl.LightningDataModule, options: Mapping[str, Any], monitor: str
) -> ItemError | None:
    """The standard error of a trained module's validation score over nodes, edges, graphs or images.

    Modules of ours know what their metrics are computed on: a row of their outputs, an image, or, where nodes and
    edges are of several graphs, a graph. Of another module, what its `validation_step` logs as the metric is looked at,
    in batches of one sample: a number, whose mean is the score, or a metric of torchmetrics.

    Args:
        module: trained.
        data: the datamodule.
        options: arguments of Lightning's Trainer, see `evaluate`.
        monitor: the validation metric.

    Returns:
        None where it cannot be told: there are few items, a user's score is neither such a mean nor such a metric (a
        root of a mean of a batch, what the epoch's end computes), or the data are no single `DataLoader` of a data set
        with a length.
    """
    if isinstance(module, TaskModule):
        return module.item_error(monitor, lambda: evaluate(module, data, options, "validate"))
    loader = data.val_dataloader()
    if not isinstance(loader, DataLoader) or loader.batch_size is None or not hasattr(loader.dataset, "__len__"):
        return None
    score = evaluate(module, data, options, "validate").get(monitor, math.nan)
    size = math.ceil(len(loader.dataset) / _MOST_BATCHES)
    single = copy.copy(data)
    small = DataLoader(loader.dataset, batch_size=max(size, 1), collate_fn=loader.collate_fn)
    single.val_dataloader = lambda: small  # type: ignore[method-assign]
    logged = _Logged(monitor, size)
    module.log = logged.around(module.log)  # type: ignore[method-assign]
    try:
        evaluate(module, single, options, "validate")
    finally:
        del module.log
    return logged.error(score) if math.isfinite(score) else None


class _Logged:
    """The values that a module logs as a metric, batch by batch.

    Args:
        monitor: the metric.
        size: samples in a batch; the last may be smaller.
    """

    def __init__(self, monitor: str, size: int) -> None:
        self.monitor = monitor
        self.size = size
        self.items: ItemStates | None = None
        self.before: State = {}
        self.count = 0

    def around(self, log: Any) -> Any:
        def noting(name: str, value: Any, *arguments: Any, **named: Any) -> None:
            if name == self.monitor:
                self._note(value)
            log(name, value, *arguments, **named)

        return noting

    def _note(self, value: Any) -> None:
        if isinstance(value, Metric):
            # It has accumulated so far: an item is what has come to it.
            metric, now = value, state_of(value)
            added = {name: _added(self.before.get(name), part) for name, part in now.items()}
            self.before = now
        else:
            metric = MeanMetric()
            metric.update(torch.as_tensor(value).detach().cpu())
            added = state_of(metric)
        if self.items is None:
            self.items = ItemStates([copy.deepcopy(metric)])
        self.items.add([added])

    def error(self, score: float) -> ItemError | None:
        """The standard error, where the score is made of what was logged."""
        if self.items is None:
            return None
        (metric,) = self.items.metrics
        return self.items.error(lambda: float(metric.compute()), score)


def _added(before: Tensor | list[Tensor] | None, now: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
    if before is None:
        return now
    if isinstance(now, list):
        return now[len(before) :]
    return now - before if isinstance(before, Tensor) else now
