"""Splitting a training loader into one for the weights and one for the architecture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler, Subset, SubsetRandomSampler

from automl_plugins.search.loaders import drawn_indices, reads_by_position, remade, reordered


@runtime_checkable
class Splittable(Protocol):
    """A loader that knows how to split itself; any class may have the method."""

    def split(self, fraction: float, seed: int) -> tuple[Iterable[Any], Iterable[Any]]:
        """Two loaders of disjoint samples: one to train on, and one of `fraction` of them to search on."""


def split_loader(loader: Any, fraction: float = 0.5, seed: int = 0) -> tuple[Any, Any]:
    """Split a training loader into one for the weights and one for the architecture.

    The split is a function of the seed and the number of samples. Both loaders collate as the
    original does, with its batch size; samplers that choose indices (`SubsetRandomSampler`) or ranks keep
    doing so. A loader with a method `split(fraction, seed)` splits itself.

    Args:
        loader: a DataLoader over a data set with a length.
        fraction: of the samples, for the architecture.
        seed: of the split.

    Returns:
        The training loader, and the search loader.

    Raises:
        ValueError: the fraction is out of range, or the loader cannot be split; the message says why.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the fraction of the training data for the search is between 0 and 1; got {fraction}")
    if isinstance(loader, Splittable):
        return loader.split(fraction, seed)
    indices = drawn_indices(loader)
    kept, held_out = split_indices(indices, fraction, seed)
    return _training_part(loader, kept), remade(loader, loader.dataset, sampler=SubsetRandomSampler(held_out))


def split_indices(indices: Sequence[int], fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Deal indices out at random, each part in its old order; neither part is empty.

    Raises:
        ValueError: there are fewer than two.
    """
    if len(indices) < 2:
        raise ValueError(f"{len(indices)} training sample(s) cannot be split into training and search data")
    count = min(max(round(fraction * len(indices)), 1), len(indices) - 1)
    order = torch.randperm(len(indices), generator=torch.Generator().manual_seed(seed)).tolist()
    return [indices[place] for place in sorted(order[count:])], [indices[place] for place in sorted(order[:count])]


def _training_part(loader: DataLoader[Any], kept: list[int]) -> DataLoader[Any]:
    """The loader over some of its samples, shuffled as it was."""
    sampler = loader.sampler
    if type(sampler) is SubsetRandomSampler:
        return remade(loader, loader.dataset, sampler=SubsetRandomSampler(kept, generator=sampler.generator))
    if reads_by_position(loader):
        shuffled = type(sampler) is RandomSampler
        return reordered(loader, SubsetRandomSampler(kept, generator=loader.generator) if shuffled else kept)
    subset = Subset(loader.dataset, kept)
    if isinstance(sampler, DistributedSampler):
        shared: DistributedSampler[Any] = DistributedSampler(
            subset, sampler.num_replicas, sampler.rank, sampler.shuffle, sampler.seed, sampler.drop_last
        )
        return remade(loader, subset, sampler=shared)
    return remade(loader, subset, shuffle=type(sampler) is RandomSampler)
