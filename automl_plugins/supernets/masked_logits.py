"""Architecture logits with a mask: the state that a search changes, and the architecture that it stands for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.budget import Budget
from automl_plugins.spaces.choice import Value
from automl_plugins.spaces.task import Task
from automl_plugins.supernets.decoding import decoding_scores, mean_entropy, signature_of
from automl_plugins.supernets.gated_space import GatedSpace
from automl_plugins.supernets.gates import Gates, option_mask
from automl_plugins.supernets.limits import Limits
from automl_plugins.supernets.masks import mask_with
from automl_plugins.supernets.nearby import most_probable
from automl_plugins.supernets.relaxations import Relaxation

if TYPE_CHECKING:
    from automl_plugins.spaces.draws import Generator

_INITIAL_SCALE = 1e-3


class MaskedLogits(nn.Module):
    """The logits of a space's gates, which of their options are open, and what they stand for; it has no weights.

    `Searchable` is this beside a supernet.

    Args:
        space: what is searched.
        task: what a network must fit; its costs depend on it.
        relaxation: says what is probable.
        seed: of the initial logits.
        budget: limits of what networks may cost; the space's `max_parameters` alone where left out.
    """

    closed: Tensor
    signature: Tensor

    def __init__(
        self, space: GatedSpace, task: Task, relaxation: Relaxation, seed: int = 0, budget: Budget | None = None
    ) -> None:
        super().__init__()
        self.budget = budget
        self.space = space
        self.task = task
        self.seed = seed
        self.choices = space.gate_choices
        self.relaxation = relaxation
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
        self._limits: Limits | None = None
        self._decoded: tuple[Tensor, Tensor, Architecture] | None = None

    @property
    def relaxation(self) -> Relaxation:
        """The map from logits to gates."""
        return self._relaxation

    @relaxation.setter
    def relaxation(self, relaxation: Relaxation) -> None:
        rows = {choice.name: row for row, choice in enumerate(self.choices)}
        relaxation.group([[rows[name] for name in group] for group in self.space.gate_groups])
        self._relaxation = relaxation

    # Limits.

    @property
    def mask(self) -> Tensor:
        """The options that are open, boolean `[num_choices, most_options]`."""
        return self.closed == 0

    @property
    def limits(self) -> Limits:
        """The architectures that may be used and found: without closed options, within the limits of cost."""
        mask = self.mask.cpu()
        # The mask is a buffer, which others may load or write.
        if self._limits is None or not torch.equal(self._limits.mask, mask):
            before = self._limits
            self._limits = Limits(self.space, self.task, mask, self.budget) if before is None else before.narrowed(mask)
        return self._limits

    def sample(self, generator: Generator, among: Collection[Architecture] | None = None) -> Architecture:
        """Draw an architecture without closed options, within the limits of cost: see `Limits.sample`.

        Args:
            generator: a `numpy.random.Generator` or a `torch.Generator`; nothing else is random.
            among: draw uniformly from those of these architectures that are within the limits; None: from all.

        Raises:
            ValueError: none of `among` is within the limits.
            LimitError: no architecture within them was found.
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
            ParameterCapError: none would be left within the limits of cost.
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
            ParameterCapError: none would be left within the limits of cost.
        """
        others = [option for choice in self.choices if choice.name == name for option in choice.options]
        closed = [option for option in others if option not in options]
        self._use_mask(mask_with(self.space, self.mask.cpu(), name, opened=options, closed=closed))

    def keep_offered(self, offered: Mapping[str, Collection[Value]]) -> None:
        """Leave no options open but these, of the space's choices that are gates, too; others stay as they are.

        Raises:
            ValueError: no architecture would be left.
            ParameterCapError: none would be left within the limits of cost.
        """
        mask = self.mask.cpu()
        for choice in self.choices:
            left = offered.get(choice.name, ()) if choice in self.space.choices else ()
            closed = [option for option in choice.options if option not in left]
            if left and closed:
                mask = mask_with(self.space, mask, choice.name, closed=closed)
        if not torch.equal(mask, self.mask.cpu()):
            self._use_mask(mask)

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

    # What is found.

    def set_logits(self, architecture: Architecture, strength: float = 10.0) -> None:
        """Set the logits so that an architecture is by far the most probable.

        Raises:
            ValueError: the architecture is not of the space, or has a closed option.
            LimitError: it costs more than the limits allow.
        """
        self.space.validate(architecture)
        self.limits.check(architecture)
        with torch.no_grad():
            self.logits.copy_(strength * self.space.gates(architecture).matrix)

    def architecture(self) -> Architecture:
        """The most probable architecture without closed options, within the limits of cost: see `nearby.most_probable`.

        Raises:
            DivergedError: a logit of an open option is not a number, or infinite.
            LimitError: no architecture within them was found.
        """
        scores, mask = decoding_scores(self.choices, self.logits, self.mask, self.relaxation), self.mask.cpu()
        # Decoding within limits takes time, and the same logits are decoded often.
        if self._decoded is None or not all(map(torch.equal, self._decoded[:2], (scores, mask))):
            self._decoded = (scores, mask, most_probable(self.limits, scores))
        return self._decoded[2]

    # Saving.

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        applied: Self = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
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
