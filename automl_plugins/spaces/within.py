"""The draws of a space that was narrowed to a task: within the task's options and limits of cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.budget import Budget
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.draws import Draws
from automl_plugins.spaces.mutation import Make, complete, mutate, neighbours
from automl_plugins.spaces.narrowing import Witnesses, cheapest, narrowed

if TYPE_CHECKING:
    from automl_plugins.spaces.draws import Generator

_DRAWS = 16
"""Draws that are tried before one is brought within: above a rate of one in five, 97 of 100 are found so."""
_FIRST_DRAWS = 48
"""Draws among which options are looked for: nine of ten of eight options each turn up in as many."""
_STARTS = 3
"""Admitted draws, the cheapest, that are given options which were not drawn."""
_MUTATIONS = 8
"""Mutations that are tried before one is brought within."""
_MOST_LOOKED = 600
"""Architectures that are looked at to find a small one."""


class Within:
    """Architectures of some choices within a budget.

    Args:
        choices: of the space, with the options that the task admits.
        make: an architecture of values.
        budget: the limits of what networks may cost; it may have none.
        known: architectures whose options stay, where they are admitted.

    Raises:
        LimitError: no network within the limits was found; the message names the smallest one's size.
        ValueError: of none of the networks could the costs be counted.
    """

    def __init__(
        self, choices: Sequence[Choice], make: Make, budget: Budget, known: Iterable[Architecture] = ()
    ) -> None:
        self.choices = self._inner = tuple(choices)
        self.budget = budget
        self.witnesses: Mapping[tuple[str, Value], Architecture] = {}
        """For each option that is left, by its choice's name, an admitted architecture; empty without limits."""
        self._make = make
        self._admitted = {choice.name: choice.options for choice in choices}
        self._small: Architecture | None = None
        if budget.limits:
            self._narrow(known)

    def _narrow(self, known: Iterable[Architecture]) -> None:
        witnesses = Witnesses(self._draws, self.budget)
        witnesses.draw(_FIRST_DRAWS)
        self._check_counted(witnesses)
        witnesses.near(sorted(witnesses.drawn, key=self.budget.load)[:_STARTS])
        if witnesses.missing:
            self._small = self._smallest(witnesses)
            witnesses.add(self._small)
            witnesses.descend(self._small)
        for architecture in known if witnesses.missing else ():
            if self.admits(architecture):
                witnesses.add(architecture)
        closed: dict[str, set[Value]] = {choice.name: set() for choice in self._inner}
        for choice, option in witnesses.missing:
            closed[choice.name].add(option)
        # A choice that no admitted architecture makes is not offered; a draw that comes to it is drawn again.
        self._inner = narrowed(self._inner, closed)
        self.choices = tuple(choice for choice in self._inner if closed[choice.name] != set(choice.options))
        self.witnesses = witnesses.found

    def _smallest(self, witnesses: Witnesses) -> Architecture:
        start = witnesses.least or self._drawn(np.random.default_rng(0))
        small = cheapest(self._draws, start, self.budget.load, _MOST_LOOKED)
        if not self.budget.admits(small):
            if not witnesses.drawn:
                raise self.budget.admits_nothing(small)
            small = min(witnesses.drawn, key=self.budget.load)
        return small

    def _check_counted(self, witnesses: Witnesses) -> None:
        failure = self.budget.failure
        if failure is not None and not any(map(self.budget.figures, witnesses.drawn)):
            raise ValueError(
                f"{' and '.join(self.budget.limits)} cannot be counted: a network fails on the example inputs with "
                f"{type(failure).__name__}: {(str(failure).splitlines() or [''])[0]}"
            ) from failure

    @property
    def _draws(self) -> Draws:
        return Draws(self._inner, self._make, lambda choice, values: choice.options)

    @property
    def small(self) -> Architecture:
        """An admitted architecture of a small load, see `narrowing.cheapest`."""
        if self._small is None:
            drawn = self._drawn(np.random.default_rng(0))
            small = cheapest(self._draws, drawn, self.budget.load, _MOST_LOOKED)
            admitted = [small] if self.budget.admits(small) else list(self.witnesses.values())
            self._small = min(admitted, key=self.budget.load)
        return self._small

    def admits(self, architecture: Architecture) -> bool:
        """True where an architecture has options of the task alone, and its network keeps the limits."""
        return self._foreign(architecture) is None and self.budget.admits(architecture)

    def refusal(self, architecture: Architecture) -> str | None:
        """The reason why an architecture is not admitted; None: it is."""
        return self._foreign(architecture) or self.budget.refusal(architecture)

    def _foreign(self, architecture: Architecture) -> str | None:
        for name, value in architecture.items():
            if value not in self._admitted.get(name, ()):
                return f"the task admits no {value!r} for {name!r}"
        return None

    def sample(self, generator: Generator) -> Architecture:
        """Every active choice uniformly, in order, drawn again until the limits are kept.

        If hardly any draw keeps them, one is brought within: choice by choice, in a random order, it takes the values
        of a small architecture, as few of them as are needed.
        """
        for _ in range(_DRAWS):
            drawn = self._drawn(generator)
            if self.admits(drawn):
                return drawn
        return self._brought_within(drawn, generator)

    def mutate(self, architecture: Architecture, generator: Generator) -> Architecture:
        """Another option for one active choice; choices that become active are drawn, others stay.

        If none of some mutations is within the limits, the last one is brought within them, so that more than one
        choice changes.

        Raises:
            ValueError: no active choice has a second option.
        """
        for _ in range(_MUTATIONS):
            mutated = mutate(self._inner, architecture, self._make, generator)
            if self.admits(mutated):
                return mutated
        return self._brought_within(mutated, generator)

    def step(self, architecture: Architecture, generator: Generator) -> Architecture:
        """A mutation where it is within the limits, else the architecture itself: one network is counted."""
        mutated = mutate(self._inner, architecture, self._make, generator)
        return mutated if self.admits(mutated) else architecture

    def repaired(self, architecture: Architecture, generator: Generator) -> Architecture:
        """An architecture itself where it is admitted, else one brought within the limits, as `sample` does it."""
        whole = self._draws.mixed(architecture) or architecture
        return whole if self.admits(whole) else self._brought_within(whole, generator)

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """All architectures within the limits that differ in one choice and in what follows from it, each once."""
        return filter(self.admits, neighbours(self._inner, architecture, self._make))

    def _drawn(self, generator: Generator) -> Architecture:
        return self._make(complete(self._inner, {}, generator))

    def _brought_within(self, drawn: Architecture, generator: Generator) -> Architecture:
        return self._draws.brought_within(drawn, self.small, self.small, self.admits, generator)
