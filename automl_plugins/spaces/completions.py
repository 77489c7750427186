"""Values of choices that are completed: all ways to do so, and what must be chosen for a choice to be active."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from automl_plugins.spaces.choice import Choice, Value

if TYPE_CHECKING:
    import numpy as np


def completions(choices: Sequence[Choice], values: Mapping[str, Value]) -> Iterator[dict[str, Value]]:
    """All ways to keep the active ones of `values` and give the other active choices a value, the first options first.

    Args:
        choices: in order; a choice stands after those that it requires.
        values: of some choices, by name.
    """
    unfinished: list[tuple[int, dict[str, Value]]] = [(0, {})]
    while unfinished:
        position, completed = unfinished.pop()
        if position == len(choices):
            yield completed
            continue
        choice = choices[position]
        if not choice.is_active(completed):
            unfinished.append((position + 1, completed))
            continue
        options = (values[choice.name],) if choice.name in values else choice.options
        # Depth first, the first option on top: memory for one architecture, not for all.
        unfinished += ((position + 1, {**completed, choice.name: option}) for option in reversed(options))


def settled(
    choices: Sequence[Choice], allowed: Mapping[str, tuple[Value, ...]], generator: np.random.Generator
) -> dict[str, tuple[Value, ...]] | None:
    """The values that choices may take so that each one named in `allowed` is active; None: there is no way.

    Args:
        choices: in order; a choice stands after those that it requires.
        allowed: choices that are to be active, and the values that they may take.
        generator: settles in which order alternatives are tried.
    """
    # Backwards: what a choice requires is settled before what that requires in turn.
    for position in reversed(range(len(choices))):
        choice = choices[position]
        if choice.name not in allowed or not choice.alternatives:
            continue
        for number in generator.permutation(len(choice.alternatives)):
            alternative = choice.alternatives[number]
            both = {
                parent: tuple(option for option in allowed.get(parent, accepted) if option in accepted)
                for parent, accepted in alternative.items()
            }
            if all(both.values()):
                found = settled(choices[:position], {**allowed, **both}, generator)
                if found is not None:
                    return found
        return None
    return dict(allowed)
