"""The draws of a space that was narrowed to a task: within the task's options and the cap of parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from automl_plugins.errors import ParameterCapError
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice
from automl_plugins.spaces.draws import Draws, draw_integer
from automl_plugins.spaces.mutation import Make, complete, mutate, neighbours
from automl_plugins.spaces.narrowing import Count, cheapest, impossible_options, narrowed

if TYPE_CHECKING:
    from automl_plugins.spaces.draws import Generator

_DRAWS = 16
"""Draws that are tried before one is brought within the cap: above a rate of one in five, 97 of 100 are found so."""
_ENOUGH = 4
"""Draws within the cap, of `_DRAWS`, from which on the options are left as they are."""
_MOST_PROBES = 300
"""Networks that are counted to find out which options can be had within the cap; others are left open."""
_NEIGHBOURS = 1000
"""Neighbours that are looked through for one within the cap, where random ones are not."""
_MOST_COUNTS = 20_000
"""Counts that are remembered."""


class Within:
    """Architectures of some choices within a cap of parameters.

    Args:
        choices: of the space, with the options that the task admits.
        make: an architecture of values.
        count: the trainable parameters of an architecture's network.
        cap: the most that there may be; None: no cap.

    Raises:
        ParameterCapError: no network within the cap was found; the message names the smallest one's size.
    """

    def __init__(self, choices: Sequence[Choice], make: Make, count: Count, cap: int | None) -> None:
        self.choices, self.cap = tuple(choices), cap
        self._make, self._count = make, count
        self._admitted = {choice.name: choice.options for choice in choices}
        self._counts: dict[Architecture, int] = {}
        self._small: Architecture | None = None
        if cap is not None:
            self._narrow(cap)

    def _narrow(self, cap: int) -> None:
        generator = np.random.default_rng(0)
        drawn: list[Architecture] = []
        for _ in range(_DRAWS):
            found = self._drawn(generator)
            drawn += [found] * self.admits(found)
            if len(drawn) >= _ENOUGH:
                return
        smallest = self.small
        if drawn and not self.admits(smallest):
            smallest = self._small = min(drawn, key=self.count)
        if not self.admits(smallest):
            raise ParameterCapError(
                f"max_parameters={cap:,} admits no network of the space {smallest.space!r} for this task: the smallest "
                f"one that was found has {self.count(smallest):,} parameters; allow as many, or make the space narrower"
            )
        impossible = impossible_options(self._draws, smallest, self.count, cap, _MOST_PROBES)
        self.choices = narrowed(self.choices, impossible)

    @property
    def _draws(self) -> Draws:
        return Draws(self.choices, self._make, lambda choice, values: choice.options)

    @property
    def small(self) -> Architecture:
        """A small architecture, see `narrowing.cheapest`; within the cap if one was found there."""
        if self._small is None:
            draws = self._draws
            self._small = cheapest(draws, self._drawn(np.random.default_rng(0)), self.count)
        return self._small

    def count(self, architecture: Architecture) -> int:
        """The trainable parameters of the network of an architecture."""
        if architecture not in self._counts:
            if len(self._counts) >= _MOST_COUNTS:
                self._counts.clear()
            self._counts[architecture] = self._count(architecture)
        return self._counts[architecture]

    def admits(self, architecture: Architecture) -> bool:
        """True where an architecture has options of the task alone, and its network keeps the cap."""
        return self.refusal(architecture) is None

    def refusal(self, architecture: Architecture) -> str | None:
        """The reason why an architecture is not admitted; None: it is."""
        for name, value in architecture.items():
            if value not in self._admitted.get(name, ()):
                return f"the task admits no {value!r} for {name!r}"
        if self.cap is None or self.count(architecture) <= self.cap:
            return None
        return too_many(self.count(architecture), self.cap)

    def sample(self, generator: Generator) -> Architecture:
        """Every active choice uniformly, in order, drawn again until the cap is kept.

        If hardly any draw keeps it, one is brought within: choice by choice, in a random order, it takes the values
        of a small architecture, as few of them as are needed.
        """
        for _ in range(_DRAWS):
            drawn = self._drawn(generator)
            if self.admits(drawn):
                return drawn
        return self._brought_within(drawn, generator)

    def mutate(self, architecture: Architecture, generator: Generator) -> Architecture:
        """Another option for one active choice; choices that become active are drawn, others stay.

        If no such neighbour that was looked at is within the cap, a mutation is brought within it, so that more
        than one choice changes.

        Raises:
            ValueError: no active choice has a second option.
        """
        for _ in range(_DRAWS):
            mutated = mutate(self.choices, architecture, self._make, generator)
            if self.admits(mutated):
                return mutated
        near = list(islice(self.neighbours(architecture), _NEIGHBOURS))
        if near:
            return near[draw_integer(len(near), generator)]
        return self._brought_within(mutated, generator)

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """All architectures within the cap that differ in one choice and in what follows from it, each once."""
        return filter(self.admits, neighbours(self.choices, architecture, self._make))

    def _drawn(self, generator: Generator) -> Architecture:
        return self._make(complete(self.choices, {}, generator))

    def _brought_within(self, drawn: Architecture, generator: Generator) -> Architecture:
        return self._draws.brought_within(drawn, self.small, self.small, self.admits, generator)


def prune_beyond(within: Within, architecture: Architecture) -> None:
    """End an Optuna trial that proposes an architecture which is not admitted.

    Raises:
        optuna.TrialPruned: it is not; samplers learn from pruned trials to propose others.
    """
    refusal = within.refusal(architecture)
    if refusal is not None:
        import optuna

        raise optuna.TrialPruned(refusal)


def too_many(count: int, cap: int) -> str:
    """A network beyond a cap, in words."""
    return f"{count:,} parameters; max_parameters is {cap:,}"
