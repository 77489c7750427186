"""EGNAS's cells with the operations and the frame of hand-made networks: what they are equal to."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import GINEConv

from automl_plugins import Task
from automl_plugins.testing import SupernetContract
from gnn_space import EGNASSpace
from gnn_space.egnas.catalogue import OPERATIONS
from gnn_space.egnas.extended import AttentionNodes, GINENodes
from gnn_space.gated_gcn import GatedGCNLayer

NODE = Task("node", "classes", in_channels=5, out_channels=3)
EDGE = Task("edge", "classes", in_channels=5, out_channels=3)
GRAPH = Task("graph", "regression", in_channels=5, out_channels=2, edge_channels=2)
EDGE_INDEX = torch.tensor([[0, 1, 1, 2, 2, 0, 3, 5, 5, 6], [1, 0, 2, 1, 0, 2, 3, 6, 6, 5]])
"""Two graphs; node 4 is alone, and an edge comes twice."""
BATCH = torch.tensor([0, 0, 0, 0, 1, 1, 1])


def rows(count: int, channels: int, seed: int = 0) -> Tensor:
    return torch.randn(count, channels, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def hand_made_frame(cells: int = 1, nodes: int = 1, **options: object) -> EGNASSpace:
    sizes = {"node_channels": 4, "edge_channels": 4, "operations": "extended", "residual": True, "merge": "sum"}
    return EGNASSpace(cells, nodes, inputs=1, **{**sizes, **options})


class TestExtendedCells(SupernetContract):
    samples = 2

    def space(self) -> EGNASSpace:
        return hand_made_frame(cells=2, edge_channels=3, sum_readout=True)

    def tasks(self) -> list[Task]:
        return [NODE, EDGE, GRAPH]

    def loss(self, network: nn.Module, task: Task) -> Tensor:
        dtype = next(network.parameters()).dtype
        edges = rows(10, task.edge_channels).to(dtype) if task.edge_channels else None
        return network(rows(7, 5).to(dtype), EDGE_INDEX, edges, BATCH, 2).square().mean()


def test_the_papers_operations_come_first_and_are_the_default() -> None:
    of_a_kind = {kind: len(names) for kind, names in OPERATIONS["extended"].items()}
    assert of_a_kind == {"node": 7, "edge": 5}
    for kind, names in OPERATIONS["paper"].items():
        assert OPERATIONS["extended"][kind][:4] == names
    assert EGNASSpace(cells=1, nodes=1).size == 4**4
    assert EGNASSpace(cells=1, nodes=1, operations="extended").size == 7**2 * 5**2
    assert hand_made_frame(cells=3).size == (2 * 7 * 2 * 5) ** 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"operations": "more"}, "operations is one of paper, extended; got 'more'"),
        ({"merge": "mean"}, "merge is one of maps, sum; got 'mean'"),
    ],
)
def test_an_unknown_name_is_refused(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EGNASSpace(**arguments)


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_a_stack_of_gated_gcn_layers_is_a_point_of_the_space(training: bool) -> None:
    torch.manual_seed(0)
    space = hand_made_frame(cells=3)
    values = {choice.name: "1" if choice.kind == "inputs" else "gated" for choice in space.choices}
    network = space.network(space.architecture(values), GRAPH).double().train(training)
    layers = [GatedGCNLayer(4, updates_edges=True).double().train(training) for _ in range(3)]
    for layer in layers:
        for weight in (*layer.norm.parameters(), *layer.edge_norm.parameters()):
            nn.init.normal_(weight)
    for layer, cell in zip(layers, network.cells, strict=True):
        maps = {name: each for name, each in layer.state_dict().items() if "norm" not in name}
        norms = [(f"norm.{name}", each) for name, each in layer.norm.state_dict().items()]
        edge_norms = [(f"norm.{name}", each) for name, each in layer.edge_norm.state_dict().items()]
        cell.operations["node2-from1-gated"].load_state_dict({**maps, **dict(norms)})
        scores = {name: each for name, each in maps.items() if name.split(".")[0] in ("target", "source", "edge")}
        cell.operations["edge2-from1-gated"].load_state_dict({**scores, **dict(edge_norms)})
    first = network.embedding(rows(7, 5), EDGE_INDEX, rows(10, 2), BATCH, 2)
    states, (x, edges) = [first, first], first
    for layer, cell in zip(layers, network.cells, strict=True):
        states.append(cell(states[-2], states[-1], EDGE_INDEX))
        x, edges = layer(x, edges, EDGE_INDEX)
    torch.testing.assert_close(states[-1].nodes, x, rtol=0, atol=1e-10)
    torch.testing.assert_close(states[-1].edges, edges, rtol=0, atol=1e-10)


def test_gine_is_pygs_convolution_with_a_normalisation() -> None:
    torch.manual_seed(0)
    operation = GINENodes(4, 2, affine=False).double().eval()
    nn.init.constant_(operation.epsilon, 0.25)  # PyG keeps it in single precision
    perceptron = nn.Sequential(operation.hidden, nn.ReLU(), operation.output)
    convolution = GINEConv(perceptron, eps=operation.epsilon.item(), edge_dim=2).double()
    convolution.lin = operation.edge
    nodes, edges = rows(7, 4), rows(10, 2)
    expected = operation.norm(convolution(nodes, EDGE_INDEX, edges))
    torch.testing.assert_close(operation(nodes, edges, EDGE_INDEX), expected, rtol=0, atol=1e-10)


def test_attention_weighs_sources_by_scores_that_read_the_edge() -> None:
    torch.manual_seed(0)
    operation = AttentionNodes(4, 2, affine=False).double().eval()
    nodes, edges = rows(7, 4), rows(10, 2)
    received = operation.own(nodes).clone()
    for node in range(7):
        incoming = [edge for edge in range(10) if EDGE_INDEX[1, edge] == node]
        if incoming:
            sent = operation.source(nodes[EDGE_INDEX[0, incoming]])
            hidden = functional.leaky_relu(operation.target(nodes[node]) + sent + operation.edge(edges[incoming]), 0.2)
            received[node] += operation.score(hidden).softmax(0).flatten() @ sent
    torch.testing.assert_close(operation(nodes, edges, EDGE_INDEX), operation.norm(received), rtol=0, atol=1e-10)


def test_a_graphs_readout_takes_the_sum_in_where_it_is_asked_to() -> None:
    torch.manual_seed(0)
    space = hand_made_frame(sum_readout=True)
    values = {choice.name: choice.options[0] for choice in space.choices}
    network = space.network(space.architecture(values), GRAPH).double().eval()
    assert network.readout.perceptron[0].in_features == 3 * (4 + 4)
    one = network(rows(4, 5), EDGE_INDEX[:, :7], rows(10, 2)[:7])
    # Of two copies of a graph the mean and the maximum are the graph's own.
    twice = torch.cat([EDGE_INDEX[:, :7], EDGE_INDEX[:, :7] + 4], dim=1)
    both = network(rows(4, 5).repeat(2, 1), twice, rows(10, 2)[:7].repeat(2, 1))
    assert not torch.allclose(one, both)
