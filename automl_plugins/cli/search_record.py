"""The record that a search leaves beside its architecture: its time, and its last metrics."""

from __future__ import annotations

import time
from pathlib import Path

from automl_plugins.report.search import SearchSummary
from automl_plugins.search import ArchitectureSearch
from automl_plugins.system.files import write_whole
from automl_plugins.training.lightning import pl


class SearchRecord(pl.Callback):
    """Writes the summary of a search as soon as it has ended: a script may fail after it.

    Its times are those in the training loop, kept in the checkpoints so that a search that was resumed tells all of it.

    Args:
        path: of the `search.json`.
        search: the callback that searches, which comes before this one.
        strategy: its strategy, by name.
    """

    def __init__(self, path: Path, search: ArchitectureSearch, strategy: str) -> None:
        self.path, self.search, self.strategy = path, search, strategy
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

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero or not self.search.searchables:
            return
        searchable = next(iter(self.search.searchables.values()))
        space, datamodule = searchable.space, getattr(trainer, "datamodule", None)
        summary = SearchSummary(
            space=space.name,
            data="loaders of its own" if datamodule is None else type(datamodule).__name__,
            strategy=self.strategy,
            epochs=trainer.current_epoch,
            steps=trainer.global_step,
            **self.state_dict(),
            supernet_parameters=sum(each.numel() for each in pl_module.parameters()),
            network_parameters=space.num_parameters(searchable.architecture(), searchable.task),
            metrics={name: float(value) for name, value in trainer.callback_metrics.items()},
        )
        write_whole(self.path, summary.to_json())
