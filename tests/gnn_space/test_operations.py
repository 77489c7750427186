"""AGNN's operations against loops over nodes, written from the formulas in their docstring, and against PyG."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.nn import GATConv, GCNConv
from torch_geometric.utils import add_remaining_self_loops

from gnn_space.operations import ACTIVATIONS, AGGREGATIONS, ATTENTIONS, COMBINES, AttentionLayer

NUM_NODES, IN_CHANNELS, EDGE_CHANNELS, HEADS, HIDDEN = 7, 5, 3, 3, 4
LEARNED = [attention for attention in ATTENTIONS if attention not in ("constant", "gcn")]


def some_graph() -> tuple[Tensor, Tensor, Tensor]:
    """Features, edges and edge features; nodes 0 and 6 receive nothing, node 2 hears of node 1 twice and of itself."""
    generator = torch.Generator().manual_seed(0)
    edge_index = torch.tensor(
        [
            [0, 1, 1, 2, 3, 3, 4, 5, 6, 0, 0, 4],
            [1, 2, 2, 2, 2, 4, 3, 4, 5, 5, 3, 1],
        ]
    )
    x = torch.randn(NUM_NODES, IN_CHANNELS, dtype=torch.float64, generator=generator)
    edge_attr = torch.randn(edge_index.size(1), EDGE_CHANNELS, dtype=torch.float64, generator=generator)
    return x, edge_index, edge_attr


def layer(
    attention: str,
    aggregation: str = "sum",
    combine: str = "identity",
    edge_channels: int = 0,
    heads: int = HEADS,
    dropout: float = 0.0,
) -> AttentionLayer:
    torch.manual_seed(1)
    made = AttentionLayer(IN_CHANNELS, HIDDEN, heads, attention, aggregation, combine, edge_channels, dropout).double()
    # A bias of zeros would hide where it is added.
    nn.init.normal_(made.bias)
    return made


def arrays(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: weight.detach().numpy() for name, weight in module.named_parameters()}


def leaky_relu(value: float) -> float:
    return value if value > 0 else 0.2 * value


def score(attention: str, weights: dict[str, np.ndarray], head: int, h_i: np.ndarray, h_j: np.ndarray, u: np.ndarray):
    """What the softmax is of, for one head and one edge from j to i; `u` is zero without edge features."""
    a_l, a_r = weights["target_weight"][0, head], weights["source_weight"][0, head]
    if attention == "cos":
        return np.sum((a_l * h_i) * (a_r * (h_j + u)))
    a_e = weights["edge_weight"][0, head] if "edge_weight" in weights else np.zeros(HIDDEN)
    if attention == "gat":
        return leaky_relu(np.sum(a_l * h_i + a_r * h_j + a_e * u))
    if attention == "sym-gat":
        there = leaky_relu(np.sum(a_l * h_i + a_r * h_j + a_e * u))
        back = leaky_relu(np.sum(a_l * h_j + a_r * h_i + a_e * u))
        return there + back
    if attention == "linear":
        return math.tanh(np.sum(a_l * h_i + a_r * h_j + a_e * u))
    assert attention == "gene-linear"
    return weights["general_weight"] @ np.tanh(a_l * h_i + a_r * h_j + a_e * u)


def by_hand(module: AttentionLayer, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None) -> np.ndarray:
    """The layer, node by node and head by head."""
    weights = arrays(module)
    sources, targets = edge_index.tolist()
    in_degree = [max(targets.count(node), 1) for node in range(len(x))]
    h = (x.numpy() @ weights["transform.weight"].T).reshape(len(x), HEADS, HIDDEN)
    u = np.zeros((len(sources), HEADS, HIDDEN))
    if edge_attr is not None:
        u = (edge_attr.numpy() @ weights["edge_transform.weight"].T).reshape(len(sources), HEADS, HIDDEN)
    output = np.zeros((len(x), HEADS, HIDDEN))
    for i in range(len(x)):
        incoming = [edge for edge, target in enumerate(targets) if target == i]
        for head in range(HEADS):
            if module.attention == "constant":
                alpha = [1.0 for _ in incoming]
            elif module.attention == "gcn":
                alpha = [1 / math.sqrt(in_degree[i] * in_degree[sources[edge]]) for edge in incoming]
            else:
                scores = [
                    score(module.attention, weights, head, h[i, head], h[sources[edge], head], u[edge, head])
                    for edge in incoming
                ]
                total = sum(math.exp(value) for value in scores)
                alpha = [math.exp(value) / total for value in scores]
            messages = []
            for a, edge in zip(alpha, incoming, strict=True):
                sent = h[sources[edge], head]
                messages.append(a * (sent if edge_attr is None else np.maximum(sent + u[edge, head], 0)))
            if messages:
                reduce = {"sum": np.sum, "mean": np.mean, "max": np.max}[module.aggregation]
                output[i, head] = reduce(messages, axis=0)
    flat = output.reshape(len(x), -1)
    if "combine.0.weight" in weights:
        hidden = np.maximum(flat @ weights["combine.0.weight"].T + weights["combine.0.bias"], 0)
        flat = hidden @ weights["combine.2.weight"].T + weights["combine.2.bias"]
    return flat + weights["bias"]


def test_the_options_are_those_of_the_paper() -> None:
    assert set(ATTENTIONS) == {"constant", "gcn", "gat", "sym-gat", "cos", "linear", "gene-linear"}
    assert set(AGGREGATIONS) == {"sum", "mean", "max"}
    assert set(COMBINES) == {"identity", "mlp"}
    assert set(ACTIVATIONS) == {"sigmoid", "tanh", "relu", "linear", "softplus", "leaky_relu", "relu6", "elu"}


@pytest.mark.parametrize("edges", ["no-edge-features", "edge-features"])
@pytest.mark.parametrize("combine", COMBINES)
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_layer_is_the_formula_of_its_docstring(
    form: str, attention: str, aggregation: str, combine: str, edges: str
) -> None:
    x, edge_index, features = some_graph()
    edge_attr = features if edges == "edge-features" else None
    module = layer(attention, aggregation, combine, 0 if edge_attr is None else EDGE_CHANNELS)
    output = module(x, edge_index, edge_attr)
    assert output.shape == (NUM_NODES, HEADS * HIDDEN)
    expected = by_hand(module, x, edge_index, edge_attr)
    np.testing.assert_allclose(output.detach().numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_node_that_receives_nothing_gets_the_bias(attention: str) -> None:
    x, edge_index, _ = some_graph()
    module = layer(attention)
    received = module(x, edge_index)
    assert torch.equal(received[0], module.bias)
    assert torch.equal(received[6], module.bias)


@pytest.mark.parametrize("attention", LEARNED)
def test_the_softmax_runs_over_incoming_edges(attention: str) -> None:
    x, edge_index, _ = some_graph()
    module = layer(attention)
    hidden = module.transform(x).view(-1, HEADS, HIDDEN)
    coefficients = module.coefficients(hidden, edge_index, None)
    assert coefficients is not None
    assert (coefficients > 0).all()
    sums = torch.zeros(NUM_NODES, HEADS, dtype=torch.float64).index_add(0, edge_index[1], coefficients)
    receives = torch.zeros(NUM_NODES, dtype=torch.bool).index_fill(0, edge_index[1], True)
    torch.testing.assert_close(sums, receives.double().unsqueeze(1).expand(-1, HEADS), rtol=0, atol=1e-12)


def test_gat_is_pygs_gat() -> None:
    x, edge_index, _ = some_graph()
    loops, _ = add_remaining_self_loops(edge_index[:, edge_index[0] != edge_index[1]], num_nodes=NUM_NODES)
    ours = layer("gat", aggregation="sum")
    theirs = GATConv(IN_CHANNELS, HIDDEN, HEADS, negative_slope=0.2).double()
    with torch.no_grad():
        theirs.lin.weight.copy_(ours.transform.weight)
        theirs.att_dst.copy_(ours.target_weight)
        theirs.att_src.copy_(ours.source_weight)
        theirs.bias.copy_(ours.bias)
    torch.testing.assert_close(ours(x, loops), theirs(x, edge_index), rtol=1e-10, atol=1e-10)


def test_gcn_is_pygs_gcn() -> None:
    x, edge_index, _ = some_graph()
    loops, _ = add_remaining_self_loops(edge_index, num_nodes=NUM_NODES)
    ours = layer("gcn", aggregation="sum")
    theirs = GCNConv(IN_CHANNELS, HEADS * HIDDEN).double()
    with torch.no_grad():
        theirs.lin.weight.copy_(ours.transform.weight)
        theirs.bias.copy_(ours.bias)
    torch.testing.assert_close(ours(x, loops), theirs(x, edge_index), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("edge_channels", [0, EDGE_CHANNELS])
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_gradients_are_those_of_finite_differences(form: str, attention: str, edge_channels: int) -> None:
    x, edge_index, edge_attr = some_graph()
    module = layer(attention, aggregation="mean", combine="mlp", edge_channels=edge_channels)
    names, weights = zip(*module.named_parameters(), strict=True)
    features = (edge_attr,) if edge_channels else ()

    def run(x: Tensor, *rest: Tensor) -> Tensor:
        given = dict(zip(names, rest, strict=False))
        # A projection on fixed numbers: one output to differentiate instead of 84.
        output = torch.func.functional_call(module, given, (x, edge_index, *rest[len(names) :]))
        return (output * torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)).sum()

    inputs = [tensor.detach().requires_grad_() for tensor in (x, *weights, *features)]
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_second_derivatives_are_right(form: str, attention: str) -> None:
    x, edge_index, _ = some_graph()
    module = layer(attention, aggregation="mean", heads=2)

    def run(x: Tensor) -> Tensor:
        return module(x, edge_index)

    assert torch.autograd.gradgradcheck(run, (x.requires_grad_(),), fast_mode=True)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_edge_features_count_for_every_attention_and_aggregation(attention: str, aggregation: str) -> None:
    x, edge_index, edge_attr = some_graph()
    module = layer(attention, aggregation, edge_channels=EDGE_CHANNELS)
    one, other = module(x, edge_index, edge_attr), module(x, edge_index, edge_attr + 1.0)
    receives = torch.zeros(NUM_NODES, dtype=torch.bool).index_fill(0, edge_index[1], True)
    assert ((one - other).abs().amax(dim=1) > 1e-3).equal(receives)


@pytest.mark.parametrize("attention", LEARNED)
def test_edge_features_count_for_the_learned_attention_itself(attention: str) -> None:
    # A softmax does not see what is added to all of a node's edges alike, so one edge is changed.
    x, edge_index, edge_attr = some_graph()
    module = layer(attention, edge_channels=EDGE_CHANNELS)
    hidden = module.transform(x).view(-1, HEADS, HIDDEN)
    changed = edge_attr.clone()
    changed[1] += 1.0
    one, other = (
        module.coefficients(hidden, edge_index, module.edge_transform(features).view(-1, HEADS, HIDDEN))
        for features in (edge_attr, changed)
    )
    differs = (one - other).abs().amax(dim=1) > 1e-6
    assert differs.equal(edge_index[1] == edge_index[1, 1])


@pytest.mark.parametrize("attention", LEARNED)
def test_dropout_acts_on_coefficients_while_training_only(attention: str) -> None:
    x, edge_index, _ = some_graph()
    plain, dropping = layer(attention), layer(attention, dropout=0.5)
    dropping.load_state_dict(plain.state_dict())
    assert torch.equal(plain.eval()(x, edge_index), dropping.eval()(x, edge_index))
    assert not torch.equal(plain.train()(x, edge_index), dropping.train()(x, edge_index))


def test_heads_do_not_mix() -> None:
    x, edge_index, _ = some_graph()
    module = layer("gat")
    before = module(x, edge_index)
    with torch.no_grad():
        module.target_weight[:, 1] += 1.0
        module.transform.weight[HIDDEN : 2 * HIDDEN] += 1.0
    changed = (module(x, edge_index) != before).any(dim=0).view(HEADS, HIDDEN).any(dim=1)
    assert changed.tolist() == [False, True, False]


def test_a_layer_has_the_weights_that_it_uses_and_no_others() -> None:
    channels = HEADS * HIDDEN
    transform, edge = IN_CHANNELS * channels + channels, EDGE_CHANNELS * channels
    expected = {
        "constant": 0,
        "gcn": 0,
        "gat": 2 * channels,
        "sym-gat": 2 * channels,
        "cos": 2 * channels,
        "linear": 2 * channels,
        "gene-linear": 2 * channels + HIDDEN,
    }
    for attention, count in expected.items():
        plain = sum(weight.numel() for weight in layer(attention).parameters())
        assert plain == transform + count
        with_edges = sum(weight.numel() for weight in layer(attention, edge_channels=EDGE_CHANNELS).parameters())
        own = channels if attention in LEARNED and attention != "cos" else 0
        assert with_edges == transform + count + edge + own
