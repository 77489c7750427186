"""The number of architectures that choices make."""

from __future__ import annotations

from collections.abc import Sequence

from automl_plugins.spaces.choice import Choice, Value


def count_architectures(choices: Sequence[Choice]) -> int:
    """The number of ways to give every active choice a value, exactly.

    Args:
        choices: in order; a choice stands after those that it requires.
    """
    last_use = {parent: position for position, choice in enumerate(choices) for parent in choice.parents}
    # Only values that a later choice asks for tell partial architectures apart; the rest is a factor.
    counts: dict[tuple[tuple[str, Value], ...], int] = {(): 1}
    for position, choice in enumerate(choices):
        following: dict[tuple[tuple[str, Value], ...], int] = {}
        for state, count in counts.items():
            needed = tuple(item for item in state if last_use[item[0]] > position)
            active = choice.is_active(dict(state))
            if active and choice.name in last_use:
                for option in choice.options:
                    extended = (*needed, (choice.name, option))
                    following[extended] = following.get(extended, 0) + count
            else:
                factor = len(choice.options) if active else 1
                following[needed] = following.get(needed, 0) + count * factor
        counts = following
    return sum(counts.values())
