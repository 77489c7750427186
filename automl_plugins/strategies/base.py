"""The search strategy: all in which one published method differs from the next."""

from __future__ import annotations

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypedDict

import torch
from torch import Tensor, nn

from automl_plugins.decoders.base import Decoder, make_decoder
from automl_plugins.decoders.most_likely import MostLikely
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.strategies.perturbations.base import Perturbation, make_perturbation
from automl_plugins.strategies.regularizers.base import Regularizer, make_regularizers
from automl_plugins.strategies.step import SearchStep
from automl_plugins.strategies.stops.base import Stop, make_stops
from automl_plugins.supernets.relaxations import Relaxation, make_relaxation
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.system.arguments import at_least


class Components(TypedDict, total=False):
    """The parts that any strategy may be given in place of, or beside, its own: see `Strategy`."""

    decoder: Decoder | str | None
    relaxation: Relaxation | str | None
    regularizers: Sequence[Regularizer | str]
    perturbation: Perturbation | str | None
    partial_channels: int
    stops: Sequence[Stop | str]


class Strategy(ABC):
    """The learning of architecture logits, and of the weights meanwhile, in one fit.

    A method overrides what is its own: how logits become gates (`relaxation`), how that changes on the way
    (`schedule`), which loss moves the logits (`architecture_loss`) with which optimizer, with which gates
    (`weight_gates`) and by which loss (`weight_loss`) the weights are trained, what happens at the beginning (`begin`)
    and between epochs (`end_epoch`), and how the logits are read in the end (`decoder`).

    The memory of a method from step to step is its `state_dict`, which is in the Trainer's checkpoint; all else
    is a function of the step's progress and generator, or lies in a searchable's logits and mask.

    Components of other papers may be combined with it, all by registered name or as they are made; what cannot be
    combined is refused with the reason (`refuses`, `composition.check`).

    Args:
        decoder: reads architectures off in the end; None: the strategy's own.
        relaxation: what the search begins with in place of the strategy's own.
        regularizers: terms that are added to the loss of the logits.
        perturbation: of the gates that the weights are trained with.
        partial_channels: mixtures run on one channel in so many (PC-DARTS), in a supernet that is made for it:
            `space.searchable(task, partial_channels=4)`; where a command or a procedure makes it, by itself.
        stops: conditions that end the search, asked for at the end of each epoch.

    Raises:
        ValueError: the strategy has no use for a component that is given, or there is none of its name.
    """

    learns_logits: ClassVar[bool] = True
    """True where there is an architecture step at all."""
    uses_search_data: ClassVar[bool] = True
    """True where data are held out for the architecture's loss or for the decoder."""
    shares_draw: ClassVar[bool] = False
    """True where the step of the weights uses the same draw of a stochastic relaxation as that of the architecture."""
    needs_end: ClassVar[bool] = False
    """True where the loss follows the progress of a search, which then needs an end; a `schedule` needs one anyway."""
    learning_rate: ClassVar[float | None] = None
    """Of the logits, where a search is given none; None: by the number of its steps (`search.rate`)."""
    refuses: ClassVar[Mapping[str, str]] = {}
    """By the name of a component that the strategy has no use for, the reason."""

    def __init__(
        self,
        decoder: Decoder | str | None = None,
        relaxation: Relaxation | str | None = None,
        regularizers: Sequence[Regularizer | str] = (),
        perturbation: Perturbation | str | None = None,
        partial_channels: int = 1,
        stops: Sequence[Stop | str] = (),
    ) -> None:
        given = {
            "decoder": decoder,
            "relaxation": relaxation,
            "regularizers": regularizers,
            "perturbation": perturbation,
            "stops": stops,
        }
        for name, reason in self.refuses.items():
            if given[name]:
                raise ValueError(f"{name} cannot be combined with {type(self).__name__}: {reason}; leave it out")
        self.decoder: Decoder = MostLikely() if decoder is None else make_decoder(decoder)
        self._relaxation = None if relaxation is None else make_relaxation(relaxation)
        self.regularizers = make_regularizers(regularizers)
        self.perturbation = None if perturbation is None else make_perturbation(perturbation)
        self.partial_channels = at_least("partial_channels", partial_channels, 1)
        self.stops = make_stops(stops)

    def starting_relaxation(self) -> Relaxation:
        """The relaxation that a search begins with: the one that was given, or else the strategy's own."""
        return self.relaxation() if self._relaxation is None else copy.deepcopy(self._relaxation)

    def check(self, searchables: Mapping[str, Searchable]) -> None:  # noqa: B027 - by default all will do
        """Refuse what cannot be searched in this way, before training starts.

        Raises:
            ValueError: it cannot; the message says why.
        """

    @abstractmethod
    def relaxation(self) -> Relaxation:
        """A new relaxation of the strategy's own, as a search begins with it; each searchable has one."""

    def schedule(self, relaxation: Relaxation, progress: float) -> None:  # noqa: B027 - nothing changes by default
        """Change a relaxation at the beginning of a step, for example its temperature."""

    def architecture_loss(self, step: SearchStep) -> Tensor:
        """The loss that the logits are to lower: a scalar; by default the loss on the search batch."""
        return step.search_loss()

    def optimizer(
        self, logits: Sequence[nn.Parameter], learning_rate: float, weight_decay: float, betas: tuple[float, float]
    ) -> torch.optim.Optimizer:
        """The optimizer of the logits; by default Adam (DARTS, Liu et al. 2019, appendix A.1)."""
        return torch.optim.Adam(logits, lr=learning_rate, weight_decay=weight_decay, betas=betas)

    def weight_gates(self, searchable: Searchable, step: SearchStep) -> Architecture | Mapping[str, Tensor] | None:
        """The gates that the weights of this step are trained with; None: those of the relaxation."""
        return None

    def weight_loss(self, step: SearchStep) -> Tensor | None:
        """The loss that the weights are to lower in this step: a scalar; None: the user's own step as it is.

        It is computed where the user's `training_step` would be, with the gates of `weight_gates`, once for each batch
        of an accumulated step: autocast, loss scaling, accumulation and DDP are those of the Trainer. For example
        `step.training_loss()` and a distillation, `step.loss(batch)` of another batch or other labels, or
        `step.mean_loss(paths)`. It needs automatic optimization.
        """
        return None

    def trains_weights(self, progress: float) -> bool:
        """True where the weights are trained in a step at this progress.

        Otherwise the user's step is run without gradients, and the optimizer moves nothing; schedulers go on.
        """
        return True

    def single_path(self, progress: float) -> bool:
        """True where `weight_gates` runs one option of each choice at this progress.

        The weights of the others then get no gradient, and validation sees the most probable architecture. A
        relaxation of single paths says it by itself.
        """
        return False

    # Beginning and state.

    def begin(self, step: SearchStep) -> None:  # noqa: B027 - nothing happens by default
        """Prepare a search on the untrained supernet: once, not again where a search goes on from a checkpoint.

        It may close options, initialise logits or remember the initial weights, and forgets what an earlier fit left.
        """

    def end_epoch(self, step: SearchStep) -> None:  # noqa: B027
        """Change the searchables between epochs, for example close options.

        Args:
            step: without a training batch; its `epoch` is the one that has ended.
        """

    def state_dict(self) -> dict[str, Any]:
        """The memory of the strategy, made of tensors, numbers, texts, lists and dicts of them; equal on all ranks."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - nothing is remembered by default
        """Continue where the state was taken; its tensors are on the device of the search."""

    def __repr__(self) -> str:
        names = [name for name in inspect.signature(type(self)).parameters if name in vars(self)]
        names = [name for name in names if name not in Components.__annotations__]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"
