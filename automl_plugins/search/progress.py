"""The lines with which a search tells where it is, where no progress bar does."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from automl_plugins.search import report

_SECONDS = 10.0
"""Between two lines within an epoch."""
_MOST_METRICS = 6


class SearchProgress:
    """Tells of each epoch in a line, and within long ones of steps: losses, metrics, and the time left."""

    def __init__(self) -> None:
        self._began = self._told = time.monotonic()
        self._done_before = 0.0
        self._sum: Tensor | float = 0.0
        self._count = 0

    @property
    def seconds(self) -> float:
        """The time since the search began, or went on, in this process."""
        return time.monotonic() - self._began

    def start(self, trainer: Any) -> None:
        """Begin to take the time, from where a search that goes on is."""
        self._began = self._told = time.monotonic()
        self._done_before = _share_done(trainer, 0)

    def step(self, trainer: Any, loss: object, batch_idx: int) -> None:
        """Take note of a step's loss, and tell of it where the last line is long ago."""
        if isinstance(loss, Tensor):
            self._sum = self._sum + loss.detach().float()
            self._count += 1
        if time.monotonic() - self._told >= _SECONDS and _tells(trainer):
            self._told = time.monotonic()
            batches = trainer.num_training_batches
            of = "" if batches == float("inf") else f" of {batches}"
            parts = [f"search epoch {trainer.current_epoch + 1}{_of_epochs(trainer)}: batch {batch_idx + 1}{of}"]
            report.line(", ".join([*parts, *self._loss(), *self._left(trainer, batch_idx + 1)]))

    def epoch(self, trainer: Any, measures: Mapping[str, float]) -> None:
        """Tell of an epoch that has ended."""
        if _tells(trainer):
            self._told = time.monotonic()
            figures = [f"{name.removeprefix('search_')} {value:.3g}" for name, value in measures.items()]
            told = [*self._loss(), *_metrics(trainer), *figures, *self._left(trainer, trainer.num_training_batches)]
            report.line(f"search epoch {trainer.current_epoch + 1}{_of_epochs(trainer)}: {', '.join(told)}")
        self._sum, self._count = 0.0, 0

    def _loss(self) -> list[str]:
        return [f"loss {float(self._sum) / self._count:.4g}"] if self._count else []

    def _left(self, trainer: Any, batches: float) -> list[str]:
        """The time left, from that of what this process has done."""
        share = _share_done(trainer, batches)
        if not self._done_before < share < 1:
            return []
        seconds = (time.monotonic() - self._began) / (share - self._done_before) * (1 - share)
        minutes, rest = divmod(round(seconds), 60)
        return [f"about {minutes}:{rest:02d} left"]


def _tells(trainer: Any) -> bool:
    return trainer.progress_bar_callback is None and not trainer.barebones


def _of_epochs(trainer: Any) -> str:
    return "" if trainer.max_epochs in (None, -1) else f" of {trainer.max_epochs}"


def _share_done(trainer: Any, batches: float) -> float:
    """The share of the fit that is done after these batches of the present epoch; 0 where it has no end."""
    share = 0.0
    if trainer.max_epochs not in (None, -1):
        within = batches / trainer.num_training_batches if 0 < trainer.num_training_batches < float("inf") else 0.0
        share = (trainer.current_epoch + within) / trainer.max_epochs
    if trainer.max_steps > 0:
        share = max(share, trainer.global_step / trainer.max_steps)
    return share


def _metrics(trainer: Any) -> list[str]:
    """The metrics that the module logged, those of the validation first."""
    names = [name for name in trainer.callback_metrics if not name.startswith("search_") and not name.endswith("_step")]
    names.sort(key=lambda name: "val" not in name.lower())
    return [f"{name} {float(trainer.callback_metrics[name]):.4g}" for name in names[:_MOST_METRICS]]
