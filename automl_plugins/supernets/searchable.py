"""The searchable: a supernet with its architecture logits, put where a network was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from automl_plugins.errors import DivergedError
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.budget import Budget
from automl_plugins.spaces.task import Task
from automl_plugins.supernets.eager import run_eagerly
from automl_plugins.supernets.gated_space import GatedSpace
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.masked_logits import MaskedLogits
from automl_plugins.supernets.relaxations import Relaxation
from automl_plugins.supernets.supernet import Supernet, inherited

if TYPE_CHECKING:
    pass

_REDRAWS = 32
"""Draws of single paths at most until one keeps the limits."""


class Searchable(MaskedLogits):
    """A supernet whose gates come from architecture logits of its own; called like any network of the space.

    The logits are an ordinary parameter, so `state_dict`, `deepcopy`, optimizers and plain training
    loops treat them like any other. A stochastic relaxation draws anew at each forward pass in training mode;
    what it draws is a function of `seed` and of the number of draws alone, which the `state_dict` keeps.

    Options may be closed and opened again (`close`, `open`, `keep`), and networks may have limits of cost: the space's
    `max_parameters`, and those of `within`. Samples and decoded architectures keep to both; a closed option's gate is
    zero, whatever gates are held. The mask is part of the `state_dict`.

    Args:
        space: what is searched; `SupernetSpace.searchable` makes the rest of it.
        task: what a network must fit.
        supernet: the weights, built by the space for the task.
        relaxation: how logits become gates.
        seed: of the initial logits and of the draws.
        budget: limits of what networks may cost; the space's `max_parameters` alone where left out.
    """

    def __init__(
        self,
        space: GatedSpace,
        task: Task,
        supernet: Supernet,
        relaxation: Relaxation,
        seed: int = 0,
        budget: Budget | None = None,
    ) -> None:
        super().__init__(space, task, relaxation, seed, budget)
        self.supernet = supernet
        # No buffer, which averages would average and a GPU would have to be asked for.
        self.draws = torch.zeros((), dtype=torch.int64, device="cpu")
        """The number of draws of noise, always on the CPU; kept in the `state_dict` as the extra state."""
        self.draws_by_itself = True
        """True where each forward pass in training mode draws anew; a search that draws once a step switches it off."""
        self._held: Gates | None = None

    # As a network.

    @run_eagerly
    def forward(self, *inputs: Any, **options: Any) -> Any:
        if self.draws_by_itself and self.training and self.relaxation.stochastic:
            self.draw()
        return self.supernet(*inputs, gates=self.gates(), **options)

    def gates(self) -> Gates:
        """The gates of the next forward pass."""
        if self._held is not None:
            matrix = self._held.matrix.to(self.logits.device)
            matrix = torch.where(self.mask, matrix, torch.zeros_like(matrix))
        else:
            generator = None
            if self.training and self.relaxation.stochastic:
                # A function of the count alone: equal on all ranks, and after a resume.
                generator = torch.Generator().manual_seed(self.seed * 1_000_003 + int(self.draws))
            matrix = self.relaxation(self.logits, self.mask, generator)
        weight = next(self.supernet.parameters(), self.logits)
        return Gates(self.choices, matrix.to(weight.dtype))

    def draw(self) -> None:
        """Have the next forward passes use new noise.

        If single paths are drawn that are architectures, as they are where the gates are the space's choices, those
        beyond the limits of cost are drawn again, a bounded number of times.
        """
        for _ in range(_REDRAWS):
            self.draws += 1
            if not self._draws_beyond_limits():
                break

    def _draws_beyond_limits(self) -> bool:
        if not self.limits.budget.limits or not (self.training and self.relaxation.single_path):
            return False
        matrix = self.gates().matrix.detach().cpu()
        drawn = self.space.decode(Gates(self.choices, matrix))
        is_architecture = torch.equal(self.space.gates(drawn, matrix.dtype).matrix, matrix)
        return is_architecture and not self.limits.keeps_limits(drawn)

    # Parameters.

    def architecture_parameters(self) -> list[nn.Parameter]:
        """The logits, in a list as an optimizer takes it."""
        return [self.logits]

    def weight_parameters(self) -> list[nn.Parameter]:
        """All parameters but the logits."""
        return list(self.supernet.parameters())

    @contextmanager
    def hold(self, held: Architecture | Mapping[str, Tensor]) -> Iterator[None]:
        """Use an architecture's gates, or any others, instead of those of the logits, inside the `with` block.

        Raises:
            ValueError: see `use_gates`.
        """
        before = self._held
        self.use_gates(held)
        try:
            yield
        finally:
            self._held = before

    def use_gates(self, held: Architecture | Mapping[str, Tensor] | None) -> None:
        """Use these gates until told otherwise; None: those of the logits again.

        Of gates, those of closed options are zero nevertheless; an architecture with a closed option is refused, since
        without it it would be another one. Limits of cost do not count here.

        Raises:
            ValueError: the architecture is not of the space or has a closed option, or the gates are not of its
                choices, or all that are not zero of a choice are of closed options.
        """
        if isinstance(held, Architecture):
            gates = self.space.gates(held)
            self.limits.check_open(held)
        elif held is not None:
            gates = Gates.of(self.choices, held)
            self._check_some_open(gates)
        self._held = None if held is None else gates

    def _check_some_open(self, gates: Gates) -> None:
        asked = gates.matrix.detach().to(self.closed.device) != 0
        lost = asked.any(dim=1) & ~(asked & self.mask).any(dim=1)
        if lost.any():
            name = self.choices[int(lost.nonzero()[0])].name
            raise ValueError(f"the gates of {name!r} are those of closed options alone; Searchable.open opens them")

    # What is found.

    def derive(self, keep_weights: bool = False) -> nn.Module:
        """The network of `architecture()`: an ordinary module, ready to be trained.

        Args:
            keep_weights: take over the supernet's weights; else the network is freshly initialised.

        Raises:
            DivergedError: see `architecture`; or weights to be taken over are not finite.
            LimitError: see `architecture`.
        """
        architecture = self.architecture()
        if not keep_weights:
            return self.space.network(architecture, self.task).to(self.logits.device)
        network = inherited(self.space, self.supernet, architecture, self.task)
        for name, weight in network.named_parameters():
            if not weight.isfinite().all():
                reason = f"the weight {name!r} of the supernet is not finite"
                raise DivergedError(
                    reason,
                    f"{reason}: the search has diverged; derive() without keep_weights gives a fresh network, a lower "
                    "learning rate a search that does not",
                )
        return network

    def __getattr__(self, name: str) -> Any:
        """The attribute that torch keeps under a name, or an error for those whose code asks its own network for more.

        Raises:
            AttributeError: there is nothing of that name.
        """
        try:
            return super().__getattr__(name)
        except AttributeError:
            raise AttributeError(
                f"a searchable has no attribute {name!r} of the network that it stands for; keep what a project reads "
                "beside the network, in the LightningModule, or set it on the searchable",
                name=name,
                obj=self,
            ) from None

    def get_extra_state(self) -> Tensor:
        return self.draws.clone()

    def set_extra_state(self, state: Tensor) -> None:
        self.draws.copy_(state)
