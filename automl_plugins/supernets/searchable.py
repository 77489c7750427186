"""The searchable: a supernet with its architecture logits, put where a network was."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from automl_plugins.errors import DivergedError
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Value
from automl_plugins.spaces.task import Task
from automl_plugins.supernets.decoding import decoding_scores, mean_entropy, signature_of
from automl_plugins.supernets.eager import run_eagerly
from automl_plugins.supernets.gated_space import GatedSpace
from automl_plugins.supernets.gates import Gates, option_mask
from automl_plugins.supernets.limits import Limits
from automl_plugins.supernets.masks import mask_with
from automl_plugins.supernets.nearby import most_probable
from automl_plugins.supernets.relaxations import Relaxation
from automl_plugins.supernets.supernet import Supernet, inherited

if TYPE_CHECKING:
    from automl_plugins.spaces.draws import Generator

_REDRAWS = 32
"""Draws of single paths at most until one keeps the cap."""
_INITIAL_SCALE = 1e-3


class Searchable(nn.Module):
    """A supernet whose gates come from architecture logits of its own; called like any network of the space.

    The logits are an ordinary parameter, so `state_dict`, `deepcopy`, optimizers and plain training
    loops treat them like any other. A stochastic relaxation draws anew at each forward pass in training mode;
    what it draws is a function of `seed` and of the number of draws alone, which the `state_dict` keeps.

    Options may be closed and opened again (`close`, `open`, `keep`), and the space may have a cap of parameters
    (`max_parameters`). Samples and decoded architectures keep to both; a closed option's gate is zero, whatever gates
    are held. The mask is part of the `state_dict`.

    Args:
        space: what is searched; `SupernetSpace.searchable` makes the rest of it.
        task: what a network must fit.
        supernet: the weights, built by the space for the task.
        relaxation: how logits become gates.
        seed: of the initial logits and of the draws.
    """

    closed: Tensor
    signature: Tensor

    def __init__(
        self,
        space: GatedSpace,
        task: Task,
        supernet: Supernet,
        relaxation: Relaxation,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.space = space
        self.task = task
        self.seed = seed
        self.relaxation = relaxation
        self.supernet = supernet
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
        """The number of draws of noise, always on the CPU; kept in the `state_dict` as the extra state."""
        self.draws_by_itself = True
        """True where each forward pass in training mode draws anew; a search that draws once a step switches it off."""
        self._held: Gates | None = None
        self._limits: Limits | None = None
        self._decoded: tuple[Tensor, Tensor, Architecture] | None = None

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
        beyond the space's cap are drawn again, a bounded number of times.
        """
        for _ in range(_REDRAWS):
            self.draws += 1
            if not self._draws_beyond_cap():
                break

    def _draws_beyond_cap(self) -> bool:
        if self.space.max_parameters is None or not (self.training and self.relaxation.single_path):
            return False
        matrix = self.gates().matrix.detach().cpu()
        drawn = self.space.decode(Gates(self.choices, matrix))
        is_architecture = torch.equal(self.space.gates(drawn, matrix.dtype).matrix, matrix)
        return is_architecture and not self.limits.keeps_cap(drawn)

    # As the state of a search.

    @property
    def mask(self) -> Tensor:
        """The options that are open, boolean `[num_choices, most_options]`."""
        return self.closed == 0

    def architecture_parameters(self) -> list[nn.Parameter]:
        """The logits, in a list as an optimizer takes it."""
        return [self.logits]

    def weight_parameters(self) -> list[nn.Parameter]:
        """All parameters but the logits."""
        return list(self.supernet.parameters())

    @property
    def limits(self) -> Limits:
        """The architectures that may be used and found: without closed options, within the space's cap."""
        mask = self.mask.cpu()
        # The mask is a buffer, which others may load or write.
        if self._limits is None or not torch.equal(self._limits.mask, mask):
            self._limits = Limits(self.space, self.task, mask) if self._limits is None else self._limits.narrowed(mask)
        return self._limits

    def sample(self, generator: Generator, among: Collection[Architecture] | None = None) -> Architecture:
        """Draw an architecture without closed options, within the space's cap: see `Limits.sample`.

        Args:
            generator: a `numpy.random.Generator` or a `torch.Generator`; nothing else is random.
            among: draw uniformly from those of these architectures that are within the limits; None: from all.

        Raises:
            ValueError: none of `among` is within the limits.
            ParameterCapError: no architecture within the cap was found.
        """
        return self.limits.sample(generator) if among is None else self.limits.sample_among(among, generator)

    def probabilities(self) -> Gates:
        """The probability of each option, after the logits and the mask."""
        return Gates(self.choices, self.relaxation.probabilities(self.logits.detach(), self.mask))

    def entropy(self) -> Tensor:
        """The mean entropy of the choices' probabilities, from 0 (all decided) to 1 (none decided)."""
        return mean_entropy(self.probabilities().matrix, self.mask)

    def parameter_free_share(self) -> float:
        """The share of operations without weights in the architecture that would be found now.

        Counted are its choices that offer both options with weights and options without; what an architecture does not
        have, such as an edge that is not kept, does not count.

        Raises:
            DivergedError: see `architecture`.
        """
        free = self.space.parameter_free
        architecture = self.architecture()
        counted = [
            architecture[choice.name] in free
            for choice in self.space.choices
            if choice.name in architecture
            and 0 < sum(option in free for option in choice.options) < len(choice.options)
        ]
        return sum(counted) / len(counted) if counted else 0.0

    def close(self, name: str, *options: Value) -> None:
        """Close options of a choice: their gates are zero, and they are neither sampled nor found until opened again.

        Raises:
            ValueError: no such choice or option, or no architecture would be left without them; nothing is closed then.
            ParameterCapError: none would be left within the space's cap.
        """
        self._use_mask(mask_with(self.space, self.mask.cpu(), name, closed=options))

    def open(self, name: str, *options: Value) -> None:
        """Open options of a choice that were closed.

        Raises:
            ValueError: no such choice or option.
        """
        self.closed.copy_(~mask_with(self.space, self.mask.cpu(), name, opened=options))

    def keep(self, name: str, *options: Value) -> None:
        """Leave these options of a choice open and no others; few-shot search splits a supernet so.

        Raises:
            ValueError: no such choice or option, no option, or no architecture would be left.
            ParameterCapError: none would be left within the space's cap.
        """
        others = [option for choice in self.choices if choice.name == name for option in choice.options]
        closed = [option for option in others if option not in options]
        self._use_mask(mask_with(self.space, self.mask.cpu(), name, opened=options, closed=closed))

    @contextmanager
    def masked(self) -> Iterator[None]:
        """Options closed or opened inside the `with` block are as they were before, after it."""
        before = self.closed.clone()
        try:
            yield
        finally:
            self.closed.copy_(before)

    def _use_mask(self, mask: Tensor) -> None:
        limits = self.limits.narrowed(mask)
        limits.check_any()
        self._limits = limits
        self.closed.copy_(~mask)

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
        without it it would be another one. The cap does not count here.

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

    def set_logits(self, architecture: Architecture, strength: float = 10.0) -> None:
        """Set the logits so that an architecture is by far the most probable.

        Raises:
            ValueError: the architecture is not of the space, or has a closed option.
            ParameterCapError: it has more parameters than the space allows.
        """
        self.space.validate(architecture)
        self.limits.check(architecture)
        with torch.no_grad():
            self.logits.copy_(strength * self.space.gates(architecture).matrix)

    # What is found.

    def architecture(self) -> Architecture:
        """The most probable architecture without closed options, within the space's cap: see `nearby.most_probable`.

        Raises:
            DivergedError: a logit of an open option is not a number, or infinite.
            ParameterCapError: no architecture within the cap was found.
        """
        scores, mask = decoding_scores(self.choices, self.logits, self.mask, self.relaxation), self.mask.cpu()
        # Decoding within a cap takes time, and the same logits are decoded often.
        if self._decoded is None or not all(map(torch.equal, self._decoded[:2], (scores, mask))):
            self._decoded = (scores, mask, most_probable(self.limits, scores))
        return self._decoded[2]

    def derive(self, keep_weights: bool = False) -> nn.Module:
        """The network of `architecture()`: an ordinary module, ready to be trained.

        Args:
            keep_weights: take over the supernet's weights; else the network is freshly initialised.

        Raises:
            DivergedError: see `architecture`; or weights to be taken over are not finite.
            ParameterCapError: see `architecture`.
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
