"""Where a search is, and what is drawn at the beginning of a step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from automl_plugins.supernets.searchable import Searchable


def share_done(trainer: Any, epochs: float, planned_epochs: int, warmup_epochs: int) -> float:
    """From 0 after the warm-up to 1 at the end, whichever of the Trainer's limits comes first.

    Args:
        trainer: the Trainer.
        epochs: how many are done, with the part of the present one.
        planned_epochs: how many there are to be; less than 1: there is no such limit.
        warmup_epochs: epochs in which only the weights learn.
    """
    progress = 0.0
    if planned_epochs > 0:
        progress = (epochs - warmup_epochs) / (planned_epochs - warmup_epochs)
    if trainer.max_steps > 0:
        progress = max(progress, trainer.global_step / trainer.max_steps)
    return min(max(progress, 0.0), 1.0)


def past_the_end(epoch: int, planned_epochs: int) -> bool:
    """Whether this is an epoch that an averaging callback has appended, in which nothing is to learn."""
    return 0 <= planned_epochs <= epoch


def draw(searchables: Iterable[Searchable]) -> None:
    """Have stochastic relaxations draw new noise."""
    for searchable in searchables:
        if searchable.relaxation.stochastic:
            searchable.draw()
