"""The public layers against PyG's own, with PyG's weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch_geometric import nn as theirs

from gnn_space.aggregation import aggregate
from gnn_space.compressed import CompressedEdges
from gnn_space.layers import GATLayer, GCNLayer, GINLayer, PropagationLayer, SAGELayer

NODES, EDGE_CHANNELS = 7, 3
# Node 0 receives nothing; node 2 hears of node 1 twice, and of itself.
EDGES = torch.tensor([[0, 1, 1, 2, 3, 3, 4, 5, 6, 0, 0, 4], [1, 2, 2, 2, 2, 4, 3, 4, 5, 5, 3, 1]])


pytestmark = [
    pytest.mark.usefixtures("form"),
    pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta"),
]


def perceptron(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, width), nn.ReLU(), nn.Linear(width, width))


PAIRS: dict[str, tuple[Callable[[int, int], nn.Module], Callable[[int, int], nn.Module], bool]] = {
    "gcn": (theirs.GCNConv, GCNLayer, False),
    "sage": (theirs.SAGEConv, SAGELayer, False),
    "gat": (lambda i, o: theirs.GATConv(i, o, 3), lambda i, o: GATLayer(i, o, 3), False),
    "gat-edges": (
        lambda i, o: theirs.GATConv(i, o, 3, edge_dim=EDGE_CHANNELS),
        lambda i, o: GATLayer(i, o, 3, edge_dim=EDGE_CHANNELS),
        True,
    ),
    "gin": (
        lambda i, o: theirs.GINConv(perceptron(i, o), train_eps=True, eps=0.3),
        lambda i, o: GINLayer(perceptron(i, o)),
        False,
    ),
    "gine": (
        lambda i, o: theirs.GINEConv(perceptron(i, o), train_eps=True, eps=0.3, edge_dim=EDGE_CHANNELS),
        lambda i, o: GINLayer(perceptron(i, o), edge_dim=EDGE_CHANNELS),
        True,
    ),
    "appnp": (lambda i, o: theirs.APPNP(K=4, alpha=0.1), lambda i, o: PropagationLayer(4, 0.1), False),
}


def pair(name: str, channels: int, width: int) -> tuple[nn.Module, nn.Module, tuple[Tensor, ...]]:
    """PyG's layer and ours with its weights, and their inputs behind x and the edges."""
    torch.manual_seed(0)
    make_theirs, make_ours, reads_edges = PAIRS[name]
    layers = [make(channels, width).double() for make in (make_theirs, make_ours)]
    for weight in layers[0].parameters():
        nn.init.normal_(weight)
    layers[1].load_state_dict(layers[0].state_dict())
    edge_attr = torch.randn(EDGES.size(1), EDGE_CHANNELS, dtype=torch.float64)
    return layers[0], layers[1], (edge_attr,) if reads_edges else ()


@pytest.mark.parametrize(("channels", "width"), [(6, 4), (4, 6)], ids=["narrower", "wider"])
@pytest.mark.parametrize("name", PAIRS)
def test_a_layer_computes_what_pygs_computes_with_its_weights(name: str, channels: int, width: int) -> None:
    reference, layer, others = pair(name, channels, width)
    x = torch.randn(NODES, channels, dtype=torch.float64)
    found = []
    for module in (reference, layer):
        given = x.clone().requires_grad_()
        output = module(given, EDGES, *others)
        output.square().sum().backward()
        found.append({"": output, "x": given.grad, **{name: each.grad for name, each in module.named_parameters()}})
    assert found[0].keys() == found[1].keys()
    for part, expected in found[0].items():
        torch.testing.assert_close(found[1][part], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("layout", [torch.sparse_csr, torch.sparse_coo])
@pytest.mark.parametrize("name", PAIRS)
def test_sparse_features_give_what_dense_ones_give(name: str, layout: torch.layout) -> None:
    _, layer, others = pair(name, 4, 6)
    x = torch.randn(NODES, 4, dtype=torch.float64).relu()
    found = []
    for given in (x, x.to_sparse(layout=layout)):
        output = layer(given, EDGES, *others)
        weights = list(layer.parameters())
        found.append([output, *(torch.autograd.grad(output.square().sum(), weights) if weights else ())])
    for got, expected in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


def test_aggregation_names_sparse_features() -> None:
    with pytest.raises(ValueError, match=r"takes dense features; got sparse_csr \[2, 3\]: map them, or"):
        aggregate(torch.ones(2, 3).to_sparse_csr(), torch.tensor([[0], [1]]))


@pytest.mark.parametrize("name", PAIRS)
def test_compressed_edges_stand_for_their_edge_index(name: str) -> None:
    _, layer, others = pair(name, 4, 6)
    x, edges = torch.randn(NODES, 4, dtype=torch.float64), CompressedEdges(EDGES, NODES)
    assert torch.equal(layer(x, edges, *others), layer(x, EDGES, *others))


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("count", [NODES - 1, NODES + 2])
def test_edges_of_another_graph_are_named(name: str, count: int) -> None:
    _, layer, others = pair(name, 4, 6)
    edges = CompressedEdges(EDGES % count, count)
    with pytest.raises(ValueError, match=f"x has {NODES} nodes and its CompressedEdges were made of {count}; "):
        layer(torch.randn(NODES, 4, dtype=torch.float64), edges, *others)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("receive", [1, NODES + 2])
def test_edges_to_fewer_or_more_nodes_than_send_are_named(name: str, receive: int) -> None:
    """One node that receives would be broadcast to all."""
    _, layer, others = pair(name, 4, 6)
    edges = CompressedEdges(EDGES % torch.tensor([[NODES], [receive]]), receive, NODES)
    with pytest.raises(ValueError, match=f"made of {NODES} that send, {receive} that receive; make them of this graph"):
        layer(torch.randn(NODES, 4, dtype=torch.float64), edges, *others)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(
    ("x", "edges", "message"),
    [
        (torch.ones(NODES), EDGES, rf"x has the shape \[num_nodes, channels\]; got \[{NODES}\]"),
        (torch.ones(NODES, 2, 4), EDGES, rf"x has the shape \[num_nodes, channels\]; got \[{NODES}, 2, 4\]"),
        ([[1.0] * 4] * NODES, EDGES, "x is a tensor; got list"),
        (torch.ones(NODES, 4), EDGES.tolist(), r"edge_index is a tensor of integers \[2, num_edges\], or .*; got list"),
        (torch.ones(NODES, 4), EDGES.to("meta"), "x is on cpu and edge_index on meta; move both to one device"),
    ],
)
def test_a_layer_names_what_is_wrong_with_its_call(name: str, x: object, edges: object, message: str) -> None:
    _, layer, others = pair(name, 4, 6)
    with pytest.raises(ValueError, match=f"^{message}$"):
        layer(x, edges, *others)


@pytest.mark.parametrize("name", [name for name in PAIRS if name != "appnp"])
def test_a_layer_names_other_channels_than_its_weights(name: str) -> None:
    _, layer, others = pair(name, 4, 6)
    with pytest.raises(
        ValueError, match=rf"x has the shape \[num_nodes, 4\] by the layer's weights; got \[{NODES}, 5\]"
    ):
        layer(torch.ones(NODES, 5, dtype=torch.float64), EDGES, *others)


@pytest.mark.parametrize("name", [name for name, (_, _, reads_edges) in PAIRS.items() if reads_edges])
@pytest.mark.parametrize("shape", [(1, EDGE_CHANNELS), (EDGES.size(1),)])
def test_features_of_other_edges_are_named(name: str, shape: tuple[int, ...]) -> None:
    """Those of one edge would be broadcast to all."""
    _, layer, _ = pair(name, 4, 6)
    with pytest.raises(ValueError, match=rf"edge_attr has a row for each of the {EDGES.size(1)} edges; got "):
        layer(torch.ones(NODES, 4, dtype=torch.float64), EDGES, torch.ones(shape, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(NODES,), (NODES, 1, 2, 2)])
def test_aggregation_names_features_of_other_dimensions(shape: tuple[int, ...]) -> None:
    """A mean of four dimensions would be of `[num_nodes, num_nodes, ...]`."""
    with pytest.raises(
        ValueError, match=r"x has the shape \[num_nodes, channels\] or \[num_nodes, heads, channels\]; got"
    ):
        aggregate(torch.ones(shape), EDGES, reduce="mean")


def test_aggregation_names_a_number_of_nodes_that_its_edges_do_not_have() -> None:
    with pytest.raises(ValueError, match=f"num_nodes=9, but the CompressedEdges lead to {NODES} nodes"):
        aggregate(torch.ones(NODES, 4), CompressedEdges(EDGES, NODES), num_nodes=9)


def test_a_perceptron_that_begins_otherwise_is_named() -> None:
    with pytest.raises(ValueError, match=r"begins with an nn\.Linear; got a Sequential that begins with ReLU"):
        GINLayer(nn.Sequential(nn.ReLU(), nn.Linear(2, 2)), edge_dim=2)


@pytest.mark.parametrize("name", PAIRS)
def test_edges_of_narrow_integers_are_those_of_wide_ones(name: str) -> None:
    _, layer, others = pair(name, 4, 6)
    found = []
    for edges in (EDGES, EDGES.int(), EDGES.t().contiguous().short().t()):
        x = torch.arange(28, dtype=torch.float64).view(NODES, 4).sin().requires_grad_()
        output = layer(x, edges, *others)
        found.append((output, *torch.autograd.grad(output.square().sum(), x)))
    for narrow in found[1:]:
        assert all(map(torch.equal, narrow, found[0]))


@pytest.mark.parametrize("edges", [EDGES.float(), EDGES.t(), EDGES[0], EDGES.bool()])
def test_what_is_no_edge_index_is_named(edges: Tensor) -> None:
    with pytest.raises(ValueError, match=r"edge_index is \w+ \[[\d, ]+\]; it holds integers \[2, num_edges\]"):
        GCNLayer(4, 6)(torch.ones(NODES, 4), edges)


@pytest.mark.parametrize(
    ("network", "got"),
    [
        (nn.Linear(4, 4), "got a Linear"),
        (nn.Sequential(), "got a Sequential"),
        (nn.Sequential(nn.ReLU(), nn.Linear(4, 4)), "got a Sequential that begins with ReLU"),
    ],
)
def test_gin_refuses_another_perceptron_when_it_is_made(network: nn.Module, got: str) -> None:
    with pytest.raises(ValueError, match=f"takes an nn.Sequential that begins with an nn.Linear; {got}$"):
        GINLayer(network)


def test_attention_shows_its_heads() -> None:
    assert "heads=8, dropout=0.6" in repr(GATLayer(4, 8, heads=8, dropout=0.6))
