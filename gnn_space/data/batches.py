"""Batches that are made once: for evaluation, and for training on a single graph."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Dataset, DistributedSampler
from torch_geometric.data import Data


class FixedBatches:
    """An iterable over batches collated beforehand; Lightning takes it for a dataloader.

    Each batch is handed out as a shallow copy, so that a step which assigns to `batch.x` (and
    Lightning's own move to another device, which PyG does in place) leaves the original alone.
    Every process of a distributed run sees all batches: an evaluation counts no graph twice.

    Args:
        batches: what each pass gives, in this order.
    """

    def __init__(self, batches: Sequence[Data]) -> None:
        self.batches = list(batches)

    def __iter__(self) -> Iterator[Data]:
        return (copy.copy(batch) for batch in self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class RepeatedBatch(FixedBatches):
    """One full-batch graph given several times, so that an epoch has several optimizer steps.

    An epoch of Lightning costs about as much as a small graph's step; validating after every step
    would double the price of training.

    Args:
        batch: the graph.
        times: how often a pass gives it.
    """

    def __init__(self, batch: Data, times: int) -> None:
        super().__init__([batch] * times)


class SeededOrder(DistributedSampler[Data]):
    """A random order that is a function of `(seed, epoch)` alone, dealt out to the processes.

    Lightning sets the epoch, so that a resumed training continues with the orders that it would
    have seen; in a plain loop, each pass moves on to the next epoch.

    Args:
        dataset: what is to be ordered.
        seed: of the order.
        num_replicas: processes that share the data.
        rank: which of them this one is.
    """

    def __init__(self, dataset: Dataset[Data], seed: int, num_replicas: int = 1, rank: int = 0) -> None:
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, shuffle=True, seed=seed)

    def __iter__(self) -> Iterator[int]:
        # A generator: the order is drawn at the first item, after Lightning has set the epoch.
        order = list(super().__iter__())
        self.epoch += 1
        yield from order


def generator(seed: int) -> torch.Generator:
    """A generator of its own for a DataLoader, which otherwise draws from the global one."""
    return torch.Generator().manual_seed(seed)
