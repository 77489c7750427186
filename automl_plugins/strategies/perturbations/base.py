"""The perturbation: other gates than those of the logits, for the step of the weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from automl_plugins import registry
from automl_plugins.strategies.step import SearchStep
from automl_plugins.supernets.gates import Gates


class Perturbation(ABC):
    """A change of the gates that the weights of a step are trained with; the logits are left alone.

    It remembers nothing: all that it draws is of `step.generator`.
    """

    needs_end: ClassVar[bool] = False
    """True where the change follows the progress of a search, which then needs an end."""

    @abstractmethod
    def __call__(self, step: SearchStep, gates: Mapping[str, Gates]) -> Mapping[str, Gates]:
        """The perturbed gates of each searchable.

        Args:
            step: with a training batch; nothing that its losses do is seen.
            gates: of each searchable by name, without gradient, on its device; those of closed options are zero.
        """


def make_perturbation(perturbation: str | Perturbation) -> Perturbation:
    """A perturbation by its registered name; one that is made already is given back.

    Raises:
        ValueError: no perturbation has that name, or it is something else.
    """
    made = registry.load("perturbations", perturbation)() if isinstance(perturbation, str) else perturbation
    if not isinstance(made, Perturbation):
        raise ValueError(f"perturbation is a registered name or a Perturbation; got {perturbation!r}")
    return made
