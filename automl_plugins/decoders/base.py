"""The decoder protocol, its results, and the evaluation of a searchable that decoders ask for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from automl_plugins import registry
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.supernets.searchable import Searchable


@dataclass(frozen=True)
class Found:
    """An architecture that a search found, with the figures that speak for it.

    ```python
    Found(architecture, {"search_loss": 0.31}).to_dict()["figures"]
    ```

    Args:
        architecture: of the space that was searched.
        figures: finite numbers by name, such as `search_loss`, `params` or `latency_ms`.
    """

    architecture: Architecture
    figures: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A tensor of a decoder's own is a number here; in a file it would be none.
        object.__setattr__(self, "figures", {name: float(value) for name, value in self.figures.items()})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: `{"architecture": ..., "figures": ...}`."""
        return {"architecture": self.architecture.to_dict(), "figures": dict(self.figures)}


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
    """Reads architectures off a searchable whose weights and logits are trained.

    It may close options (`Searchable.close`) or hold architectures (`Searchable.hold`) to ask what
    becomes of the loss, and leaves the searchable as it found it. Its result has no closed option and keeps the
    space's cap, as `Searchable.sample` and `Searchable.architecture` do. The contract is
    `automl_plugins.testing.DecoderContract`.

    An attribute `reads_logits = True` says that it does not serve a strategy which learns none, `needs_mixture = True`
    that it does not serve one which trains single paths. A method `check(searchable)` refuses others before training
    starts, with a ValueError.
    """

    def __call__(self, searchable: Searchable, evaluate: Callable[[], float]) -> Sequence[Found]:
        """The architectures that were found, the best first, each once: at least one.

        The first is the result of the search (`architecture.json`); the others, such as a menu of sizes or a front, are
        beside it in `found.json`.

        Args:
            searchable: what was searched.
            evaluate: the loss on search data with the searchable as it is now; lower is better. A search gives
                an `Evaluation`, which can be asked for a part of the data, too.

        Raises:
            DivergedError: nothing has a finite loss.
        """


def make_decoder(decoder: str | Decoder) -> Decoder:
    """A decoder by its registered name; one that is made already is given back.

    Raises:
        ValueError: no decoder has that name.
    """
    if not isinstance(decoder, str):
        return decoder
    made: Decoder = registry.load("decoders", decoder)()
    return made
