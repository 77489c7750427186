"""Random splits that depend on a seed and on nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor


def random_split(count: int, fractions: Sequence[float], seed: int) -> list[Tensor]:
    """Disjoint random index sets that cover `0 .. count - 1`.

    Args:
        count: how many items there are.
        fractions: the share of each set; they sum to 1.
        seed: the same seed gives the same sets.

    Returns:
        One sorted integer tensor per fraction.

    Raises:
        ValueError: there are too few items for every set to have one.
    """
    order = torch.from_numpy(np.random.default_rng(seed).permutation(count))
    bounds = [0, *(round(count * float(share)) for share in np.cumsum(fractions)[:-1]), count]
    parts = [order[begin:end].sort().values for begin, end in pairwise(bounds)]
    if any(len(part) == 0 for part in parts):
        raise ValueError(
            f"{count} items are too few for a split of {', '.join(f'{share:g}' for share in fractions)}: "
            f"it would have {', '.join(str(len(part)) for part in parts)} items"
        )
    return parts


def mask(count: int, indices: Tensor) -> Tensor:
    """A boolean tensor `[count]` that is true at `indices`."""
    selected = torch.zeros(count, dtype=torch.bool)
    selected[indices] = True
    return selected
