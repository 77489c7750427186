"""Architectures one by one: all of a space, a few in which every option occurs, one with a wanted option."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Value
from automl_plugins.spaces.completions import completions, settled
from automl_plugins.spaces.space import SearchSpace


def enumerate_space(space: SearchSpace) -> Iterator[Architecture]:
    """All architectures of a space, one by one, each once; for small spaces."""
    return (Architecture(space.name, space.version, values) for values in completions(space.choices, {}))


def architecture_with(space: SearchSpace, name: str, value: Value, generator: np.random.Generator) -> Architecture:
    """A random architecture in which the choice called `name` is active and took `value`.

    Raises:
        ValueError: there is none, because what the choice requires contradicts itself.
    """
    allowed = settled(space.choices, {name: (value,)}, generator)
    if allowed is None:
        raise ValueError(f"choice {name!r} never takes {value!r}: what it requires contradicts itself")
    values: dict[str, Value] = {}
    for choice in space.choices:
        if choice.is_active(values):
            options = allowed.get(choice.name, choice.options)
            values[choice.name] = options[int(generator.integers(len(options)))]
    return Architecture(space.name, space.version, values)


def covering(space: SearchSpace, generator: np.random.Generator) -> Iterator[Architecture]:
    """Random architectures, few, among which every option of every choice occurs."""
    seen: set[tuple[str, Value]] = set()
    for choice in space.choices:
        for option in choice.options:
            if (choice.name, option) not in seen:
                architecture = architecture_with(space, choice.name, option, generator)
                seen.update(architecture.items())
                yield architecture
