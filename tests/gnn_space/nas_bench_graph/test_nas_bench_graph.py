"""NAS-Bench-Graph as built networks: the contract, PyG's operations, the benchmark's parameters, and its table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_geometric import nn as pyg

from automl_plugins import Task
from automl_plugins.tables import nas_bench_graph
from automl_plugins.tables.files import numbers, read_csv
from automl_plugins.tables.nas_bench_graph import NASBenchGraphSpace as TableSpace
from automl_plugins.testing import SupernetContract
from gnn_space.compressed import CompressedEdges
from gnn_space.nas_bench_graph import NASBenchGraphSpace
from gnn_space.nas_bench_graph.links import LINK, LINKS, NODES, operation_name, operations_of
from gnn_space.nas_bench_graph.network import Node
from gnn_space.nas_bench_graph.operations import LAYERS

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")

NODE = Task("node", "classes", in_channels=5, out_channels=3)
CATEGORIES = Task("node", "binary", 2, 1, node_categories=(4, 3))
EDGES = torch.tensor([[0, 1, 1, 2, 2, 3, 3, 4, 4, 0, 1, 3], [1, 0, 2, 1, 3, 2, 4, 3, 0, 4, 3, 1]])
LONELY = 7
"""Nodes of the graph; the last two have no edges."""
SKIPS = "skip skip skip skip"


def features(task: Task, nodes: int = LONELY) -> Tensor:
    if task.node_categories:
        return torch.stack([torch.randint(count, (nodes,)) for count in task.node_categories], dim=1)
    return torch.randn(nodes, task.in_channels)


class TestTheSearchSpace(SupernetContract):
    samples = 15
    enumerable = 100

    def space(self) -> NASBenchGraphSpace:
        return NASBenchGraphSpace(channels=8, node_embedding=6)

    def tasks(self) -> Sequence[Task]:
        return [NODE, CATEGORIES]

    def loss(self, network: nn.Module, task: Task) -> Tensor:
        outputs = network(features(task), EDGES)
        return (outputs - torch.randn(outputs.shape)).square().mean()


class TestOneOutputLayer(TestTheSearchSpace):
    samples = 5

    def space(self) -> NASBenchGraphSpace:
        return NASBenchGraphSpace(channels=4, output_layers=1, dropout=0.0)

    def tasks(self) -> Sequence[Task]:
        return [NODE]


# Operations.

PYG = {
    "gat": lambda inputs, outputs: pyg.GATConv(inputs, outputs // 4, 4),
    "gcn": pyg.GCNConv,
    "gin": lambda inputs, outputs: pyg.GINConv(nn.Linear(inputs, outputs)),
    "cheb": lambda inputs, outputs: pyg.ChebConv(inputs, outputs, K=2),
    "sage": pyg.SAGEConv,
    "arma": pyg.ARMAConv,
    "graph": pyg.GraphConv,
}


@pytest.mark.parametrize("edges", [EDGES, torch.cat([EDGES, torch.tensor([[2, 2], [2, 4]])], dim=1)], ids=["", "loop"])
@pytest.mark.parametrize("name", PYG)
def test_operations_are_pygs(name: str, edges: Tensor) -> None:
    torch.manual_seed(0)
    ours, theirs = LAYERS[name](5, 8).double(), PYG[name](5, 8).double()
    missing = theirs.load_state_dict(ours.state_dict(), strict=False).missing_keys
    # What neither is trained nor read.
    assert missing == {"arma": ["weight"], "gin": ["eps"]}.get(name, [])
    x = torch.randn(LONELY, 5, dtype=torch.float64)
    expected = theirs(x, edges)
    torch.testing.assert_close(ours(x, CompressedEdges(edges, LONELY)), expected, rtol=0, atol=1e-12)
    sparse = torch.where(x > 0, x, 0.0)
    torch.testing.assert_close(
        ours(sparse.to_sparse_csr(), CompressedEdges(edges, LONELY)), theirs(sparse, edges), rtol=0, atol=1e-12
    )


# Networks.


@pytest.mark.parametrize(("graph", "sizes", "task"), [
    ("cora", {"channels": 256}, Task("node", "classes", 1433, 7)),
    ("pubmed", {"channels": 128, "output_layers": 1}, Task("node", "classes", 500, 3)),
    ("arxiv", {"channels": 128}, Task("node", "classes", 128, 40)),
])  # fmt: skip
def test_networks_have_the_parameters_of_the_table(
    graph: str, sizes: dict[str, int], task: Task, shared_data: Path
) -> None:
    content = read_csv(shared_data / "tables" / "nas_bench_graph" / f"{graph}.csv.gz")
    published = numbers(content["params_m"])
    space = NASBenchGraphSpace(**sizes)
    for row in np.random.default_rng(0).choice(len(published), 40, replace=False):
        architecture = space.named(content["link"][row], content["ops"][row])
        with torch.device("meta"):
            network = space.build(architecture, task)
        # They count what nothing reads: a normalisation in front of each node, and a square matrix of ARMAConv.
        norms = sum(isinstance(each, Node) and each.norm is not None for each in network.modules())
        unused = 2 * space.channels * (len(NODES) - norms)
        unused += space.channels**2 * operations_of(architecture).count("arma")
        count = space.num_parameters(architecture, task)
        assert count + unused == pytest.approx(1e6 * published[row], abs=1)


def test_architectures_with_one_row_have_as_many_parameters() -> None:
    space, table = NASBenchGraphSpace(channels=4), TableSpace()
    counts: dict[object, set[int]] = {}
    drawn = [(link, " ".join(names)) for link in LINKS for names in product(("gcn", "arma", "skip"), repeat=4)]
    for link, names in drawn[::3]:
        architecture = space.named(link, names)
        counts.setdefault(table.key(architecture), set()).add(space.num_parameters(architecture, NODE))
    assert len(counts) < len(drawn[::3]) / 1.5
    assert all(len(each) == 1 for each in counts.values())


def test_skips_hand_on_what_they_read() -> None:
    space = NASBenchGraphSpace(channels=8)
    torch.manual_seed(0)
    before, behind = (
        space.network(space.named("0123", names), NODE).eval() for names in ("skip skip gcn gat", "gcn skip skip gat")
    )
    behind.load_state_dict({name.replace("nodes.3.", "nodes.1."): each for name, each in before.state_dict().items()})
    x = features(NODE)
    with torch.no_grad():
        assert torch.equal(before(x, EDGES), behind(x, EDGES))


def test_nodes_that_nobody_reads_go_to_the_output_but_for_the_features() -> None:
    space = NASBenchGraphSpace(channels=8)
    for link, names, read in (
        ("0000", "gcn fc gat gin", (1, 2, 3, 4)),
        ("0001", "skip fc skip gin", (2, 4)),
        ("0112", "gcn fc skip skip", (3, 4)),
        ("0123", SKIPS, ()),
    ):
        assert space.network(space.named(link, names), NODE).read == read


def test_a_network_of_skips_alone_is_a_linear_map_of_the_features() -> None:
    space = NASBenchGraphSpace(channels=8, dropout=0.0)
    network = space.network(space.named("0012", SKIPS), NODE)
    x = features(NODE)
    torch.testing.assert_close(network(x, EDGES), network.output(network.join(x)))


def test_soft_gates_of_structures_mix_what_nodes_read_and_what_goes_out() -> None:
    # Linear maps of one node, of states without a normalisation's statistics: what is mixed can be worked out.
    space = NASBenchGraphSpace(channels=8, dropout=0.0, output_layers=1)
    torch.manual_seed(0)
    supernet = space.supernet(NODE).double().eval()
    fully = space.named("0000", "fc fc fc fc")
    gates = {name: gate.clone() for name, gate in space.gates(fully, torch.float64).items()}
    gates[LINK] = torch.tensor([0.25, 0.75] + [0.0] * 7, dtype=torch.float64)
    gates[operation_name(4)] = torch.tensor([0.0] * 7 + [0.4, 0.6], dtype=torch.float64)
    x = torch.randn(LONELY, 5, dtype=torch.float64)
    with torch.no_grad():
        node = supernet.nodes["4"]
        of_one = supernet.nodes["1"].of_features["fc"](x, None)
        state = torch.relu(node.norm(0.75 * of_one))
        fourth = 0.6 * 0.75 * of_one
        fourth = fourth + 0.4 * (0.25 * node.of_features["fc"](x, None) + 0.75 * node.of_states["fc"](state, None))
        others = [supernet.nodes[str(each)].of_features["fc"](x, None) for each in (2, 3)]
        states = {1: (0.25, of_one), 2: (1.0, others[0]), 3: (1.0, others[1]), 4: (1.0, fourth)}
        expected = sum(w * supernet.join[str(each)](torch.relu(s)) for each, (w, s) in states.items())
        torch.testing.assert_close(supernet(x, EDGES, gates=gates), expected + supernet.join_bias, rtol=0, atol=1e-12)


# The table.


def test_architectures_are_looked_up_in_the_table_as_they_are(shared_data: Path) -> None:
    space, table = NASBenchGraphSpace(), nas_bench_graph("cora", shared_data)
    assert space.choices == table.space.choices
    generator = np.random.default_rng(0)
    for _ in range(50):
        architecture = space.sample(generator)
        table.space.validate(architecture)
        assert table.row(architecture) is not None
    row = table.row(space.references(NODE)["gcn"])
    assert table.columns["test_perf"][row] == pytest.approx(0.801667)


# What is refused.


def test_gates_without_an_open_option_are_named() -> None:
    space = NASBenchGraphSpace(channels=4)
    for name in (LINK, operation_name(3)):
        gates = dict(space.gates(space.references(NODE)["gcn"]))
        gates[name] = torch.zeros_like(gates[name])
        with pytest.raises(ValueError, match=f"no option of '{name}' is open"):
            space.supernet(NODE)(features(NODE), EDGES, gates=gates)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 6}, "channels is a multiple of 4, those of attention's heads; got 6"),
        ({"output_layers": 3}, "output_layers is 1 or 2; got 3"),
        ({"dropout": 1.0}, "dropout is at least 0 and less than 1; got 1.0"),
        ({"node_embedding": 0}, "node_embedding is at least 1; got 0"),
    ],
)
def test_numbers_out_of_range_are_named(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NASBenchGraphSpace(**arguments)


def test_tasks_with_edge_features_are_refused_with_the_space_that_reads_them() -> None:
    with pytest.raises(ValueError, match=r"no operation of 'nas-bench-graph' reads edge features.*'gnn-plus'"):
        NASBenchGraphSpace().supernet(Task("node", "classes", 5, 3, edge_channels=2))


def test_too_few_operations_are_refused() -> None:
    with pytest.raises(ValueError, match="has 4 operations; got 'gcn gat'"):
        NASBenchGraphSpace().named("0012", "gcn gat")
