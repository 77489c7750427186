"""The number of architectures that choices make."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from automl_plugins.spaces.choice import Choice, Value


def count_architectures(choices: Sequence[Choice]) -> int:
    """The number of ways to give every active choice a value, exactly.

    Args:
        choices: in order; a choice stands after those that it requires.
    """
    last_use = {parent: position for position, choice in enumerate(choices) for parent in choice.parents}
    alike = _Alike(choices)
    # Only values that a later choice asks for tell partial architectures apart; the rest is a factor.
    counts: dict[tuple[tuple[str, Value], ...], int] = {(): 1}
    for position, choice in enumerate(choices):
        following: dict[tuple[tuple[str, Value], ...], int] = {}
        for state, count in counts.items():
            needed = tuple((name, alike(position, name, value)) for name, value in state if last_use[name] > position)
            active = choice.is_active(dict(state))
            if active and choice.name in last_use:
                for option in choice.options:
                    extended = (*needed, (choice.name, alike(position, choice.name, option)))
                    following[extended] = following.get(extended, 0) + count
            else:
                factor = len(choice.options) if active else 1
                following[needed] = following.get(needed, 0) + count * factor
        counts = following
    return sum(counts.values())


class _Alike:
    """One option for all of those that no later choice tells apart."""

    def __init__(self, choices: Sequence[Choice]) -> None:
        self.options = {choice.name: choice.options for choice in choices}
        self.uses: dict[str, list[tuple[int, tuple[Value, ...]]]] = {choice.name: [] for choice in choices}
        for position, choice in enumerate(choices):
            for alternative in choice.alternatives:
                for name, accepted in alternative.items():
                    self.uses[name].append((position, accepted))
        self._found = cache(self._first)

    def __call__(self, position: int, name: str, value: Value) -> Value:
        """The first option of a choice that all choices after a position take for `value`."""
        return self._found(position, name, value)

    def _first(self, position: int, name: str, value: Value) -> Value:
        later = [accepted for place, accepted in self.uses[name] if place > position]
        seen = [value in accepted for accepted in later]
        return next(option for option in self.options[name] if [option in accepted for accepted in later] == seen)
