"""Resumption of a search from a Lightning checkpoint."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from automl_plugins.system.randomness import set_random_state


def warn_of_a_beginning(path: Any) -> None:
    """Say that a checkpoint holds no search, so that one begins."""
    warnings.warn(f"{path} has no state of a search, so this one begins, with the weights that it holds", stacklevel=3)


def restore_randomness(states: Sequence[Any], trainer: Any) -> None:
    """Continue the random generators of all processes, where there are as many as there were."""
    if len(states) != trainer.world_size:
        warnings.warn(
            f"the search was on {len(states)} process(es) and goes on on {trainer.world_size}: it is not the very "
            "one that was interrupted",
            stacklevel=3,
        )
        return
    set_random_state(states[trainer.global_rank], trainer.strategy.root_device)


def count_epoch(trainer: Any) -> None:
    """Count the epoch that is being trained among those that have begun.

    Lightning 2.6 leaves it out where it went on from a checkpoint of an epoch's last batch or of its validation. It
    would take a checkpoint of this epoch for one between two epochs, and go on from it in the wrong place.
    """
    progress = trainer.fit_loop.epoch_progress
    if progress.current.ready <= progress.current.completed:
        progress.increment_ready()
        progress.increment_started()
