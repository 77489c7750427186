"""One step of a search, as a strategy sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.strategies.paths import mean_loss
from automl_plugins.supernets.searchable import Searchable

Held = Mapping[str, Architecture | Mapping[str, Tensor]]
"""By the name of a searchable, the architecture or the gates that it is run with."""


@dataclass(frozen=True)
class SearchStep:
    """One step of a search: where it is, its batches, and the losses on them.

    A step moves first the logits, then the weights; both parts see the same step, so what the first one draws and
    leaves in `shared`, the second one finds there. Losses are those of the user's own `training_step` (in the part of
    the logits of `architecture_loss`, where the module has one), differentiable with respect to logits and weights.
    In the part of the logits nothing that it logs, counts or draws is seen outside; in that of the weights it is an
    ordinary step of the user's, seen once for each loss that is asked for.

    `Strategy.begin` and `Strategy.end_epoch` are given a step without a training batch.

    Args:
        progress: from 0 after the warm-up to 1 at the search's end.
        searchables: what is searched, by name.
        generator: a function of the seed and the step alone, so equal on all ranks.
        loss: computes the user's loss on a batch that is on the device.
        read: gives the step's search batch, the same one at each call.
        evaluate: the mean loss on a few search batches with the searchables as they are, without gradient, equal on
            all ranks; always the same batches.
        epoch: counted from 0.
        number: how many steps were taken before.
        training_batch: on the device; None between epochs.
        module: the LightningModule.
        average: the mean over ranks of a number, which is what a strategy keeps of a loss.
        scaler: of losses under 16-bit mixed precision; None: they are not scaled.
        shared: empty at first; for what the parts of one step share.
    """

    progress: float
    searchables: Mapping[str, Searchable]
    generator: torch.Generator
    loss: Callable[[Any], Tensor]
    read: Callable[[], Any]
    evaluate: Callable[[], float]
    epoch: int = 0
    number: int = 0
    training_batch: Any = None
    module: Any = None
    average: Callable[[float], float] = float
    scaler: torch.amp.GradScaler | None = None
    shared: dict[Any, Any] = field(default_factory=dict)

    @property
    def search_batch(self) -> Any:
        """The search batch of this step, on the device; it is drawn when it is first asked for."""
        return self.read()

    def training_loss(self) -> Tensor:
        """The loss on the training batch, with the gates as they are."""
        return self.loss(self._present_batch())

    def search_loss(self) -> Tensor:
        """The loss on the search batch, with the gates as they are."""
        return self.loss(self.search_batch)

    def loss_of(self, held: Held, batch: Any) -> Tensor:
        """The loss on a batch with these gates.

        Args:
            held: an architecture or gates for searchables by name; the others keep those that they have.
            batch: the training or the search batch, or another one on the device.
        """
        with self.holding(held):
            return self.loss(batch)

    @contextmanager
    def holding(self, held: Held) -> Iterator[None]:
        """Run searchables with these gates inside the `with` block: see `loss_of`."""
        with ExitStack() as stack:
            for name, gates in held.items():
                stack.enter_context(self.searchables[name].hold(gates))
            yield

    def mean_loss(self, paths: Sequence[Held]) -> Tensor:
        """The mean loss on the training batch of several paths, whose gradients reach the weights together.

        Each path is run, and its gradient taken, before the next one, so that the memory is that of one.

        Args:
            paths: for each, an architecture or gates for searchables by name.
        """
        weights = [weight for weight in self.module.parameters() if weight.requires_grad]
        return mean_loss(self._losses(paths, self._present_batch()), weights, self.scaler)

    def _losses(self, paths: Sequence[Held], batch: Any) -> Iterator[Tensor]:
        for held in paths:
            with self.holding(held):  # until the gradient is taken: what is recomputed for it asks for the gates again
                yield self.loss(batch)

    def _present_batch(self) -> Any:
        if self.training_batch is None:
            raise RuntimeError("there is no training batch before the first step and between epochs; use search_batch")
        return self.training_batch
