"""A small architecture: the one from which no change of a single gate saves parameters."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.supernets.gated_space import GatedSpace
from automl_plugins.supernets.masks import decoded_with, forced

_ROUNDS = 20
"""Rounds of the descent; two or three are enough where counts add up."""


def smallest_with(
    space: GatedSpace, start: Architecture, mask: Tensor, count: Callable[[Architecture], int]
) -> Architecture:
    """An architecture with open options alone whose count no other option of one gate makes smaller.

    It is found by descent, all gates in a round.

    Args:
        space: of the architectures.
        start: where the descent begins; its options are open.
        mask: which options of the gates are open, boolean `[num_choices, most_options]`.
        count: of an architecture: what is to be small.
    """
    found = start
    for _ in range(_ROUNDS):
        before = count(found)
        # Of each gate the change that saves most, the largest saving first.
        best: dict[int, tuple[int, Tensor]] = {}
        for row, changed in forced(space, found, mask):
            other = decoded_with(space, _near(space, found), changed)
            if other is not None and count(other) < best.get(row, (before, mask))[0]:
                best[row] = count(other), changed
        for row, (_, changed) in sorted(best.items(), key=lambda item: item[1][0]):
            together = mask.clone()
            together[row] = changed[row]
            other = decoded_with(space, _near(space, found), together)
            if other is not None and count(other) < count(found):
                found = other
        if count(found) == before:
            break
    return found


def _near(space: GatedSpace, architecture: Architecture) -> Tensor:
    """Scores whose decoding is the architecture, and with some options closed, one that has much in common."""
    return 1.0 + space.gates(architecture, torch.float64).matrix
