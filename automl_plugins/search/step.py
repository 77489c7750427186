"""One step of a search: how far it is, and what a strategy may ask for in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from automl_plugins.search.data import SearchBatches
from automl_plugins.search.user_step import UserStep
from automl_plugins.strategies import SearchStep
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.system.randomness import seed_from


def share_done(trainer: Any, batch_idx: int, planned_epochs: int, warmup_epochs: int) -> float:
    """From 0 after the warm-up to 1 at the end, whichever of the Trainer's limits comes first."""
    epoch = trainer.current_epoch + batch_idx / max(trainer.num_training_batches, 1)
    progress = 0.0
    if planned_epochs > 0:
        progress = (epoch - warmup_epochs) / (planned_epochs - warmup_epochs)
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


def make_step(
    user: UserStep,
    batch: Any,
    batch_idx: int,
    progress: float,
    searchables: Mapping[str, Searchable],
    batches: SearchBatches | None,
    seeds: tuple[int, int],
) -> SearchStep:
    """The step of a training batch.

    Args:
        user: the user's step.
        batch: the training batch, on the device.
        batch_idx: its place in the epoch.
        progress: how far the search is.
        searchables: what is searched, by name.
        batches: the search data; None: the strategy uses none.
        seeds: of the search, and the number of the step.
    """
    drawn: list[Any] = []

    def search_loss() -> Tensor:
        if batches is None:
            raise RuntimeError("the strategy asks for search data, but says that it uses none (uses_search_data)")
        if not drawn:
            drawn.append(user.on_device(next(batches)))
        return user.loss(drawn[0], batch_idx)

    return SearchStep(
        progress=progress,
        searchables=searchables,
        training_loss=lambda: user.loss(batch, batch_idx),
        search_loss=search_loss,
        generator=torch.Generator().manual_seed(seed_from(*seeds)),
    )
