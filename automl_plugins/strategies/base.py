"""What a search strategy says: all in which one published method differs from the next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from automl_plugins.decoders.base import Decoder
from automl_plugins.decoders.most_likely import MostLikely
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.supernets.relaxations import Relaxation
from automl_plugins.supernets.searchable import Searchable


@dataclass(frozen=True)
class SearchStep:
    """What a strategy may ask for in one step of a search.

    The losses are of the user's own `training_step` (or `architecture_loss`), differentiable with
    respect to logits and weights; nothing that it logs, counts or draws is seen outside.

    Args:
        progress: how far the search is, from 0 after the warm-up to 1 at its end.
        searchables: what is searched, by name.
        training_loss: computes the loss on the training batch of this step.
        search_loss: computes the loss on the search batch of this step; each call, on the same one.
        generator: a function of the seed and the step alone, so equal on all ranks.
    """

    progress: float
    searchables: Mapping[str, Searchable]
    training_loss: Callable[[], Tensor]
    search_loss: Callable[[], Tensor]
    generator: torch.Generator


class Strategy(ABC):
    """How architecture logits are learned.

    A method overrides what is its own: how logits become gates (`relaxation`), how that changes on
    the way (`schedule`), which loss moves the logits (`architecture_loss`) with which optimizer,
    which gates the weights are trained with (`weight_gates`), what happens between epochs (`end_epoch`),
    and how the logits are read in the end (`decoder`). Strategies hold no state of a run: what they
    need is a function of the step's progress and generator, or lies in a searchable's logits and mask.

    Args:
        decoder: reads the architecture in the end; None: the strategy's own.
    """

    learns_logits: ClassVar[bool] = True
    """Whether there is an architecture step at all."""
    uses_search_data: ClassVar[bool] = True
    """Whether data are held out for the architecture's loss or for the decoder."""
    shares_draw: ClassVar[bool] = False
    """Whether the step of the weights uses the same draw of a stochastic relaxation as that of the architecture."""
    needs_end: ClassVar[bool] = False
    """Whether the loss follows the progress of a search, which then needs an end; a `schedule` needs one anyway."""
    holds_single_path: ClassVar[bool] = False
    """Whether `weight_gates` runs one option of each choice, so that the others' weights get no gradient."""

    def __init__(self, decoder: Decoder | None = None) -> None:
        self.decoder: Decoder = MostLikely() if decoder is None else decoder

    def check(self, searchables: Mapping[str, Searchable]) -> None:  # noqa: B027 - by default all will do
        """Refuse what cannot be searched in this way, before training starts.

        Raises:
            ValueError: it cannot; the message says why.
        """

    @abstractmethod
    def relaxation(self) -> Relaxation:
        """A new relaxation, as the search begins with it; each searchable has its own."""

    def schedule(self, relaxation: Relaxation, progress: float) -> None:  # noqa: B027 - nothing changes by default
        """Change a relaxation at the beginning of a step, for example its temperature."""

    def architecture_loss(self, step: SearchStep) -> Tensor:
        """What the logits are to lower: a scalar; by default the loss on the search batch."""
        return step.search_loss()

    def optimizer(
        self, logits: Sequence[nn.Parameter], learning_rate: float, weight_decay: float, betas: tuple[float, float]
    ) -> torch.optim.Optimizer:
        """What moves the logits; by default Adam (DARTS, Liu et al. 2019, appendix A.1)."""
        return torch.optim.Adam(logits, lr=learning_rate, weight_decay=weight_decay, betas=betas)

    def weight_gates(self, searchable: Searchable, step: SearchStep) -> Architecture | Mapping[str, Tensor] | None:
        """The gates that the weights of this step are trained with; None: those of the relaxation."""
        return None

    def end_epoch(self, searchables: Mapping[str, Searchable], epoch: int, evaluate: Callable[[], float]) -> None:  # noqa: B027
        """Change the searchables between epochs, for example close options.

        Args:
            searchables: by name.
            epoch: the one that ended, counted from 0.
            evaluate: the loss on search data with the searchables as they are now, equal on all ranks.
        """

    def __repr__(self) -> str:
        settings: dict[str, Any] = {name: value for name, value in vars(self).items() if name != "decoder"}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in settings.items())})"


def linear(start: float, end: float, progress: float) -> float:
    """The value of a linear schedule."""
    return start + (end - start) * progress


def temperature(name: str, value: float) -> float:
    """A temperature that somebody gave.

    Raises:
        ValueError: it is not greater than zero.
    """
    if not value > 0:
        raise ValueError(f"{name} is a temperature, greater than 0; got {value}")
    return float(value)
