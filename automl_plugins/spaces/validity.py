"""Checks of choices, and of values for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches

from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.system.nearest import did_you_mean


def check_choices(choices: Sequence[Choice], space: str) -> None:
    """Refuse choices that make no space.

    Raises:
        ValueError: a name twice, or a choice that requires an unknown or later choice or an option that choice lacks.
    """
    earlier: dict[str, Choice] = {}
    for choice in choices:
        if choice.name in earlier:
            raise ValueError(f"two choices of the space {space!r} have one name")
        for alternative in choice.alternatives:
            for parent, values in alternative.items():
                if parent not in earlier:
                    raise ValueError(f"choice {choice.name!r} requires {parent!r}, which is no earlier choice")
                for value in values:
                    earlier[parent].index(value)
        earlier[choice.name] = choice


def check_values(choices: Sequence[Choice], values: Mapping[str, Value], space: str) -> None:
    """Refuse values that are not those of an architecture.

    Raises:
        ValueError: a choice is unknown, missing, not active, or has a value that is no option; the message names it.
    """
    names = [choice.name for choice in choices]
    known = frozenset(names)
    for name in values:
        if name not in known:
            raise ValueError(f"the space {space!r} has no choice {name!r}; {did_you_mean(name, names)}")
    for choice in choices:
        active = choice.is_active(values)
        if active and choice.name not in values:
            raise ValueError(f"choice {choice.name!r} is missing; options: {', '.join(map(repr, choice.options))}")
        if not active and choice.name in values:
            raise ValueError(f"choice {choice.name!r} is not active here: it requires {choice.condition}")
        if active:
            choice.index(values[choice.name])


def is_foreign(name: str, names: Collection[str]) -> bool:
    """Nothing of a space: a misspelt choice, or one of a larger space of its kind, is near one of the names."""
    return name not in names and not get_close_matches(name, names, 1, cutoff=0.8)
