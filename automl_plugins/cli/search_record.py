"""The record that a search leaves beside its architecture: its time, and its last metrics."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from automl_plugins.report.search import SearchSummary
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Task
from automl_plugins.system.files import write_whole
from automl_plugins.training.lightning import pl


class Clock(pl.Callback):
    """The time in the training loop, kept in the checkpoints so that a search that was resumed tells all of it."""

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = 0.0
        self._started: tuple[float, float] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.perf_counter() - self.seconds, time.process_time() - self.cpu_seconds

    @property
    def started(self) -> bool:
        """True where the training loop has been entered."""
        return self._started is not None

    def state_dict(self) -> dict[str, float]:
        if self._started is not None:
            wall, cpu = self._started
            self.seconds, self.cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
        return {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self.seconds, self.cpu_seconds = state_dict["seconds"], state_dict["cpu_seconds"]


def summarize(
    trainer: pl.Trainer,
    module: pl.LightningModule,
    space: SearchSpace,
    architecture: Architecture,
    task: Task,
    strategy: str,
    clock: Mapping[str, float],
) -> SearchSummary:
    """The outcome of a search.

    Args:
        trainer: which has ended.
        module: around the supernet.
        space: that was searched.
        architecture: that was found.
        task: of the network.
        strategy: how it was searched.
        clock: the state of a `Clock`.
    """
    datamodule = getattr(trainer, "datamodule", None)
    return SearchSummary(
        space=space.name,
        data="loaders of its own" if datamodule is None else type(datamodule).__name__,
        strategy=strategy,
        epochs=trainer.current_epoch,
        steps=trainer.global_step,
        **clock,
        supernet_parameters=sum(each.numel() for each in module.parameters()),
        network_parameters=space.num_parameters(architecture, task),
        metrics={name: float(value) for name, value in trainer.callback_metrics.items()},
    )


class SearchRecord(Clock):
    """Writes the summary of a search in somebody's script, as soon as it has ended: the script may fail after it.

    Args:
        path: of the `search.json`.
        search: the callback that searches.
        strategy: its strategy, by name.
    """

    def __init__(self, path: Path, search: Any, strategy: str) -> None:
        super().__init__()
        self.path, self.search, self.strategy = path, search, strategy

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero or not self.search.searchables:
            return
        searchable = next(iter(self.search.searchables.values()))
        found = searchable.architecture()
        summary = summarize(
            trainer, pl_module, searchable.space, found, searchable.task, self.strategy, self.state_dict()
        )
        write_whole(self.path, summary.to_json())


class Mark(pl.Callback):
    """Leaves a file where a Trainer has taken our callbacks.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.path.touch()
