"""The decoder protocol, and the evaluation of a searchable that decoders ask for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.supernets.searchable import Searchable


class Evaluation:
    """The loss on search data with the searchable as it is when it is called; lower is better, equal on all ranks.

    Args:
        loss_of: of the position of a batch: its loss; None: there is none (the user's step left it out).
        batches: how many there are, or what says so when it is first asked for.
        tell: is told how far a long comparison is, in one line.
    """

    def __init__(
        self,
        loss_of: Callable[[int], float | None],
        batches: int | Callable[[], int] = 1,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.loss_of = loss_of
        self._count = batches
        self.tell = tell

    @property
    def batches(self) -> int:
        """The number of batches."""
        if not isinstance(self._count, int):
            self._count = self._count()
        return self._count

    def __call__(self) -> float:
        """The mean over all batches; nan where there is none."""
        return mean_of([self.loss_of(batch) for batch in range(self.batches)])


def mean_of(losses: Sequence[float | None]) -> float:
    """The mean of those that are there; nan where none is."""
    present = [loss for loss in losses if loss is not None]
    return sum(present) / len(present) if present else math.nan


class Decoder(Protocol):
    """Reads an architecture off a searchable whose weights and logits are trained.

    It may close options (`Searchable.close`) or hold architectures (`Searchable.hold`) to ask what
    becomes of the loss, and leaves the searchable as it found it. Its result has no closed option and keeps the
    space's cap, as `Searchable.sample` and `Searchable.architecture` do.
    """

    def __call__(self, searchable: Searchable, evaluate: Callable[[], float]) -> Architecture:
        """The architecture.

        Args:
            searchable: what was searched.
            evaluate: the loss on search data with the searchable as it is now; lower is better. A search gives
                an `Evaluation`, which can be asked for a part of the data, too.

        Raises:
            DivergedError: nothing has a finite loss.
        """
