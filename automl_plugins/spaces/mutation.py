"""Architectures near one: it has another option for one choice, and whatever follows from that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.completions import completions
from automl_plugins.spaces.draws import draw_integer

if TYPE_CHECKING:
    from automl_plugins.spaces.draws import Generator

Make = Callable[[Mapping[str, Value]], Architecture]


def complete(choices: Sequence[Choice], values: Mapping[str, Value], generator: Generator) -> dict[str, Value]:
    """The active ones of `values`, and uniform draws for the active choices that have none, in order."""
    completed: dict[str, Value] = {}
    for choice in choices:
        if choice.is_active(completed):
            if choice.name in values:
                completed[choice.name] = values[choice.name]
            else:
                completed[choice.name] = choice.options[draw_integer(len(choice.options), generator)]
    return completed


def mutate(choices: Sequence[Choice], architecture: Architecture, make: Make, generator: Generator) -> Architecture:
    """Another option for one active choice; choices that become active are drawn, others stay.

    Raises:
        ValueError: no active choice has a second option.
    """
    # In the space's order: equal architectures, whatever order theirs is, mutate alike.
    mutable = [choice for choice in choices if choice.name in architecture and len(choice.options) > 1]
    if not mutable:
        raise ValueError(f"no choice of the space {architecture.space!r} that is active has a second option")
    choice = mutable[draw_integer(len(mutable), generator)]
    others = [option for option in choice.options if option != architecture[choice.name]]
    changed = {**architecture, choice.name: others[draw_integer(len(others), generator)]}
    return make(complete(choices, changed, generator))


def neighbours(choices: Sequence[Choice], architecture: Architecture, make: Make) -> Iterator[Architecture]:
    """All architectures that `mutate` may return, each once, one by one."""
    for choice in choices:
        if choice.name in architecture:
            for option in choice.options:
                if option != architecture[choice.name]:
                    yield from map(make, completions(choices, {**architecture, choice.name: option}))
