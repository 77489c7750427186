"""The architectures that a search may use and find: those without closed options, within limits of cost."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from automl_plugins.errors import LimitError, ParameterCapError
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.budget import Budget, Load
from automl_plugins.spaces.choice import Value
from automl_plugins.spaces.draws import Draws, draw_integer
from automl_plugins.spaces.limits import REFERENCES, budget_of
from automl_plugins.spaces.narrowing import cheapest
from automl_plugins.spaces.task import Task
from automl_plugins.supernets.gated_space import GatedSpace
from automl_plugins.supernets.gates import Closed
from automl_plugins.supernets.masks import closed_options, decoded_with, masked_scores

if TYPE_CHECKING:
    from automl_plugins.spaces.draws import Generator

_DRAWS = 16
"""Draws that are tried before one is brought within the limits: above a rate of one in five, 97 of 100 are found so."""
_MOST_LOOKED = 2_000
"""Architectures that are looked at to find a small one."""
_CLOSED = Load(math.inf, math.inf)
"""The load of an architecture that must not be found."""


class Limits:
    """A space's architectures without closed options, whose networks for a task keep limits of cost.

    Args:
        space: of the architectures.
        task: what their networks must fit.
        mask: which options of the gates are open, boolean `[num_choices, most_options]`.
        budget: the limits; the space's `max_parameters` alone where left out.
    """

    def __init__(self, space: GatedSpace, task: Task, mask: Tensor, budget: Budget | None = None) -> None:
        self.space, self.task = space, task
        self.mask = mask.cpu()
        self.choices = space.gate_choices
        self.budget = budget_of(space, task, {REFERENCES: None}) if budget is None else budget
        self.example: Architecture | None = None
        """An architecture that is known to be admitted."""
        self.closed: Closed = closed_options(self.choices, self.mask)

    @property
    def _draws(self) -> Draws:
        space = self.space
        return Draws(
            space.choices,
            lambda values: Architecture(space.name, space.version, values),
            lambda choice, values: space.open_options(choice, values, self.closed),
        )

    # Asking.

    def closed_option(self, architecture: Architecture) -> tuple[str, Value] | None:
        """The first gate that an architecture has at a closed option, and that option; None: there is none."""
        if not self.closed:
            return None
        values = self.space.gate_values(architecture)
        for name, options in self.closed.items():
            if name in values and values[name] in options:
                return name, values[name]
        return None

    def keeps_limits(self, architecture: Architecture) -> bool:
        """True where the network costs no more than the limits allow."""
        return self.budget.admits(architecture)

    def excess(self, architecture: Architecture) -> float:
        """The part by which a network is beyond the limits; 0: it keeps them."""
        return self.budget.load(architecture).excess

    def admits(self, architecture: Architecture) -> bool:
        """True where an architecture has no closed option and keeps the limits."""
        return self.closed_option(architecture) is None and self.keeps_limits(architecture)

    def check_open(self, architecture: Architecture) -> None:
        """Refuse an architecture with a closed option.

        Raises:
            ValueError: it has one; the message names it.
        """
        found = self.closed_option(architecture)
        if found is not None:
            name, option = found
            (choice,) = (choice for choice in self.choices if choice.name == name)
            left = [open_option for open_option in choice.options if open_option not in self.closed[name]]
            raise ValueError(
                f"the architecture has {option!r} for {name!r}, which is closed; open: {', '.join(map(repr, left))}; "
                "Searchable.open opens it again"
            )

    def check(self, architecture: Architecture) -> None:
        """Refuse what is not admitted.

        Raises:
            ValueError: it has a closed option; the message names it.
            LimitError: it costs too much.
        """
        self.check_open(architecture)
        refusal = self.budget.refusal(architecture)
        if refusal is not None:
            kind = ParameterCapError if "params" in self.budget.broken(architecture) else LimitError
            raise kind(f"the network would have {refusal}")

    def check_any(self) -> None:
        """Refuse limits that admit nothing.

        Raises:
            LimitError: no network within the limits was found; the message names the smallest one's size.
        """
        if not self.budget.limits or (self.example is not None and self.keeps_limits(self.example)):
            return
        generator = torch.Generator().manual_seed(0)
        for _ in range(_DRAWS):
            drawn = self._draw(generator)
            if drawn is not None and self.keeps_limits(drawn):
                self.example = drawn
                return
        if not self.keeps_limits(self.smallest):
            raise self.budget.admits_nothing(self.smallest, " with the open options" if self.closed else "")
        self.example = self.smallest

    def narrowed(self, mask: Tensor) -> Limits:
        """The limits with other options open, which remember what was counted."""
        other = Limits(self.space, self.task, mask, self.budget)
        if self.example is not None and other.closed_option(self.example) is None:
            other.example = self.example
        return other

    # Drawing.

    def sample(self, generator: Generator) -> Architecture:
        """Draw an architecture: every active choice uniformly among its open options, in order, within the limits.

        Draws are repeated until one keeps them. If hardly any does, one is brought within: choice by choice,
        in a random order, it takes the values of the smallest architecture, no more of them than it needs to.

        Args:
            generator: a `numpy.random.Generator` or a `torch.Generator`; nothing else is random.

        Raises:
            LimitError: no architecture within the limits was found.
        """
        drawn: Architecture | None = None
        for _ in range(_DRAWS):
            found = self._draw(generator)
            if found is not None:
                if self.keeps_limits(found):
                    return found
                drawn = found
        if drawn is None:
            drawn = self.decoded(self._noise(generator))
            if self.keeps_limits(drawn):
                return drawn
        self.check_any()
        small = self.smallest
        example = small if self.keeps_limits(small) else cast(Architecture, self.example)
        return self._draws.brought_within(drawn, small, example, self.admits, generator)

    def sample_among(self, architectures: Collection[Architecture], generator: Generator) -> Architecture:
        """Draw uniformly from those of some architectures that are admitted, in their order.

        Raises:
            ValueError: none of them is.
        """
        admitted = [architecture for architecture in architectures if self.admits(architecture)]
        if not admitted:
            raise ValueError(f"none of {len(architectures)} architectures has open options alone and keeps the limits")
        return admitted[draw_integer(len(admitted), generator)]

    def completed(self, *sources: Mapping[str, Value]) -> Architecture | None:
        """The architecture with every active choice as in the first source that has an open value for it.

        Returns:
            None: it has a closed option, or costs too much.
        """
        found = self._draws.mixed(*sources)
        return found if found is not None and self.admits(found) else None

    def _draw(self, generator: Generator) -> Architecture | None:
        """One draw without closed options, limits or none; None: what was drawn has one after all."""
        if not self.closed:
            return self.space.sample(generator)
        found = self._draws.uniform(generator)
        return None if found is None or self.closed_option(found) is not None else found

    def _noise(self, generator: Generator) -> Tensor:
        """Random scores; small whole numbers would tie."""
        most = 2**30
        entries = [float(1 + draw_integer(most, generator)) / most for _ in range(self.mask.numel())]
        return torch.tensor(entries, dtype=torch.float64).view(self.mask.shape)

    # Decoding, limits or none; within them, see `nearby.most_probable`.

    def decoded(self, scores: Tensor) -> Architecture:
        """The space's decoding of scores `[num_choices, most_options]`, without closed options.

        Raises:
            ValueError: no architecture is left without closed options; the message names the first one.
        """
        found = decoded_with(self.space, scores, self.mask)
        if found is None:
            self.check_open(self.space.decode(masked_scores(self.choices, scores, self.mask)))
            raise ValueError(f"no architecture of the space {self.space.name!r} is left")
        return found

    @cached_property
    def smallest(self) -> Architecture:
        """An architecture without closed options whose network is small: see `narrowing.cheapest`."""
        even = torch.ones(self.mask.shape, dtype=torch.float64)
        return cheapest(self._draws, self.decoded(even), self._load_open, _MOST_LOOKED)

    def _load_open(self, architecture: Architecture) -> Load:
        return _CLOSED if self.closed_option(architecture) else self.budget.load(architecture)
