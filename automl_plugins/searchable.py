"""What a user puts where their network was: a supernet with its architecture logits."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from automl_plugins import registry
from automl_plugins.architecture import Architecture
from automl_plugins.choice import Value
from automl_plugins.gates import Gates, option_mask
from automl_plugins.relaxations import Relaxation
from automl_plugins.supernet import SupernetSpace
from automl_plugins.task import Task

_INITIAL_SCALE = 1e-3


class Searchable(nn.Module):
    """A supernet whose gates come from architecture logits of its own; called like any network of the space.

    The logits are an ordinary parameter, so `state_dict`, `deepcopy`, optimizers and plain training
    loops treat them like any other. A stochastic relaxation draws anew at each forward pass in training mode;
    what it draws is a function of `seed` and of the number of draws alone, which the `state_dict` keeps.

    Args:
        space: what is searched.
        task: what a network must fit.
        relaxation: how logits become gates: a registered name, or a relaxation.
        seed: of the initial logits and of the draws.

    Raises:
        ValueError: the space has no networks for the task, or no relaxation has that name.
    """

    closed: Tensor
    signature: Tensor

    def __init__(
        self, space: SupernetSpace, task: Task, relaxation: str | Relaxation = "softmax", seed: int = 0
    ) -> None:
        super().__init__()
        self.space = space
        self.task = task
        self.seed = seed
        self.relaxation = make_relaxation(relaxation)
        self.supernet = space.supernet(task)
        self.choices = space.gate_choices
        options = option_mask(self.choices)
        # On the CPU whatever the default device is: a generator draws on its own device alone.
        noise = torch.rand(options.shape, generator=torch.Generator().manual_seed(seed), device="cpu")
        self.logits = nn.Parameter(torch.where(options, _INITIAL_SCALE * noise.to(options.device), 0.0))
        """`[num_choices, most_options]`, a row for each of `choices`; what is no option of a row is never read."""
        # Zero where an option is open. Averages of weights (EMA, SWA) may average buffers too, and fail at
        # integers: an average is zero only where the option was open all the time.
        self.register_buffer("closed", (~options).to(self.logits.dtype))
        # Which row is whose: a checkpoint of other choices must not be loaded by position.
        self.register_buffer("signature", signature_of(self.choices).to(self.logits.dtype))
        # No buffer, which averages would average and a GPU would have to be asked for.
        self.draws = torch.zeros((), dtype=torch.int64, device="cpu")
        """How often noise was drawn, always on the CPU; kept in the `state_dict` as the extra state."""
        self.draws_by_itself = True
        """Whether each forward pass in training mode draws anew; a search that draws once a step switches it off."""
        self._held: Gates | None = None

    # As a network.

    def forward(self, *inputs: Any, **options: Any) -> Any:
        if self.draws_by_itself and self.training and self.relaxation.stochastic:
            self.draw()
        return self.supernet(*inputs, gates=self.gates(), **options)

    def gates(self) -> Gates:
        """The gates of the next forward pass."""
        if self._held is not None:
            matrix = self._held.matrix.to(self.logits.device)
        else:
            generator = None
            if self.training and self.relaxation.stochastic:
                # A function of the count alone: equal on all ranks, and after a resume.
                generator = torch.Generator().manual_seed(self.seed * 1_000_003 + int(self.draws))
            matrix = self.relaxation(self.logits, self.mask, generator)
        weight = next(self.supernet.parameters(), self.logits)
        return Gates(self.choices, matrix.to(weight.dtype))

    def draw(self) -> None:
        """Have the next forward passes use new noise."""
        self.draws += 1

    # As the state of a search.

    @property
    def mask(self) -> Tensor:
        """Which options are open, boolean `[num_choices, most_options]`."""
        return self.closed == 0

    def architecture_parameters(self) -> list[nn.Parameter]:
        """The logits, in a list as an optimizer takes it."""
        return [self.logits]

    def weight_parameters(self) -> list[nn.Parameter]:
        """All parameters but the logits."""
        return list(self.supernet.parameters())

    def probabilities(self) -> Gates:
        """How probable each option is, after the logits and the mask."""
        return Gates(self.choices, self.relaxation.probabilities(self.logits.detach(), self.mask))

    def entropy(self) -> Tensor:
        """The mean entropy of the choices' probabilities, from 0 (all decided) to 1 (none decided)."""
        shares = self.probabilities().matrix
        total = shares.sum(dim=1, keepdim=True)
        shares = shares / total.clamp(min=torch.finfo(shares.dtype).tiny)
        entropies = -torch.special.xlogy(shares, shares).sum(dim=1)
        open_options = self.mask.sum(dim=1)
        undecided = open_options > 1
        if not undecided.any():
            return entropies.new_zeros(())
        return (entropies[undecided] / open_options[undecided].to(shares.dtype).log()).mean()

    def parameter_free_share(self) -> float:
        """The share of choices, among those that offer both, whose most probable option has no weights."""
        probabilities = self.probabilities()
        counted = free = 0
        for choice in self.choices:
            are_free = [option in self.space.parameter_free for option in choice.options]
            if any(are_free) and not all(are_free):
                counted += 1
                free += are_free[int(probabilities[choice.name].argmax())]
        return free / counted if counted else 0.0

    def close(self, name: str, option: Value) -> None:
        """Close an option for good: its gate is zero from now on.

        Raises:
            ValueError: no such choice or option, or it is the last one that is open.
        """
        row = next((row for row, choice in enumerate(self.choices) if choice.name == name), None)
        if row is None:
            raise ValueError(f"the searchable has no choice {name!r}")
        column = self.choices[row].index(option)
        remaining = self.mask[row].clone()
        remaining[column] = False
        if not remaining.any():
            raise ValueError(f"{option!r} is the last open option of {name!r}")
        self.closed[row, column] = 1.0

    @contextmanager
    def hold(self, held: Architecture | Mapping[str, Tensor]) -> Iterator[None]:
        """Use an architecture's gates, or any others, instead of those of the logits, inside the `with` block.

        Raises:
            ValueError: the architecture is not of the space, or the gates are not of its choices.
        """
        before = self._held
        self.put(held)
        try:
            yield
        finally:
            self._held = before

    def put(self, held: Architecture | Mapping[str, Tensor] | None) -> None:
        """Use these gates until told otherwise; None: those of the logits again.

        Raises:
            ValueError: the architecture is not of the space, or the gates are not of its choices.
        """
        if isinstance(held, Architecture):
            held = self.space.gates(held)
        self._held = None if held is None else Gates.of(self.choices, held)

    def prefer(self, architecture: Architecture, strength: float = 10.0) -> None:
        """Set the logits so that an architecture is by far the most probable.

        Raises:
            ValueError: the architecture is not of the space.
        """
        with torch.no_grad():
            self.logits.copy_(strength * self.space.gates(architecture).matrix)

    # What is found.

    def architecture(self) -> Architecture:
        """What the space decodes from the probabilities as they are now."""
        return self.space.decode(self.probabilities())

    def derive(self, keep_weights: bool = False) -> nn.Module:
        """The network of `architecture()`: an ordinary module, ready to be trained.

        Args:
            keep_weights: take over the supernet's weights; else the network is freshly initialised.

        Raises:
            ParameterCapError: the network would have more parameters than the space allows.
        """
        architecture = self.architecture()
        if keep_weights:
            return self.space.inherited(self.supernet, architecture, self.task)
        return self.space.network(architecture, self.task).to(self.logits.device)

    def __getattr__(self, name: str) -> Any:
        """What torch keeps under a name, or an error for those whose code asks its own network for more.

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

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Searchable:
        applied: Searchable = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.logits.dtype in (torch.bfloat16, torch.float16):
            # Half precision loses the small steps of an architecture's optimizer; the weights may have it.
            self.logits.data = self.logits.data.float()
        return applied

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, local_metadata: Any, strict: bool, *rest: Any
    ) -> None:
        signature = state_dict.get(prefix + "signature")
        if signature is not None and not torch.equal(signature.cpu().bool(), signature_of(self.choices).cpu()):
            raise ValueError(
                f"the weights were saved by a searchable with other choices than this one of the space "
                f"{self.space.name!r}; make it with the same arguments"
            )
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, *rest)


def make_relaxation(relaxation: str | Relaxation) -> Relaxation:
    """A relaxation by its registered name; one that is made already is given back.

    Raises:
        ValueError: no relaxation has that name.
    """
    if isinstance(relaxation, Relaxation):
        return relaxation
    made: Relaxation = registry.load("relaxations", relaxation)()
    return made


def signature_of(choices: tuple[Any, ...]) -> Tensor:
    """A checksum of names and options, boolean `[32]`: a few bits survive any average or cast of buffers."""
    text = json.dumps([[choice.name, list(choice.options)] for choice in choices])
    checksum = zlib.crc32(text.encode())
    return torch.tensor([bool(checksum >> bit & 1) for bit in range(32)])
