"""Batches that are made once, and training batches in an order that can be gone on with."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Subset
from torch_geometric.data import Batch, Data

from gnn_space.data.splits import mask, random_split


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

    def split(self, fraction: float, seed: int) -> tuple[RepeatedBatch, RepeatedBatch]:
        """Share the training nodes out: a search learns weights on some, and the architecture on the others.

        Args:
            fraction: of the nodes in `train_mask`, for the second part.
            seed: of the split.

        Returns:
            The graph with the first part as `train_mask`, and with the second.

        Raises:
            ValueError: there are too few training nodes.
        """
        graph = self.batches[0]
        nodes = graph.train_mask.nonzero().flatten()
        halves = []
        for part in random_split(len(nodes), (1 - fraction, fraction), seed):
            half = copy.copy(graph)
            half.train_mask = mask(len(graph.train_mask), nodes[part])
            halves.append(RepeatedBatch(half, len(self)))
        return halves[0], halves[1]

    def state_dict(self) -> dict[str, Any]:
        """Nothing: all batches are the same, so a pass that was broken off can be gone on with at any of them."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing: see `state_dict`."""


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


class ResumableLoader(DataLoader[Batch]):
    """A DataLoader in a `SeededOrder` that can say where it is, and go on from there.

    Lightning keeps its `state_dict` in checkpoints. A state is of one pass: another one begins at its beginning.
    """

    _reached: tuple[int, int] = (0, 0)
    """The pass, and the batches given of it."""
    _resumed: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # a generator, so that Lightning sets the epoch first
        epoch = getattr(self.sampler, "epoch", 0)
        resumed, self._resumed = self._resumed, None
        start = resumed[1] if resumed is not None and resumed[0] == epoch else 0
        for count, batch in enumerate(super().__iter__(), start=1):
            self._reached = epoch, count
            if count > start:
                yield batch

    def split(self, fraction: float, seed: int) -> tuple[ResumableLoader, ResumableLoader]:
        """Share the graphs out: a search learns weights on some, and the architecture on the others.

        Args:
            fraction: of the graphs, for the second loader.
            seed: of the split.

        Raises:
            ValueError: there are too few graphs.
        """
        parts = random_split(len(self.dataset), (1 - fraction, fraction), seed)  # type: ignore[arg-type]  # has a length
        first, second = (self._over(Subset(self.dataset, part.tolist())) for part in parts)
        return first, second

    def _over(self, dataset: Dataset[Any]) -> ResumableLoader:
        order = self.sampler
        if not isinstance(order, SeededOrder):
            raise ValueError(f"the graphs come in a {type(order).__name__}; only a SeededOrder can be shared out")
        return ResumableLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=SeededOrder(dataset, order.seed, order.num_replicas, order.rank),
            collate_fn=self.collate_fn,
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
