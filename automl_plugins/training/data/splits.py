"""Random splits that depend on a seed and on nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor


def random_split(count: int, fractions: Sequence[float], seed: int, where: str | None = None) -> list[Tensor]:
    """Disjoint random index sets that cover `0 .. count - 1`.

    Args:
        count: how many items there are.
        fractions: the share of each set; they sum to 1.
        seed: the same seed gives the same sets.
        where: the data, for the message.

    Returns:
        One sorted integer tensor per fraction.

    Raises:
        ValueError: there are too few items for every set to have one.
    """
    order = torch.from_numpy(np.random.default_rng(seed).permutation(count))
    bounds = [0, *(round(count * float(share)) for share in np.cumsum(fractions)[:-1]), count]
    parts = [order[begin:end].sort().values for begin, end in pairwise(bounds)]
    _check_none_is_empty(where, count, fractions, parts)
    return parts


def mask(count: int, indices: Tensor) -> Tensor:
    """A boolean tensor `[count]` that is true at `indices`."""
    selected = torch.zeros(count, dtype=torch.bool)
    selected[indices] = True
    return selected


def stratified_split(
    groups: Sequence[int], fractions: Sequence[float], seed: int, where: str | None = None
) -> list[Tensor]:
    """Disjoint random index sets that cover all items, in each of which every group has about its share.

    Items are shuffled, groups laid end to end, and each item goes to the set that lacks most of its share so far.

    Args:
        groups: of each item.
        fractions: the share of each set; they sum to 1.
        seed: the same seed gives the same sets.
        where: the data, for the message.

    Returns:
        One sorted integer tensor per fraction.

    Raises:
        ValueError: there are too few items for every set to have one.
    """
    order = np.random.default_rng(seed).permutation(len(groups))
    order = order[np.argsort(np.asarray(groups)[order], kind="stable")]
    parts: list[list[int]] = [[] for _ in fractions]
    for place, index in enumerate(order.tolist(), start=1):
        missing = [share * place - len(part) for share, part in zip(fractions, parts, strict=True)]
        parts[missing.index(max(missing))].append(index)
    _check_none_is_empty(where, len(groups), fractions, parts)
    return [torch.tensor(sorted(part)) for part in parts]


def _check_none_is_empty(
    where: str | None, count: int, fractions: Sequence[float], parts: Sequence[Sequence[int] | Tensor]
) -> None:
    if any(len(part) == 0 for part in parts):
        raise ValueError(
            f"{'' if where is None else f'{where}: '}{count} items are too few for a split of "
            f"{', '.join(f'{share:g}' for share in fractions)}: it would have "
            f"{', '.join(str(len(part)) for part in parts)} items; give more, or say yourself which is in which part"
        )
