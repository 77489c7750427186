"""Batches made once, and the order of training batches."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch_geometric.data import Data

from gnn_space.data.batches import FixedBatches, RepeatedBatch, ResumableLoader, SeededOrder
from gnn_space.data.store import GraphStore, collate


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


def loader_of(count: int = 10, batch_size: int = 3) -> ResumableLoader:
    graphs = [
        Data(x=torch.full((2, 1), float(i)), edge_index=graph().edge_index, y=torch.zeros(1)) for i in range(count)
    ]
    store = GraphStore.from_graphs(graphs)
    return ResumableLoader(store, batch_size=batch_size, sampler=SeededOrder(store, 1), collate_fn=collate)


def seen(batches: Iterable[Data]) -> list[list[float]]:
    return [batch.x[::2, 0].tolist() for batch in batches]


def test_a_pass_that_was_broken_off_goes_on_where_it_was() -> None:
    uninterrupted = loader_of()
    passes = [seen(uninterrupted) for _ in range(3)]
    for epoch in range(3):
        for given in range(1, 5):
            broken = loader_of()
            broken.sampler.set_epoch(epoch)
            iterator = iter(broken)
            for _ in range(given):
                next(iterator)
            resumed = loader_of()
            resumed.load_state_dict(broken.state_dict())
            assert resumed.state_dict() == broken.state_dict() == {"epoch": epoch, "batches": given}
            assert seen(resumed) == passes[epoch][given:]
            if epoch < 2:
                assert seen(resumed) == passes[epoch + 1]


def test_a_state_of_one_pass_does_not_shorten_another() -> None:
    resumed = loader_of()
    resumed.load_state_dict({"epoch": 0, "batches": 4})
    iterator = iter(resumed)
    resumed.sampler.set_epoch(1)  # as Lightning does when the checkpoint was of the last batch
    expected = loader_of()
    expected.sampler.set_epoch(1)
    assert seen(iterator) == seen(expected)


def test_graphs_are_shared_out_for_a_search() -> None:
    training, search = loader_of(20).split(0.25, seed=3)
    first, second = ({value for batch in seen(part) for value in batch} for part in (training, search))
    assert (len(first), len(second)) == (15, 5)
    assert first | second == set(range(20))
    again = loader_of(20).split(0.25, seed=3)[1]
    assert {value for batch in seen(again) for value in batch} == second
    assert isinstance(training, ResumableLoader), "what is left can be gone on with, too"


def test_the_training_nodes_of_one_graph_are_shared_out_for_a_search() -> None:
    whole = Data(x=torch.zeros(10, 1), train_mask=torch.arange(10) < 8)
    training, search = RepeatedBatch(whole, 2).split(0.5, seed=0)
    masks = [next(iter(part)).train_mask for part in (training, search)]
    assert [int(mask.sum()) for mask in masks] == [4, 4]
    assert torch.equal(masks[0] | masks[1], whole.train_mask)
    assert len(training) == len(search) == 2
