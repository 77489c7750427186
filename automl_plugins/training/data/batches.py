"""Batches that are made once, and training batches in an order that can be gone on with."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Subset

from automl_plugins.system.randomness import seed_from
from automl_plugins.training.data.splits import random_split


class FixedBatches:
    """An iterable over batches collated beforehand; Lightning takes it for a dataloader.

    Each batch is handed out as a shallow copy, so that a step which assigns to `batch.x` (and
    Lightning's own move to another device, which PyG does in place) leaves the original alone.
    Every process of a distributed run sees all batches: an evaluation counts no sample twice.

    Args:
        batches: what each pass gives, in this order.
    """

    def __init__(self, batches: Sequence[Any]) -> None:
        self.batches = list(batches)

    def __iter__(self) -> Iterator[Any]:
        return (copy.copy(batch) for batch in self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class SeededIndex(int):
    """An index that brings a seed for what its data set draws at random, such as an augmentation.

    The seed is a function of the index and of what the order was drawn with, so a sample comes out the same in
    any process, whatever was drawn before it.

    Args:
        index: the index.
        drawn_with: the numbers that the order is a function of.
    """

    drawn_with: tuple[int, ...]

    def __new__(cls, index: int, drawn_with: tuple[int, ...]) -> SeededIndex:
        made = super().__new__(cls, index)
        made.drawn_with = drawn_with
        return made

    def __getnewargs__(self) -> tuple[int, tuple[int, ...]]:  # type: ignore[override]  # how pickle makes one
        return int(self), self.drawn_with

    @property
    def seed(self) -> int:
        return seed_from(*self.drawn_with, int(self))


class Part(Subset[Any]):
    """Some samples of a data set; a `SeededIndex` stays one, and keeps its seed apart from the others'."""

    def _inner(self, index: int) -> int:
        inner = self.indices[index]
        return SeededIndex(inner, index.drawn_with) if isinstance(index, SeededIndex) else inner

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[self._inner(index)]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        inner = [self._inner(index) for index in indices]
        fetch = getattr(self.dataset, "__getitems__", None)
        return fetch(inner) if fetch is not None else [self.dataset[index] for index in inner]


class SeededOrder(DistributedSampler[Any]):
    """A random order that is a function of `(seed, epoch)` alone, dealt out to the processes.

    Lightning sets the epoch, so that a resumed training continues with the orders that it would
    have seen; in a plain loop, each pass moves on to the next epoch.

    Args:
        dataset: what is to be ordered.
        seed: of the order.
        num_replicas: processes that share the data.
        rank: which of them this one is.
    """

    start = 0
    """The number of samples that the next pass leaves out."""

    def __init__(self, dataset: Dataset[Any], seed: int, num_replicas: int = 1, rank: int = 0) -> None:
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, shuffle=True, seed=seed)

    def __iter__(self) -> Iterator[int]:
        # A generator: the order is drawn at the first item, after Lightning has set the epoch.
        drawn_with = self.seed, self.epoch
        order = list(super().__iter__())[self.start :]
        self.epoch += 1
        self.start = 0
        for index in order:
            yield SeededIndex(index, drawn_with)


class EvenShares(DistributedSampler[Any]):
    """The samples in their order, dealt out to the processes, each sample to one.

    Torch's own sampler gives some samples twice where the shares would be uneven, so that metrics count them twice.

    Args:
        dataset: what is dealt out.
        num_replicas: processes that share the data.
        rank: which of them this one is.
    """

    def __init__(self, dataset: Dataset[Any], num_replicas: int = 1, rank: int = 0) -> None:
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, shuffle=False)

    def _share(self) -> range:
        return range(self.rank, len(self.dataset), self.num_replicas)  # type: ignore[arg-type]  # has a length

    def __iter__(self) -> Iterator[int]:
        return iter(self._share())

    def __len__(self) -> int:
        return len(self._share())


class ResumableLoader(DataLoader[Any]):
    """A DataLoader in a `SeededOrder` that can say where it is, and go on from there.

    Lightning keeps its `state_dict` in checkpoints. A state is of one pass: another one begins at its beginning.
    """

    _reached: tuple[int, int] = (0, 0)
    """The pass, and the batches given of it."""
    _resumed: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a generator, so that Lightning sets the epoch first
        order = self.sampler
        epoch = getattr(order, "epoch", 0)
        resumed, self._resumed = self._resumed, None
        start = resumed[1] if resumed is not None and resumed[0] == epoch else 0
        if isinstance(order, SeededOrder):
            order.start = start * (self.batch_size or 1)
        for count, batch in enumerate(super().__iter__(), start=start + 1):
            self._reached = epoch, count
            yield batch

    def split(self, fraction: float, seed: int) -> tuple[ResumableLoader, ResumableLoader]:
        """Share the samples out: a search learns weights on some, and the architecture on the others.

        Args:
            fraction: of the samples, for the second loader.
            seed: of the split.

        Raises:
            ValueError: there are too few samples.
        """
        parts = random_split(len(self.dataset), (1 - fraction, fraction), seed)  # type: ignore[arg-type]  # has a length
        first, second = (self._over(Part(self.dataset, part.tolist())) for part in parts)
        return first, second

    def _over(self, dataset: Dataset[Any]) -> ResumableLoader:
        order = self.sampler
        if not isinstance(order, SeededOrder):
            raise ValueError(f"the samples come in a {type(order).__name__}; only a SeededOrder can be shared out")
        share = SeededOrder(dataset, order.seed, order.num_replicas, order.rank)
        return ResumableLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=share,
            # A part may be smaller than a batch.
            drop_last=self.drop_last and len(share) >= (self.batch_size or 1),
            collate_fn=self.collate_fn,
            num_workers=self.num_workers,
            persistent_workers=self.persistent_workers,
            generator=generator(order.seed),
        )

    def state_dict(self) -> dict[str, Any]:
        """The pass, and how many of its batches were given."""
        epoch, batches = self._reached
        return {"epoch": epoch, "batches": batches}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there: the next pass leaves out what was given, if it is the same one."""
        self._resumed = self._reached = state["epoch"], state["batches"]
        if isinstance(self.sampler, SeededOrder):
            self.sampler.set_epoch(state["epoch"])


def generator(seed: int) -> torch.Generator:
    """A generator of its own for a DataLoader, which otherwise draws from the global one."""
    return torch.Generator().manual_seed(seed)
