"""The stop: a condition that ends any search, and the figures that it looks at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from automl_plugins import registry
from automl_plugins.strategies.step import SearchStep


class Stop(ABC):
    """A condition that is asked for at the end of each epoch.

    Whatever it remembers is its `state_dict`, which is in the Trainer's checkpoint, equal on all ranks.
    """

    @abstractmethod
    def __call__(self, step: SearchStep) -> str | None:
        """The reason to stop, or None. It may set the logits back to those that the search is to end with.

        Args:
            step: without a training batch; its search batch is the same after each epoch, and what a loss draws at
                each call. Its `epoch` is the one that has ended.
        """

    def figures(self) -> dict[str, float]:
        """The figures of the last epoch by name, which are logged and shown."""
        return {}

    def begin(self) -> None:  # noqa: B027 - nothing is remembered by default
        """Forget what an earlier fit left: once, not again where a search goes on from a checkpoint."""

    def state_dict(self) -> dict[str, Any]:
        """The memory of the stop, as that of a strategy."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Continue where the state was taken; its tensors are on the device of the search."""


def make_stops(stops: Sequence[Stop | str]) -> list[Stop]:
    """Stops by their registered names; those that are made already are given back.

    Raises:
        ValueError: no stop has that name, or it is no list of them.
    """
    if isinstance(stops, str) or not isinstance(stops, Sequence):
        cure = f"; write [{stops}]" if isinstance(stops, str) else ""
        raise ValueError(f"stops is a list of names, or of stops; got {stops!r}{cure}")
    made = [registry.load("stops", each)() if isinstance(each, str) else each for each in stops]
    for each in made:
        if not isinstance(each, Stop):
            raise ValueError(f"stops has {each!r}, which is neither a registered name nor a Stop")
    return made
