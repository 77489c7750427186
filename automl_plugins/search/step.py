"""The steps that a strategy is given, and where in the search they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from functools import cache
from typing import Any

import torch
from torch import Tensor

from automl_plugins.decoders.base import Evaluation
from automl_plugins.search import ranks
from automl_plugins.search.batches import SearchBatches
from automl_plugins.search.evaluation import search_evaluation
from automl_plugins.search.user_step import UserStep
from automl_plugins.strategies import SearchStep
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.system.randomness import seed_from

_EVALUATION_BATCHES = 16
"""The most search batches that an evaluation reads: many architectures are compared."""


class Moment(IntEnum):
    """The moments at which a strategy is given a step without a training batch; they set apart what is drawn then."""

    BEGINNING = 1
    END_OF_EPOCH = 2


class StepMaker:
    """Makes the steps of one fit.

    Args:
        trainer: the Trainer.
        module: the LightningModule.
        searchables: what is searched, by name.
        seed: of what steps draw.
    """

    def __init__(self, trainer: Any, module: Any, searchables: Mapping[str, Searchable], seed: int) -> None:
        self._trainer, self._module, self._searchables, self._seed = trainer, module, searchables, seed
        self.batches: SearchBatches | None = None
        """The search data, once they are open; None, too, where the strategy uses none."""

    def on_batch(self, user: UserStep, batch: Any, batch_idx: int, progress: float, number: int) -> SearchStep:
        """The step of a training batch, whose losses are computed where nothing that they do is seen.

        Args:
            user: the user's step.
            batch: the training batch, on the device.
            batch_idx: its place in the epoch.
            progress: how much of the search is done.
            number: how many steps were taken before.
        """
        return self._step(
            seeds=(number,),
            loss=lambda each: user.loss(each, batch_idx),
            read=lambda: user.on_device(next(self._present_batches)),
            progress=progress,
            number=number,
            epoch=self._trainer.current_epoch,
            training_batch=batch,
        )

    def between(self, moment: Moment, epoch: int, progress: float, number: int, looks: bool = False) -> SearchStep:
        """A step without a training batch, which sees to it by itself that nothing of its losses is seen.

        Args:
            moment: when.
            epoch: the present one, or the one that has ended.
            progress: how much of the search is done.
            number: how many steps were taken before.
            looks: whether it only looks: its search batch is the first one, at each call, and the others stay in order.
        """
        user = UserStep(self._trainer, self._module)

        def loss(batch: Any) -> Tensor:
            with user.isolated(self._seed, epoch, moment):
                return user.loss(batch, 0)

        def read() -> Any:
            with user.isolated(self._seed, epoch, moment):
                batches = self._present_batches
                return user.on_device(batches.first(1)[0] if looks else next(batches))

        return self._step(seeds=(epoch, moment), loss=loss, read=read, progress=progress, number=number, epoch=epoch)

    def evaluation(self) -> Evaluation:
        """The loss on the same few search batches at each call."""

        def read() -> list[Any]:
            return [] if self.batches is None else self.batches.first(_EVALUATION_BATCHES)

        return search_evaluation(UserStep(self._trainer, self._module), read, self._seed)

    def _step(self, seeds: tuple[int, ...], read: Callable[[], Any], **given: Any) -> SearchStep:
        device, world_size = self._trainer.strategy.root_device, self._trainer.world_size
        return SearchStep(
            searchables=self._searchables,
            generator=torch.Generator().manual_seed(seed_from(self._seed, *seeds)),
            read=cache(read),
            evaluate=self.evaluation(),
            module=self._module,
            average=lambda value: float(ranks.mean_over_ranks(value, device, world_size) or 0.0),
            scaler=self._trainer.scaler,
            **given,
        )

    @property
    def _present_batches(self) -> SearchBatches:
        if self.batches is None:
            raise RuntimeError("the strategy asks for search data, but says that it uses none (uses_search_data)")
        return self.batches


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
    """True in an epoch that an averaging callback has appended, in which nothing is to learn."""
    return 0 <= planned_epochs <= epoch


def draw(searchables: Iterable[Searchable]) -> None:
    """Have stochastic relaxations draw new noise."""
    for searchable in searchables:
        if searchable.relaxation.stochastic:
            searchable.draw()
