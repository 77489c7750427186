"""Choices with fewer options: those that a task admits, and that an architecture within limits can have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.budget import Budget, Load
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.completions import settled
from automl_plugins.spaces.draws import Draws

_ROUNDS = 20
"""Rounds of a descent; two or three are enough where costs add up."""
_MOST_LOOKED = 100
"""Architectures that are looked at to make small what an option opens."""
_SHORT_LOOK = 16
"""Architectures that are looked at beside those, one option of a choice changed in each."""
_SHORT_LOOKS = 160
"""The same, of all options together."""


def narrowed(choices: Sequence[Choice], closed: Mapping[str, Collection[Value]]) -> tuple[Choice, ...]:
    """Choices without some of their options; one that can then never be active is left out.

    Args:
        choices: in order; a choice stands after those that it requires.
        closed: the options that a choice is to lose, by its name; where it would lose all, it loses none.
    """
    left: dict[str, Choice] = {}
    for choice in choices:
        possible = [
            {parent: tuple(value for value in values if value in left[parent].options) for parent, values in items}
            for items in (alternative.items() for alternative in choice.alternatives)
            if left.keys() >= dict(items).keys()
        ]
        possible = [alternative for alternative in possible if all(alternative.values())]
        if choice.alternatives and not possible:
            continue
        options = tuple(option for option in choice.options if option not in closed.get(choice.name, ()))
        left[choice.name] = replace(choice, options=options or choice.options, requires=possible)
    return tuple(left.values())


def cheapest(
    draws: Draws,
    start: Architecture,
    load: Callable[[Architecture], Load],
    most: int,
    enough: bool = False,
    among: Collection[str] | None = None,
) -> Architecture:
    """An architecture whose load no other option of one choice makes smaller, found by descent.

    Args:
        draws: the choices and their open options.
        start: where the descent begins.
        load: of an architecture: what is to be small.
        most: how many other architectures are looked at.
        enough: end as soon as the load has no excess.
        among: names of choices that may change; None: all.
    """
    found, least, looked = start, load(start), 0
    for _ in range(_ROUNDS):
        before = least
        for choice in draws.choices:
            changes = choice.name in found and (among is None or choice.name in among)
            for option in draws.open_options(choice, found) if changes else ():
                if looked >= most or (enough and not least.excess):
                    return found
                other = draws.mixed({choice.name: option}, found)
                if other is not None and other != found:
                    looked += 1
                    if load(other) < least:
                        found, least = other, load(other)
        if least == before:
            break
    return found


class Witnesses:
    """For each option of choices an admitted architecture that has it, as far as one is found.

    An option with a witness can be had, for certain. One without was looked for: in random draws, in admitted draws and
    a small architecture that are given the option and what it requires, and from these by descents that keep it. If
    costs add up over choices, the small architecture with the option is the cheapest with it, and nothing is missed.

    Args:
        draws: the choices and their open options.
        budget: says what is admitted.
    """

    def __init__(self, draws: Draws, budget: Budget) -> None:
        self.draws, self.budget = draws, budget
        self.found: dict[tuple[str, Value], Architecture] = {}
        self.drawn: list[Architecture] = []
        """Draws that are admitted."""
        self.least: Architecture | None = None
        """The draw with the least load."""

    def draw(self, most: int) -> None:
        """Look for witnesses among random draws, until there are all."""
        generator = np.random.default_rng(0)
        for _ in range(most):
            drawn = self.draws.uniform(generator)
            if drawn is None:
                continue
            if self.least is None or self.budget.load(drawn) < self.budget.load(self.least):
                self.least = drawn
            if self.budget.admits(drawn):
                self.drawn.append(drawn)
                self.add(drawn)
            if not self.missing:
                break

    def add(self, architecture: Architecture) -> None:
        """Take an admitted architecture for a witness of its options."""
        for name, value in architecture.items():
            self.found.setdefault((name, value), architecture)

    @property
    def missing(self) -> list[tuple[Choice, Value]]:
        """The options without a witness."""
        return [
            (choice, option)
            for choice in self.draws.choices
            for option in choice.options
            if (choice.name, option) not in self.found
        ]

    def near(self, starts: Sequence[Architecture]) -> None:
        """Look for the witnesses that are missing among some architectures that are given the option.

        Args:
            starts: the architectures, those of a small load first.
        """
        for choice, option in self.missing:
            for start in () if (choice.name, option) in self.found else starts:
                draws = self._draws_with(choice, option)
                given = None if draws is None else draws.mixed(start)
                if given is not None and self.budget.admits(given):
                    self.add(given)
                    break

    def descend(self, small: Architecture) -> None:
        """Look for the witnesses that are missing by descent from a small architecture that is given the option."""
        short = _SHORT_LOOKS
        for choice, option in self.missing:
            draws = None if (choice.name, option) in self.found else self._draws_with(choice, option)
            given = None if draws is None else draws.mixed(small)
            if draws is not None and given is not None:
                # What the option opens has values without heed; the rest is small already, so a short look is enough.
                opened = [each.name for each in draws.choices if each.name not in small]
                given = cheapest(draws, given, self.budget.load, _MOST_LOOKED, enough=True, among=opened)
                if not self.budget.admits(given) and short > 0:
                    short -= _SHORT_LOOK
                    given = cheapest(draws, given, self.budget.load, _SHORT_LOOK, enough=True)
                if self.budget.admits(given):
                    self.add(given)

    def _draws_with(self, choice: Choice, option: Value) -> Draws | None:
        """The draws of architectures that have an option; None: there are none."""
        allowed = settled(self.draws.choices, {choice.name: (option,)}, np.random.default_rng(0))
        if allowed is None:
            return None

        def open_options(other: Choice, values: Mapping[str, Value]) -> Sequence[Value]:
            options = self.draws.open_options(other, values)
            return [value for value in options if value in allowed.get(other.name, other.options)]

        return Draws(self.draws.choices, self.draws.make, open_options)
