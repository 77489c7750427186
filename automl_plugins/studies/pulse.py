"""A sign of life of each training: which one it is, how far and how good, in a small file that a display reads."""

from __future__ import annotations

import glob
import json
import os
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from automl_plugins.studies.folder import RunFolder
from automl_plugins.training.lightning import pl

_SECONDS = 1.0
"""The shortest time between two writes of a training."""


class Pulse(pl.Callback):
    """Writes how far a training is, at most once a second; rank 0 does. A file that cannot be written is let be.

    Args:
        folder: the run's folder.
        label: what is trained, for people.
        monitor: the metric that is told beside the loss, once there is one.
    """

    def __init__(self, folder: RunFolder, label: str, monitor: str) -> None:
        self.label = label
        self.monitor = monitor
        self.steps = 0
        """Optimizer steps taken."""
        self.path = folder.pulse(os.getpid())
        self._next = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._write(trainer, None)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.steps = trainer.global_step
        self._write(trainer, outputs)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if trainer.is_global_zero:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)

    def _write(self, trainer: pl.Trainer, outputs: Any) -> None:
        now = time.monotonic()
        if now < self._next or not trainer.is_global_zero:
            return
        self._next = now + _SECONDS
        epochs = trainer.max_epochs if trainer.max_epochs is not None and trainer.max_epochs > 0 else None
        figures = {"loss": outputs.get("loss") if isinstance(outputs, Mapping) else outputs}
        figures[self.monitor] = trainer.callback_metrics.get(self.monitor)
        known = {name: float(each) for name, each in figures.items() if isinstance(each, Tensor) and each.numel() == 1}
        content = {"label": self.label, "epoch": trainer.current_epoch + 1, "epochs": epochs, "figures": known}
        # Not `write_whole`: a sign of life need not survive a power cut, and must not wait for the disk.
        unfinished = self.path.with_suffix(".part")
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_text(json.dumps(content), encoding="utf-8")
            unfinished.replace(self.path)


def pulses(folder: RunFolder) -> list[str]:
    """The progress of each training that runs in a folder now: `trial 3 of search: epoch 2 of 12, loss 0.31`."""
    told = []
    for path in sorted(folder.pulse(0).parent.glob("*.pulse")):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            content = json.loads(path.read_text(encoding="utf-8"))
            of = "" if content["epochs"] is None else f" of {content['epochs']}"
            figures = [f"{name} {value:.4g}" for name, value in content["figures"].items()]
            told.append(", ".join([f"{content['label']}: epoch {content['epoch']}{of}", *figures]))
    return told


def forget_pulses(folder: RunFolder) -> None:
    """Remove the signs of life of processes of this machine that were killed."""
    for path in folder.pulse(0).parent.glob(f"{glob.escape(platform.node())}-*.pulse"):
        if not _is_alive(path):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _is_alive(path: Path) -> bool:
    with suppress(ValueError, ProcessLookupError, PermissionError):
        os.kill(int(path.stem.rpartition("-")[2]), 0)
        return True
    return False
