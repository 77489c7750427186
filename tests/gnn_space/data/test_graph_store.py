"""A store's batches are those of PyG's own collation."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch.utils.data import DataLoader, Subset
from torch_geometric.data import Batch, Data

from gnn_space.data.store import GraphStore, StoreLevel, collate


def random_graphs(level: StoreLevel, edge_features: bool) -> list[Data]:
    random = torch.Generator().manual_seed(0)
    graphs = []
    for nodes, edges in ((3, 4), (1, 0), (5, 12), (2, 0), (4, 1)):
        rows = {"graph": 1, "node": nodes, "edge": edges}[level]
        graphs.append(
            Data(
                x=torch.randn(nodes, 2, generator=random),
                edge_index=torch.randint(nodes, (2, edges), generator=random),
                edge_attr=torch.randint(5, (edges, 3), generator=random) if edge_features else None,
                y=torch.randn(rows, 2, generator=random),
            )
        )
    return graphs


def assert_same(ours: Data, theirs: Data) -> None:
    assert sorted(ours.keys()) == sorted(theirs.keys())
    for name, value in theirs.to_dict().items():
        assert ours[name].dtype == value.dtype, name
        assert torch.equal(ours[name], value), name


@pytest.mark.parametrize("level", get_args(StoreLevel))
@pytest.mark.parametrize("edge_features", [False, True])
@pytest.mark.parametrize("indices", [[0, 1, 2, 3, 4], [4, 2, 1], [1], [1, 3], [2, 2]])
def test_a_batch_equals_pygs(level: StoreLevel, edge_features: bool, indices: list[int]) -> None:
    graphs = random_graphs(level, edge_features)
    ours = GraphStore.from_graphs(graphs, level).batch(indices)
    theirs = Batch.from_data_list([graphs[index] for index in indices])
    assert_same(ours, theirs)
    assert ours.num_graphs == theirs.num_graphs
    for one, other in zip(ours.to_data_list(), theirs.to_data_list(), strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("level", get_args(StoreLevel))
def test_an_item_is_the_graph_that_was_put_in(level: StoreLevel) -> None:
    graphs = random_graphs(level, edge_features=True)
    store = GraphStore.from_graphs(graphs, level)
    assert len(store) == len(graphs)
    for index, graph in enumerate(graphs):
        assert_same(store[index], graph)
    assert_same(store[-1], graphs[-1])
    with pytest.raises(IndexError):
        store[len(store)]


def test_a_batch_shares_no_memory_with_the_store() -> None:
    store = GraphStore.from_graphs(random_graphs("graph", edge_features=True))
    batch = store.batch([0])
    before = store[0].clone()
    for name in ("x", "edge_index", "edge_attr", "y"):
        batch[name].zero_()
    assert_same(store[0], before)


def test_graphs_of_more_nodes_than_a_short_integer_counts() -> None:
    size = 40_000
    graph = Data(x=torch.zeros(size, 1), edge_index=torch.tensor([[0, size - 1], [size - 1, 0]]), y=torch.zeros(1))
    batch = GraphStore.from_graphs([graph, graph]).batch([0, 1])
    assert batch.edge_index.tolist() == [[0, size - 1, size, 2 * size - 1], [size - 1, 0, 2 * size - 1, size]]


def test_a_dataloader_over_a_part_of_a_store_gives_pyg_batches() -> None:
    graphs = random_graphs("graph", edge_features=True)
    store = GraphStore.from_graphs(graphs)
    loader = DataLoader(Subset(store, [3, 0, 2]), batch_size=2, collate_fn=collate)
    expected = [Batch.from_data_list([graphs[3], graphs[0]]), Batch.from_data_list([graphs[2]])]
    for ours, theirs in zip(loader, expected, strict=True):
        assert_same(ours, theirs)
