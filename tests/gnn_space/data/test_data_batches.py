"""Batches made once, and the order of training batches."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch_geometric.data import Data

from automl_plugins.training.data.batches import FixedBatches, ResumableLoader, SeededOrder
from gnn_space.data.batches import RepeatedBatch
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


def loader_of(count: int = 10, batch_size: int = 3) -> ResumableLoader:
    graphs = [
        Data(x=torch.full((2, 1), float(i)), edge_index=graph().edge_index, y=torch.zeros(1)) for i in range(count)
    ]
    store = GraphStore.from_graphs(graphs)
    return ResumableLoader(store, batch_size=batch_size, sampler=SeededOrder(store, 1), collate_fn=collate)


def seen(batches: Iterable[Data]) -> list[list[float]]:
    return [batch.x[::2, 0].tolist() for batch in batches]


def test_batches_of_a_store_go_on_where_they_were() -> None:
    whole = seen(loader_of())
    resumed = loader_of()
    resumed.load_state_dict({"epoch": 0, "batches": 2})
    assert seen(resumed) == whole[2:]


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
