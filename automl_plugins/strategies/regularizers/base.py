"""The regularizer: a term that any strategy's loss of the logits may be given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from automl_plugins import registry
from automl_plugins.strategies.step import SearchStep


class Regularizer(ABC):
    """A term that is added to the loss which moves the logits.

    Whatever it remembers from step to step is its `state_dict`, which is in the Trainer's checkpoint.
    """

    needs_end: ClassVar[bool] = False
    """True where the term follows the progress of a search, which then needs an end."""

    @abstractmethod
    def __call__(self, step: SearchStep) -> Tensor:
        """The term: a scalar, differentiable with respect to the logits of `step.searchables`."""

    def begin(self) -> None:  # noqa: B027 - nothing is remembered by default
        """Forget what an earlier fit left: once, not again where a search goes on from a checkpoint."""

    def state_dict(self) -> dict[str, Any]:
        """The memory of the regularizer, as that of a strategy."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Continue where the state was taken; its tensors are on the device of the search."""


def make_regularizers(regularizers: Sequence[Regularizer | str]) -> list[Regularizer]:
    """Regularizers by their registered names; those that are made already are given back.

    Raises:
        ValueError: no regularizer has that name, or it is no list of them.
    """
    if isinstance(regularizers, str) or not isinstance(regularizers, Sequence):
        cure = f"; write [{regularizers}]" if isinstance(regularizers, str) else ""
        raise ValueError(f"regularizers is a list of names, or of regularizers; got {regularizers!r}{cure}")
    made = [registry.load("regularizers", each)() if isinstance(each, str) else each for each in regularizers]
    for each in made:
        if not isinstance(each, Regularizer):
            raise ValueError(f"regularizers has {each!r}, which is neither a registered name nor a Regularizer")
    return made
