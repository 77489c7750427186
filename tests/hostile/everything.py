"""All hostile inputs, in an order that a seed settles."""

from __future__ import annotations

from itertools import chain

import numpy as np
from artifacts import artifacts
from code_in_files import code
from config_files import config_files
from data_files import data_files
from data_of_commands import data_of_commands
from inputs import HostileInput
from values import bad_lines, bad_values


def everything() -> list[HostileInput]:
    """Every hostile input there is.

    Raises:
        ValueError: two of them are of one kind.
    """
    found = list(
        chain(bad_lines(), bad_values(), config_files(), code(), artifacts(), data_files(), data_of_commands())
    )
    kinds = [each.kind for each in found]
    if len(set(kinds)) < len(kinds):
        raise ValueError(f"twice: {sorted({kind for kind in kinds if kinds.count(kind) > 1})}")
    return found


def some(count: int, seed: int = 0) -> list[HostileInput]:
    """A number of them, from all families alike."""
    generator = np.random.default_rng(seed)
    families: dict[str, list[HostileInput]] = {}
    for each in everything():
        families.setdefault(each.family, []).append(each)
    shuffled = [[family[place] for place in generator.permutation(len(family))] for family in families.values()]
    dealt = [family[row] for row in range(max(map(len, shuffled))) for family in shuffled if row < len(family)]
    return dealt[:count]
