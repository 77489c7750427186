"""The hand-made networks: what they stand for, and that nothing holds them back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Batch, Data

from automl_plugins import Task
from automl_plugins.spaces.task import Level
from gnn_space.data.npz import NpzGraphData
from gnn_space.dmpnn import DMPNN
from gnn_space.gated_gcn import GatedGCN
from gnn_space.references import APPNP, GAT, GCN, GIN, GraphSAGE

# torch says so once in a process, wherever the first such tensor is made.
pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")

REFERENCES = (GCN, GAT, GraphSAGE, GIN, GatedGCN, APPNP, DMPNN)
LEVELS: tuple[Level, ...] = ("node", "edge", "graph")
OFFERED = [(reference, level) for reference in REFERENCES for level in LEVELS if level in reference.levels]
PLAIN = Task("node", "classes", in_channels=5, out_channels=3)
WITH_EDGES = replace(PLAIN, edge_channels=2)
CATEGORICAL = replace(PLAIN, in_channels=2, node_categories=(4, 3), edge_channels=1, edge_categories=(3,))

over_offered = pytest.mark.parametrize(
    ("reference", "level"), OFFERED, ids=[f"{reference.__name__}-{level}" for reference, level in OFFERED]
)


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    torch.manual_seed(0)


def graph_for(task: Task, seed: int = 0, num_nodes: int = 6) -> Data:
    generator = torch.Generator().manual_seed(seed)
    ring = torch.stack([torch.arange(num_nodes), (torch.arange(num_nodes) + 1) % num_nodes])
    graph = Data(edge_index=torch.cat([ring, ring.flip(0)], dim=1))
    if task.node_categories:
        columns = [torch.randint(count, (num_nodes,), generator=generator) for count in task.node_categories]
        graph.x = torch.stack(columns, dim=1)
    else:
        graph.x = torch.randn(num_nodes, task.in_channels, generator=generator)
    if task.edge_categories:
        columns = [torch.randint(count, (2 * num_nodes,), generator=generator) for count in task.edge_categories]
        graph.edge_attr = torch.stack(columns, dim=1)
    elif task.edge_channels:
        graph.edge_attr = torch.randn(2 * num_nodes, task.edge_channels, generator=generator)
    return graph


def run(network: nn.Module, graph: Data) -> Tensor:
    batch = getattr(graph, "batch", None)
    return network(graph.x, graph.edge_index, graph.edge_attr, batch, None if batch is None else graph.num_graphs)


@over_offered
@pytest.mark.parametrize("kind", [PLAIN, WITH_EDGES, CATEGORICAL], ids=["features", "edge-features", "categories"])
def test_each_builds_and_trains_on_every_level_that_it_names(
    reference: type[nn.Module], level: Level, kind: Task
) -> None:
    task = replace(kind, level=level)
    network = reference(task).train()
    batch = Batch.from_data_list([graph_for(task, seed=0), graph_for(task, seed=1, num_nodes=4)])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    output = run(network, batch)
    rows = {"node": 10, "edge": 20, "graph": 2}[level]
    assert output.shape == (rows, 3)
    functional.cross_entropy(output, torch.arange(rows) % 3).backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
    optimizer.step()
    assert run(network.eval(), batch).isfinite().all()


@pytest.mark.parametrize("reference", REFERENCES)
def test_other_levels_are_refused(reference: type[nn.Module]) -> None:
    for level in set(get_args(Level)) - reference.levels:
        with pytest.raises(ValueError, match=f"{reference.__name__} is for the level.*; the task's is '{level}'"):
            reference(replace(PLAIN, level=level))


def test_appnp_is_for_nodes_and_dmpnn_for_nodes_and_graphs() -> None:
    assert (APPNP.levels, DMPNN.levels) == ({"node"}, {"node", "graph"})
    others = [reference for reference in REFERENCES if reference not in (APPNP, DMPNN)]
    assert all(reference.levels == {"node", "edge", "graph"} for reference in others)


@over_offered
def test_the_order_of_nodes_means_nothing(reference: type[nn.Module], level: Level) -> None:
    task = replace(WITH_EDGES, level=level)
    network = reference(task).double().eval()
    graph = graph_for(task)
    graph.x, graph.edge_attr = graph.x.double(), graph.edge_attr.double()
    generator = torch.Generator().manual_seed(0)
    nodes, edges = torch.randperm(6, generator=generator), torch.randperm(12, generator=generator)
    new_name = torch.empty_like(nodes)
    new_name[nodes] = torch.arange(6)
    reordered = Data(
        x=graph.x[nodes], edge_index=new_name[graph.edge_index[:, edges]], edge_attr=graph.edge_attr[edges]
    )
    order = {"node": nodes, "edge": edges, "graph": torch.tensor([0])}[level]
    torch.testing.assert_close(run(network, reordered), run(network, graph)[order], rtol=1e-9, atol=1e-12)


@over_offered
def test_a_batch_gives_what_its_graphs_give_one_by_one(reference: type[nn.Module], level: Level) -> None:
    task = replace(PLAIN, level=level)
    network = reference(task).eval()
    graphs = [graph_for(task, seed=0), graph_for(task, seed=1, num_nodes=4)]
    one_by_one = torch.cat([run(network, graph) for graph in graphs])
    torch.testing.assert_close(run(network, Batch.from_data_list(graphs)), one_by_one, rtol=1e-4, atol=1e-5)


@over_offered
def test_gin_gat_gated_gcn_and_dmpnn_read_edge_features(reference: type[nn.Module], level: Level) -> None:
    task = replace(WITH_EDGES, level=level)
    network = reference(task).eval()
    graph = graph_for(task)
    before = run(network, graph)
    graph.edge_attr[0] += 1.0
    changed = (run(network, graph) - before).abs().amax(dim=1) > 1e-6
    if reference in (GIN, GAT, GatedGCN, DMPNN):
        # More than the edge's own end: its features travel on with the messages.
        assert changed.sum() >= {"node": 2, "edge": 2, "graph": 1}[level]
    else:
        # The others take no notice, but on edge level the head does, of this edge alone.
        assert changed.tolist() == [level == "edge", *[False] * (len(changed) - 1)]


def test_gin_is_gine_where_edges_have_features() -> None:
    maps = {task: [layer.lin for layer in GIN(task).layers] for task in (PLAIN, WITH_EDGES)}
    assert not any(maps[PLAIN])
    assert all(each.in_features == 2 for each in maps[WITH_EDGES])


def test_on_nodes_they_have_their_published_sizes() -> None:
    cora = Task("node", "classes", in_channels=1433, out_channels=7)
    sizes = {
        reference: sum(weight.numel() for weight in reference(cora).parameters()) for reference in (GCN, GAT, APPNP)
    }
    assert sizes[GCN] == (1433 * 64 + 64) + (64 * 7 + 7)
    # Eight heads of eight channels, then one head of the classes; two attention vectors in each layer.
    assert sizes[GAT] == (1433 * 64 + 2 * 64 + 64) + (64 * 7 + 2 * 7 + 7)
    assert sizes[APPNP] == (1433 * 64 + 64) + (64 * 7 + 7)


@pytest.mark.parametrize("reference", REFERENCES)
def test_features_in_csr_layout_give_what_dense_ones_give(reference: type[nn.Module]) -> None:
    graph = graph_for(PLAIN)
    graph.x = graph.x * (graph.x > 0)
    network = reference(PLAIN).eval()
    sparse = Data(x=graph.x.to_sparse_csr(), edge_index=graph.edge_index)
    torch.testing.assert_close(run(network, sparse), run(network, graph), rtol=1e-4, atol=1e-5)
    functional.cross_entropy(run(network.train(), sparse), torch.arange(6) % 3).backward()
    assert all(weight.grad is not None for weight in network.parameters())


@pytest.mark.parametrize("reference", [GCN, GAT, GraphSAGE, GIN])
def test_a_batch_of_one_node_does_not_end_a_training(reference: type[nn.Module]) -> None:
    # The last batch of an epoch may be a single molecule of a single atom, which has no variance.
    task = replace(PLAIN, level="graph")
    network = reference(task).train()
    output = network(torch.randn(1, 5), torch.zeros(2, 0, dtype=torch.long))
    output.sum().backward()
    assert output.isfinite().all()


def test_gcn_is_not_crippled(shared_data: Path) -> None:
    data = NpzGraphData(shared_data / "graph" / "cora.npz")
    graph = data.loaded.graph
    x = graph.x if graph.x.layout == torch.sparse_csr else graph.x.to_sparse_csr()
    torch.manual_seed(0)
    network = GCN(data.task).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2, weight_decay=5e-4)
    for _ in range(100):
        optimizer.zero_grad()
        output = network(x, graph.edge_index)
        functional.cross_entropy(output[graph.train_mask], graph.y[graph.train_mask]).backward()
        optimizer.step()
    with torch.no_grad():
        right = network.eval()(x, graph.edge_index).argmax(dim=1) == graph.y
    # Kipf and Welling report 0.815.
    assert right[graph.test_mask].double().mean() > 0.78


@pytest.mark.parametrize("reference", [GIN, GatedGCN])
def test_a_width_of_ones_own_settles_the_size(reference: type[nn.Module]) -> None:
    sizes = [
        sum(weight.numel() for weight in reference(WITH_EDGES, channels=channels).parameters())
        for channels in (8, 16, 32)
    ]
    assert sizes == sorted(set(sizes))
