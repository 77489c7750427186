"""The evaluation that decoders and strategies ask for: the loss on a few search batches, equal on all ranks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from automl_plugins.decoders.base import Evaluation
from automl_plugins.search import ranks, report
from automl_plugins.search.user_step import UserStep

_PATIENCE = 10.0
"""Seconds without a word at most."""


def search_evaluation(user: UserStep, read: Callable[[], Sequence[Any]], seed: int) -> Evaluation:
    """The user's loss on search batches, which are read when it is first asked for.

    Args:
        user: the user's step.
        read: gives the batches.
        seed: of what the step draws.
    """
    batches: list[Any] = []
    device, world_size = user.trainer.strategy.root_device, user.trainer.world_size

    def count() -> int:
        if not batches:
            batches.extend(read())
        return ranks.largest(len(batches), device, world_size)

    def loss_of(position: int) -> float | None:
        own = user.evaluated(batches[position], position, seed) if position < len(batches) else None
        return ranks.mean_over_ranks(own, device, world_size)

    return Evaluation(loss_of, count, _Patient())


class _Patient:
    """Says no more than one line in a while, on the first rank."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, text: str) -> None:
        now = time.monotonic()
        if now - self._last >= _PATIENCE:
            self._last = now
            report.line(text)
