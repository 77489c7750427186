"""Choices with fewer options: those that a task admits, and that an architecture within a cap can have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.completions import settled
from automl_plugins.spaces.draws import Draws

_ROUNDS = 20
"""Rounds of a descent; two or three are enough where counts add up."""

Count = Callable[[Architecture], int]


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


def cheapest(draws: Draws, start: Architecture, count: Count, enough: int | None = None) -> Architecture:
    """An architecture whose count no other option of one choice makes smaller, found by descent.

    Args:
        draws: the choices and their open options.
        start: where the descent begins.
        count: of an architecture: what is to be small.
        enough: a count at which the descent may end.
    """
    found, least = start, count(start)
    for _ in range(_ROUNDS):
        before = least
        for choice in draws.choices:
            if choice.name not in found:
                continue
            for option in draws.open_options(choice, found):
                if enough is not None and least <= enough:
                    return found
                other = draws.mixed({choice.name: option}, found)
                if other is not None and other != found and count(other) < least:
                    found, least = other, count(other)
        if least == before:
            break
    return found


def impossible_options(
    draws: Draws, small: Architecture, count: Count, cap: int, most: int
) -> dict[str, frozenset[Value]]:
    """The options of choices that no architecture within a cap has, as far as descent from a small one finds none.

    Args:
        draws: the choices and their open options.
        small: a small architecture, within the cap.
        count: of an architecture, which the cap is for.
        cap: the most that it may be.
        most: how many architectures are counted; options that are left then are taken for possible.
    """
    counted: set[Architecture] = set()

    def counting(architecture: Architecture) -> int:
        counted.add(architecture)
        return count(architecture)

    def is_possible(choice: Choice, option: Value) -> bool:
        allowed = settled(draws.choices, {choice.name: (option,)}, np.random.default_rng(0))
        if allowed is None:
            return False
        with_option = Draws(
            draws.choices,
            draws.make,
            lambda other, values: [
                value for value in draws.open_options(other, values) if value in allowed.get(other.name, other.options)
            ],
        )
        start = with_option.mixed(small)
        return start is not None and counting(cheapest(with_option, start, counting, enough=cap)) <= cap

    impossible: dict[str, set[Value]] = {}
    for choice in draws.choices:
        for option in choice.options:
            if len(counted) < most and not is_possible(choice, option):
                impossible.setdefault(choice.name, set()).add(option)
    return {name: frozenset(options) for name, options in impossible.items()}
