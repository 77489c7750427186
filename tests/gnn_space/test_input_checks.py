"""Inputs that a network's task does not have: one line that names them, from every network and supernet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch_geometric.data import Data, HeteroData

from automl_plugins import Task, registry
from gnn_space import AGNNSpace, EGNASSpace, GNNPlusSpace

TASK = Task("graph", "regression", in_channels=4, out_channels=1, edge_channels=1)
SPACES: list[Any] = [
    AGNNSpace(layers=1, hidden_channels=(4,), heads=(1,)),
    EGNASSpace(cells=1, nodes=1, node_channels=4, edge_channels=2),
    GNNPlusSpace(depths=(2,), channels=(8,)),
]
NODE = torch.arange(5)


def given(**changes: Any) -> dict[str, Any]:
    edges = torch.stack([NODE, NODE.roll(1)])
    inputs = {"x": torch.rand(5, 4), "edge_index": edges, "edge_attr": torch.rand(5, 1), "batch": NODE * 0}
    return inputs | {"num_graphs": 1} | changes


def networks(task: Task) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in registry.names("references"):
        make = registry.load("references", name)
        if task.level in make.levels:
            yield name, make(task)
    for space in SPACES:
        narrow = space.within(task)
        yield space.name, narrow.network(narrow.sample(torch.Generator().manual_seed(0)), task)
        yield f"searchable of {space.name}", narrow.searchable(task)


NETWORKS: list[tuple[str, nn.Module]] = list(networks(TASK))  # type: ignore[arg-type]
READS_EDGES = [
    (name, network)
    for name, network in NETWORKS
    if "edge" in "".join(part for part, _ in network.named_parameters()) or name in ("gine", "dmpnn", "gated-gcn")
]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": None}, r"x is None; nodes without features have a constant one: x = torch.ones\(num_nodes, 1\)"),
        ({"x": torch.rand(5, 3)}, r"x has the shape \[num_nodes, 4\] by the network's task; got \[5, 3\]"),
        ({"x": torch.rand(5)}, r"x has the shape \[num_nodes, 4\] by the network's task; got \[5\]"),
        ({"x": torch.ones(5, 4, dtype=torch.long)}, r"x is of int64; give x.float\(\), or, .* the task's node_categ"),
        ({"x": torch.eye(5, 4).to_sparse_coo()}, r"x is dense or in CSR layout; got sparse_coo; give x.to_sparse_csr"),
        ({"edge_index": None}, r"edge_index is a tensor of integers \[2, num_edges\]; got NoneType"),
        ({"edge_index": torch.stack([NODE, NODE.roll(1)]).t()}, r"edge_index is int64 \[5, 2\]; it holds integers"),
        ({"edge_index": torch.stack([NODE, NODE]).float()}, r"edge_index is float32 \[2, 5\]; it holds integers"),
        ({"edge_index": torch.stack([NODE, NODE + 1])}, "edge_index has targets from 1 to 5; the 5 nodes are 0 to 4"),
        ({"edge_index": torch.stack([NODE - 1, NODE])}, "edge_index has sources from -1 to 3; the 5 nodes are 0 to 4"),
        ({"edge_attr": torch.rand(1, 1)}, r"edge_attr has a row for each of the 5 edges; got \[1, 1\]"),
        ({"batch": torch.zeros(4, dtype=torch.long)}, r"batch has the graph of each of the 5 nodes; got \[4\]"),
    ],
)
def test_every_network_names_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    for _, network in NETWORKS:
        with pytest.raises(ValueError, match=message):
            network(**given(**changes))


@pytest.mark.parametrize(
    ("edge_attr", "message"),
    [
        (None, "the network's task has 1 edge channels, but edge_attr is None"),
        # Five edges of one channel, read as one edge of five, would be added to all of them.
        (torch.rand(5), r"edge_attr has the shape \[num_edges, 1\] .* got \[5\]; give edge_attr.unsqueeze\(1\)"),
        (torch.rand(5, 2), r"edge_attr has the shape \[num_edges, 1\] by the network's task; got \[5, 2\]"),
        (torch.ones(5, 1, dtype=torch.int64), r"edge_attr is of int64; give edge_attr.float\(\)"),
    ],
)
def test_a_network_that_reads_features_of_edges_names_what_is_wrong_with_them(edge_attr: Any, message: str) -> None:
    assert len(READS_EDGES) > len(SPACES)
    for _, network in READS_EDGES:
        with pytest.raises(ValueError, match=message):
            network(**given(edge_attr=edge_attr))


@pytest.mark.parametrize("what", [HeteroData(), [Data(x=torch.rand(1, 4))], {"x": torch.rand(1, 4)}])
def test_what_is_no_graph_of_one_kind_is_named(what: Any) -> None:
    for _, network in NETWORKS:
        with pytest.raises(
            ValueError, match=f"takes x, edge_index, .*, or a Data or Batch of PyG; got {type(what).__name__}"
        ):
            network(what)


def test_a_graph_without_features_of_nodes_is_told_how_to_have_some() -> None:
    inputs = given()
    graph = Data(edge_index=inputs["edge_index"], edge_attr=inputs["edge_attr"], num_nodes=5)
    for _, network in NETWORKS:
        with pytest.raises(ValueError, match=r"x is None; .*torch.ones\(num_nodes, 1\)"):
            network(graph)
    with pytest.raises(ValueError, match="at least 1; got 0; nodes without features have a constant one"):
        Task("graph", "regression", in_channels=0, out_channels=1, edge_channels=1)
    graph.x, task = torch.ones(5, 1), Task("graph", "regression", in_channels=1, out_channels=1, edge_channels=1)
    for _, network in networks(task):
        assert network(graph).shape == (1, 1)
