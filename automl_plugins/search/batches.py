"""The search batches: an endless order that resumes exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import Sampler

from automl_plugins.search.loaders import drawn_indices, remade
from automl_plugins.system.randomness import seed_from, seeded_aside
from automl_plugins.training.data.batches import SeededIndex


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
            self.loader = remade(loader, loader.dataset, batch_sampler=self.order, generator=generator)
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

    def close(self) -> None:
        """Let go of the loader's iterator, and so of its workers; the position stays."""
        self._iterator = None

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
