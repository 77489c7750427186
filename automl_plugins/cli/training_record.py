"""The record of a training in a script: its time, its size, and the metrics that the script itself logs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from automl_plugins.system.files import write_whole
from automl_plugins.system.finite import strict_json
from automl_plugins.training.lightning import pl


class TrainingRecord(pl.Callback):
    """Writes what a fit came to, and adds what a script tests or validates after it.

    Args:
        path: of the JSON file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._started = 0.0
        self._record: dict[str, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.perf_counter()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        checkpoint = trainer.checkpoint_callback
        monitor = getattr(checkpoint, "monitor", None)
        best = getattr(checkpoint, "best_model_score", None)
        self._record = {
            "seconds": time.perf_counter() - self._started,
            "parameters": sum(weight.numel() for weight in pl_module.parameters() if weight.requires_grad),
            "monitor": monitor,
            "direction": {"min": "minimize", "max": "maximize"}.get(getattr(checkpoint, "mode", "")),
            "metrics": {},
        }
        self._add(trainer, {monitor: float(best)} if monitor is not None and best is not None else {})

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._record:
            self._add(trainer, {})

    def _add(self, trainer: pl.Trainer, best: dict[str, float]) -> None:
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self._record["metrics"] |= {**logged, **best}
        if trainer.is_global_zero:
            write_whole(self.path, strict_json(self._record))
