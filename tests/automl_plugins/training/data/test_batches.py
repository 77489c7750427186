"""The order of training batches, going on with it, and the shares of several processes."""

from __future__ import annotations

import pickle
from collections.abc import Iterable

import pytest
import torch
from torch.utils.data import Dataset

from automl_plugins.search.batches import SearchBatches
from automl_plugins.training.data.batches import (
    EvenShares,
    FixedBatches,
    Part,
    ResumableLoader,
    SeededIndex,
    SeededOrder,
)
from automl_plugins.training.data.splits import random_split


class Drawing(Dataset[torch.Tensor]):
    """Its items are the index, and a number drawn with the index's seed: an augmentation."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> torch.Tensor:
        if not isinstance(index, SeededIndex):
            raise TypeError(f"index {index} brings no seed")
        generator = torch.Generator().manual_seed(index.seed)
        return torch.tensor([float(index), torch.rand((), generator=generator).item()])


def numbers(count: int) -> Dataset[int]:
    return range(count)  # type: ignore[return-value]  # anything with a length


def test_fixed_batches_come_in_the_same_order_at_every_pass() -> None:
    originals = [torch.zeros(1), torch.ones(1)]
    batches = FixedBatches(originals)
    assert len(batches) == 2
    for _ in range(2):
        assert [float(batch) for batch in batches] == [0.0, 1.0]


def test_an_order_depends_on_the_seed_and_the_epoch_alone() -> None:
    def orders(seed: int, noise: int) -> list[list[int]]:
        torch.manual_seed(noise)
        order = SeededOrder(numbers(20), seed)
        return [list(order) for _ in range(3)]

    first = orders(seed=1, noise=0)
    assert first == orders(seed=1, noise=5)
    assert first[0] != first[1] != first[2], "each epoch has its own"
    assert first != orders(seed=2, noise=0)
    assert all(sorted(order) == list(range(20)) for order in first)


def test_lightning_sets_the_epoch_so_that_a_resumed_training_sees_the_orders_that_were_due() -> None:
    order = SeededOrder(numbers(20), 1)
    due = [list(order) for _ in range(3)][2]
    resumed = SeededOrder(numbers(20), 1)
    iterator = iter(resumed)  # Lightning makes the iterator first, and sets the epoch afterwards
    resumed.set_epoch(2)
    assert list(iterator) == due


def test_a_pass_that_is_broken_off_moves_on_all_the_same() -> None:
    order = SeededOrder(numbers(20), 1)
    next(iter(order))
    assert order.epoch == 1


def test_processes_share_the_training_data() -> None:
    shares = [list(SeededOrder(numbers(20), 1, num_replicas=2, rank=rank)) for rank in range(2)]
    assert sorted(shares[0] + shares[1]) == list(range(20))


@pytest.mark.parametrize("count", [6, 7])
def test_processes_evaluate_every_sample_once(count: int) -> None:
    shares = [EvenShares(numbers(count), num_replicas=2, rank=rank) for rank in range(2)]
    assert sorted([*shares[0], *shares[1]]) == list(range(count))
    assert [len(share) for share in shares] == [len(list(share)) for share in shares]


def test_an_index_brings_a_seed_that_depends_on_the_order_and_on_the_index() -> None:
    def seeds(seed: int, epoch: int) -> dict[int, int]:
        order = SeededOrder(numbers(50), seed)
        order.set_epoch(epoch)
        return {int(index): index.seed for index in order}  # type: ignore[attr-defined]

    first = seeds(0, 0)
    assert first == seeds(0, 0)
    everything = [value for seed in (0, 1) for epoch in (0, 1) for value in seeds(seed, epoch).values()]
    assert len(set(everything)) == 200


def test_an_index_that_brings_a_seed_survives_pickling() -> None:
    index = SeededIndex(3, (1, 2))
    again = pickle.loads(pickle.dumps(index))
    assert (again, again.seed, type(again)) == (3, index.seed, SeededIndex)


def test_a_part_of_a_part_hands_the_seed_on() -> None:
    inner = Part(Part(Drawing(10), [1, 3, 5, 7]), [2, 0])
    assert inner[SeededIndex(0, (9,))][0] == 5.0
    assert torch.equal(inner.__getitems__([SeededIndex(1, (9,))])[0], inner[SeededIndex(1, (9,))])
    assert inner[SeededIndex(1, (9,))][1] != inner[SeededIndex(1, (8,))][1]


def loader_of(count: int = 10, batch_size: int = 3, workers: int = 0) -> ResumableLoader:
    data = Drawing(count)
    return ResumableLoader(
        data,
        batch_size=batch_size,
        sampler=SeededOrder(data, 1),
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def seen(batches: Iterable[torch.Tensor]) -> list[list[list[float]]]:
    return [batch.tolist() for batch in batches]


def test_a_pass_that_was_broken_off_goes_on_where_it_was() -> None:
    uninterrupted = loader_of()
    passes = [seen(uninterrupted) for _ in range(3)]
    for epoch in range(3):
        for given in range(1, 5):
            broken = loader_of()
            broken.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
            iterator = iter(broken)
            for _ in range(given):
                next(iterator)
            resumed = loader_of()
            resumed.load_state_dict(broken.state_dict())
            assert resumed.state_dict() == broken.state_dict() == {"epoch": epoch, "batches": given}
            assert seen(resumed) == passes[epoch][given:]
            if epoch < 2:
                assert seen(resumed) == passes[epoch + 1]


def test_what_was_given_is_not_read_again() -> None:
    read: list[int] = []

    class Watched(Drawing):
        def __getitem__(self, index: int) -> torch.Tensor:
            read.append(int(index))
            return super().__getitem__(index)

    data = Watched(10)
    resumed = ResumableLoader(data, batch_size=3, sampler=SeededOrder(data, 1))
    resumed.load_state_dict({"epoch": 0, "batches": 2})
    assert len(list(resumed)) == 2
    assert len(read) == 4


def test_a_state_of_one_pass_does_not_shorten_another() -> None:
    resumed = loader_of()
    resumed.load_state_dict({"epoch": 0, "batches": 4})
    iterator = iter(resumed)
    resumed.sampler.set_epoch(1)  # type: ignore[attr-defined]  # as Lightning does when the checkpoint was of the last batch
    expected = loader_of()
    expected.sampler.set_epoch(1)  # type: ignore[attr-defined]
    assert seen(iterator) == seen(expected)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_workers_change_nothing() -> None:
    alone, with_workers = loader_of(), loader_of(workers=2)
    for _ in range(2):
        assert seen(alone) == seen(with_workers)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_search_goes_on_in_the_middle_of_a_cycle_with_the_same_samples(workers: int) -> None:
    def batches() -> SearchBatches:
        return SearchBatches(loader_of(20, workers=workers).split(0.5, seed=3)[1], seed=5)

    whole = batches()
    expected = [next(whole).tolist() for _ in range(8)]
    for given in (2, 4):
        broken = batches()
        for _ in range(given):
            next(broken)
        resumed = batches()
        resumed.load_state_dict(broken.state_dict())
        assert [next(resumed).tolist() for _ in range(8 - given)] == expected[given:]


def test_samples_are_shared_out_for_a_search() -> None:
    training, search = loader_of(20).split(0.25, seed=3)
    first, second = ({sample[0] for batch in seen(part) for sample in batch} for part in (training, search))
    assert (len(first), len(second)) == (15, 5)
    assert first | second == set(range(20))
    again = loader_of(20).split(0.25, seed=3)[1]
    assert {sample[0] for batch in seen(again) for sample in batch} == second
    assert isinstance(training, ResumableLoader), "what is left can be gone on with, too"


def test_a_part_that_is_smaller_than_a_batch_is_given_all_the_same() -> None:
    data = Drawing(20)
    loader = ResumableLoader(data, batch_size=6, sampler=SeededOrder(data, 1), drop_last=True)
    training, search = loader.split(0.25, seed=0)
    assert [len(batch) for batch in training] == [6, 6]
    assert [len(batch) for batch in search] == [5]


def test_a_split_covers_everything_once() -> None:
    parts = random_split(103, (0.6, 0.2, 0.2), seed=0)
    assert [len(part) for part in parts] == [62, 20, 21]
    assert sorted(torch.cat(parts).tolist()) == list(range(103))


def test_a_split_with_an_empty_part_is_refused() -> None:
    with pytest.raises(ValueError, match=r"3 items are too few for a split of 0.8, 0.1, 0.1: it would have 2, 1, 0"):
        random_split(3, (0.8, 0.1, 0.1), seed=0)
