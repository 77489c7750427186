"""Batches made once, and the order of training batches."""

from __future__ import annotations

import torch
from torch_geometric.data import Data

from gnn_space.data.batches import FixedBatches, RepeatedBatch, SeededOrder


def graph() -> Data:
    return Data(x=torch.arange(6.0).view(3, 2), edge_index=torch.tensor([[0, 1], [1, 0]]))


def test_a_repeated_batch_gives_one_graph_several_times() -> None:
    original = graph()
    batches = list(RepeatedBatch(original, 3))
    assert len(RepeatedBatch(original, 3)) == len(batches) == 3
    assert all(batch.x is original.x for batch in batches), "no copy of the tensors"


def test_fixed_batches_come_in_the_same_order_at_every_pass() -> None:
    originals = [graph(), graph()]
    batches = FixedBatches(originals)
    for _ in range(2):
        assert [batch.x.data_ptr() for batch in batches] == [one.x.data_ptr() for one in originals]


def test_a_step_that_assigns_to_its_batch_does_not_change_the_next_one() -> None:
    batches = RepeatedBatch(graph(), 2)
    for batch in batches:
        assert batch.x.dtype == torch.float32
        batch.x = batch.x.to(torch.float64)
        batch.to("meta")  # PyG moves in place
    assert next(iter(batches)).x.device.type == "cpu"


def test_an_order_depends_on_the_seed_and_the_epoch_alone() -> None:
    def orders(seed: int, noise: int) -> list[list[int]]:
        torch.manual_seed(noise)
        order = SeededOrder(range(20), seed)  # type: ignore[arg-type]  # anything with a length
        return [list(order) for _ in range(3)]

    first = orders(seed=1, noise=0)
    assert first == orders(seed=1, noise=5)
    assert first[0] != first[1] != first[2], "each epoch has its own"
    assert first != orders(seed=2, noise=0)
    assert all(sorted(order) == list(range(20)) for order in first)


def test_lightning_sets_the_epoch_so_that_a_resumed_training_sees_the_orders_that_were_due() -> None:
    order = SeededOrder(range(20), 1)  # type: ignore[arg-type]
    due = [list(order) for _ in range(3)][2]
    resumed = SeededOrder(range(20), 1)  # type: ignore[arg-type]
    iterator = iter(resumed)  # Lightning makes the iterator first, and sets the epoch afterwards
    resumed.set_epoch(2)
    assert list(iterator) == due


def test_a_pass_that_is_broken_off_moves_on_all_the_same() -> None:
    order = SeededOrder(range(20), 1)  # type: ignore[arg-type]
    next(iter(order))
    assert order.epoch == 1


def test_processes_share_the_data() -> None:
    shares = [list(SeededOrder(range(20), 1, num_replicas=2, rank=rank)) for rank in range(2)]  # type: ignore[arg-type]
    assert sorted(shares[0] + shares[1]) == list(range(20))
