"""Loaders: the samples that one draws from, and the same one over others or in another order."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
)


def drawn_indices(loader: Any) -> Sequence[int]:
    """The indices of the data set that a loader draws from, on all ranks together.

    Raises:
        ValueError: they cannot be known; the message says why.
    """
    kind = type(loader).__name__
    if not isinstance(loader, DataLoader):
        raise ValueError(f"a {kind} is no DataLoader; give it a method split(fraction, seed)")
    if isinstance(loader.dataset, IterableDataset) or not hasattr(loader.dataset, "__len__"):
        raise ValueError(f"the {kind}'s data set has no length, so its samples cannot be dealt out")
    if loader.batch_size is None or type(loader.batch_sampler) is not BatchSampler:
        raise ValueError(f"the {kind} has a batch sampler of its own ({type(loader.batch_sampler).__name__})")
    if _iterates_differently(type(loader)) and not _takes_dataset(type(loader)) and not reads_by_position(loader):
        raise ValueError(f"{kind} iterates in its own way; give it a method split(fraction, seed)")
    sampler = loader.sampler
    if type(sampler) is SubsetRandomSampler:
        return list(sampler.indices)
    if type(sampler) is RandomSampler and (sampler.replacement or sampler.num_samples != len(loader.dataset)):
        raise ValueError(f"the {kind} draws {sampler.num_samples} samples with or without replacement of its own")
    if type(sampler) in (RandomSampler, SequentialSampler) or isinstance(sampler, DistributedSampler):
        return range(len(loader.dataset))
    raise ValueError(f"the {kind} has a sampler of its own ({type(sampler).__name__})")


def reads_by_position(loader: Any) -> bool:
    """True where a loader's samples are positions in what it keeps itself, as those of PyG's NeighborLoader."""
    return (
        isinstance(loader, DataLoader)
        and isinstance(loader.dataset, range)
        and _iterates_differently(type(loader))
        and not _takes_dataset(type(loader))
    )


def batches_in(loader: Any) -> int | None:
    """The number of batches that a loader gives; None: not known."""
    try:
        return len(loader)
    except (TypeError, NotImplementedError):
        return None


def remade(loader: DataLoader[Any], dataset: Any, **given: Any) -> DataLoader[Any]:
    """A loader as the given one, over other samples or in another order."""
    if reads_by_position(loader):
        return reordered(loader, **{"sampler": None, **given})
    arguments: dict[str, Any] = {
        "num_workers": loader.num_workers,
        # PyG's loaders make theirs themselves; it is a plain attribute all the same.
        "collate_fn": loader.collate_fn,
        "pin_memory": loader.pin_memory,
        "timeout": loader.timeout,
        "worker_init_fn": loader.worker_init_fn,
        "multiprocessing_context": loader.multiprocessing_context,
        "persistent_workers": loader.persistent_workers,
        "generator": loader.generator,
    }
    if loader.num_workers > 0:
        arguments["prefetch_factor"] = loader.prefetch_factor
    if "batch_sampler" not in given:
        arguments |= {"batch_size": loader.batch_size, "drop_last": loader.drop_last}
    kind: Any = type(loader) if _iterates_differently(type(loader)) else DataLoader
    made: DataLoader[Any] = kind(dataset, **{**arguments, **given})
    return made


def reordered(
    loader: DataLoader[Any], sampler: Any, batch_sampler: Any = None, generator: torch.Generator | None = None
) -> DataLoader[Any]:
    """A loader as the given one, that takes its positions in another order; its constructor need not be known."""
    made = copy.copy(loader)
    batches = batch_sampler or BatchSampler(sampler, cast(int, loader.batch_size), loader.drop_last)
    # DataLoader refuses to have these set, since an iterator may be under way; the copy has none.
    vars(made).update(sampler=sampler or batches, batch_sampler=batches, generator=generator or loader.generator)
    return made


def _iterates_differently(kind: type) -> bool:
    return any(getattr(kind, name) is not getattr(DataLoader, name) for name in ("__iter__", "_get_iterator"))


def _takes_dataset(kind: type) -> bool:
    return "dataset" in inspect.signature(kind).parameters
