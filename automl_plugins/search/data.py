"""The data that architecture logits learn on: splitting a loader, and an endless order that resumes exactly."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
)

from automl_plugins.system.randomness import seed_from, seeded_aside
from automl_plugins.training.data.batches import SeededIndex


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
    return _training_part(loader, kept), _remade(loader, loader.dataset, sampler=SubsetRandomSampler(held_out))


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


def _iterates_differently(kind: type) -> bool:
    return any(getattr(kind, name) is not getattr(DataLoader, name) for name in ("__iter__", "_get_iterator"))


def _takes_dataset(kind: type) -> bool:
    return "dataset" in inspect.signature(kind).parameters


def _training_part(loader: DataLoader[Any], kept: list[int]) -> DataLoader[Any]:
    """The loader over some of its samples, shuffled as it was."""
    sampler = loader.sampler
    if type(sampler) is SubsetRandomSampler:
        return _remade(loader, loader.dataset, sampler=SubsetRandomSampler(kept, generator=sampler.generator))
    if reads_by_position(loader):
        shuffled = type(sampler) is RandomSampler
        return _reordered(loader, SubsetRandomSampler(kept, generator=loader.generator) if shuffled else kept)
    subset = Subset(loader.dataset, kept)
    if isinstance(sampler, DistributedSampler):
        shared: DistributedSampler[Any] = DistributedSampler(
            subset, sampler.num_replicas, sampler.rank, sampler.shuffle, sampler.seed, sampler.drop_last
        )
        return _remade(loader, subset, sampler=shared)
    return _remade(loader, subset, shuffle=type(sampler) is RandomSampler)


def _remade(loader: DataLoader[Any], dataset: Any, **given: Any) -> DataLoader[Any]:
    """A loader as the given one, over other samples or in another order."""
    if reads_by_position(loader):
        return _reordered(loader, **{"sampler": None, **given})
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


def _reordered(
    loader: DataLoader[Any], sampler: Any, batch_sampler: Any = None, generator: torch.Generator | None = None
) -> DataLoader[Any]:
    """A loader as the given one, that takes its positions in another order; its constructor need not be known."""
    made = copy.copy(loader)
    batches = batch_sampler or BatchSampler(sampler, cast(int, loader.batch_size), loader.drop_last)
    # DataLoader refuses to have these set, since an iterator may be under way; the copy has none.
    vars(made).update(sampler=sampler or batches, batch_sampler=batches, generator=generator or loader.generator)
    return made


class SearchOrder(Sampler[list[int]]):
    """Batches of indices in an order that is a function of the seed and the cycle alone, dealt out to the ranks.

    The batches of all ranks together are those of one process with as many times the batch size. The part that is
    left over at the end of a cycle waits for another one.

    Args:
        indices: what is dealt out.
        batch_size: indices of a batch on one rank.
        seed: of the order.
        rank: which process this one is.
        world_size: how many there are.

    Raises:
        ValueError: there are fewer indices than ranks.
    """

    def __init__(self, indices: Sequence[int], batch_size: int, seed: int, rank: int, world_size: int) -> None:
        if len(indices) < world_size:
            raise ValueError(f"{len(indices)} search sample(s) are too few for {world_size} processes")
        self.indices = indices
        self.whole = min(batch_size * world_size, len(indices))
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.cycle = self.start = 0

    def __len__(self) -> int:
        return len(self.indices) // self.whole

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(seed_from(self.seed, self.cycle))
        order = torch.randperm(len(self.indices), generator=generator).tolist()
        for batch in range(self.start, len(self)):
            whole = order[batch * self.whole : (batch + 1) * self.whole]
            yield [
                SeededIndex(self.indices[place], (self.seed, self.cycle))
                for place in whole[self.rank :: self.world_size]
            ]


class SearchBatches:
    """Batches without end, whose position is two numbers.

    A DataLoader over a data set with a length is read in a `SearchOrder`. Anything else is read as it is, on each
    rank, under seeds of its own; to resume, it is read up to where it was.

    Args:
        loader: the search loader; it is not changed.
        seed: of the order, and of what data sets and loaders draw.
        rank: which process this one is.
        world_size: how many there are.

    Raises:
        ValueError: there are fewer samples than processes.
    """

    def __init__(self, loader: Any, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self._given = loader, seed, rank, world_size
        self.seed, self.rank = seed, rank
        self.cycle = self.position = 0
        self.order: SearchOrder | None = None
        self.loader = loader
        try:
            indices = drawn_indices(loader)
        except ValueError:
            pass  # read as it is
        else:
            self.order = SearchOrder(indices, loader.batch_size, seed, rank, world_size)
            generator = torch.Generator().manual_seed(seed)
            self.loader = _remade(loader, loader.dataset, batch_sampler=self.order, generator=generator)
        self._iterator: Iterator[Any] | None = None

    @property
    def samples(self) -> int | None:
        """The number of samples; None: not known."""
        return None if self.order is None else len(self.order.indices)

    def __iter__(self) -> SearchBatches:
        return self

    def __next__(self) -> Any:
        """The next batch.

        Raises:
            ValueError: the loader gives none.
        """
        if self._iterator is None:
            self._iterator = self._begin()
        batch = self._read(self._iterator)
        if batch is _END:
            self.cycle, self.position = self.cycle + 1, 0
            self._iterator = self._begin()
            batch = self._read(self._iterator)
            if batch is _END:
                raise ValueError(f"the search data ({type(self.loader).__name__}) have no batch")
        return batch

    def first(self, most: int) -> list[Any]:
        """The first batches of the first cycle, at most so many; the position stays where it is."""
        other = SearchBatches(*self._given)
        iterator = other._begin()
        batches: list[Any] = []
        while len(batches) < most and (batch := other._read(iterator)) is not _END:
            batches.append(batch)
        return batches

    def _begin(self) -> Iterator[Any]:
        """An iterator that stands at the position."""
        reached, self.position = self.position, 0
        sampler: Any = getattr(self.loader, "sampler", None)
        if self.order is not None:
            self.order.cycle, self.order.start = self.cycle, reached
        elif hasattr(sampler, "set_epoch"):
            sampler.set_epoch(self.cycle)
        with self._seeded():
            iterator = iter(self.loader)
        if self.order is not None:
            self.position = reached
        while self.position < reached:
            self._read(iterator)
        return iterator

    def _read(self, iterator: Iterator[Any]) -> Any:
        with self._seeded():
            batch = next(iterator, _END)
        self.position += 1
        return batch

    def _seeded(self) -> Any:
        seed = seed_from(self.seed, self.cycle, self.position, self.rank)
        return seeded_aside(seed, torch.device("cpu"))

    def state_dict(self) -> dict[str, int | None]:
        return {"cycle": self.cycle, "position": self.position, "samples": self.samples}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to where the state was taken.

        Raises:
            ValueError: it was taken on other data.
        """
        if state["samples"] != self.samples:
            raise ValueError(
                f"the checkpoint's search data had {state['samples']} samples, these have {self.samples}; "
                "resume with the same search_data, search_fraction and training data"
            )
        self.cycle, self.position, self._iterator = state["cycle"], state["position"], None


_END = object()
"""A loader's end, told apart from any batch."""
