"""AGNN's supernet: the contract, what narrower options share, and what soft gates compute."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from automl_plugins import Architecture, Task
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.testing import SupernetContract
from gnn_space import AGNNSpace
from gnn_space.agnn.supernet import AGNNSupernet
from gnn_space.agnn.widths import widths_of
from gnn_space.compressed import CompressedEdges
from gnn_space.operations import _scores

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")

NODE = Task("node", "classes", in_channels=5, out_channels=3)
EDGE = Task("edge", "classes", 2, 3, edge_channels=2, node_categories=(4, 3), edge_categories=(2, 3))
GRAPH = Task("graph", "regression", in_channels=5, out_channels=1, edge_channels=2)
# Widths that are equal in several ways: 1 x 4, 2 x 2; 2 x 4, 4 x 2.
SMALL = {"hidden_channels": (2, 3, 4), "heads": (1, 2, 4), "node_embedding": 6, "edge_embedding": 3}


def graph_for(task: Task, num_nodes: int, seed: int) -> Data:
    generator = torch.Generator().manual_seed(seed)
    pairs = [(one, (one + step) % num_nodes) for one in range(num_nodes) for step in (1, 2)] + [(0, 0)]
    edge_index = torch.tensor(pairs).t().contiguous()

    def features(rows: int, channels: int, categories: Sequence[int]) -> Tensor:
        if not categories:
            return torch.randn(rows, channels, dtype=torch.float64, generator=generator)
        return torch.stack([torch.randint(count, (rows,), generator=generator) for count in categories], dim=1)

    graph = Data(x=features(num_nodes, task.in_channels, task.node_categories), edge_index=edge_index)
    if task.edge_channels:
        graph.edge_attr = features(len(pairs), task.edge_channels, task.edge_categories)
    return graph


def batch_for(task: Task, dtype: torch.dtype) -> tuple[Tensor | None, ...]:
    batch = Batch.from_data_list([graph_for(task, nodes, seed=nodes) for nodes in (4, 5)])
    x, edge_attr = (
        values.to(dtype) if values is not None and values.is_floating_point() else values
        for values in (batch.x, batch.edge_attr)
    )
    return x, batch.edge_index, edge_attr, batch.batch, batch.num_graphs


class TestContract(SupernetContract):
    samples = 5

    def space(self) -> SupernetSpace:
        return AGNNSpace(layers=2, **SMALL)

    def tasks(self) -> Sequence[Task]:
        return NODE, EDGE, GRAPH

    def loss(self, network: nn.Module, task: Task) -> Tensor:
        return network(*batch_for(task, next(network.parameters()).dtype)).square().mean()


class TestContractWithSkipConnectionsAndNorms(TestContract):
    samples = 3

    def space(self) -> SupernetSpace:
        return AGNNSpace(layers=3, skip_connections=True, batch_norm=True, dropout=0.3, **SMALL)


SPACE = AGNNSpace(layers=2, skip_connections=True, batch_norm=True, dropout=0.0, **SMALL)
BASE = {
    "hidden_channels": 4,
    "attention": "gat",
    "heads": 2,
    "aggregation": "sum",
    "combine": "mlp",
    "activation": "elu",
}


def architecture_of(space: AGNNSpace, **values: object) -> Architecture:
    """Layers are alike but for names with a layer in front of them, `layer1_heads`."""
    chosen = {f"layer{layer}.{kind}": value for layer in range(space.layers) for kind, value in BASE.items()}
    for name, value in values.items():
        places = (
            [name.replace("_", ".", 1)]
            if name.startswith("layer")
            else [f"layer{n}.{name}" for n in range(space.layers)]
        )
        chosen |= dict.fromkeys(places, value)
    return space.architecture(chosen)


def made(space: AGNNSpace, task: Task) -> AGNNSupernet:
    """In float64, with no weight as it was initialised."""
    torch.manual_seed(0)
    supernet = space.supernet(task).double()
    with torch.no_grad():
        for weight in supernet.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return supernet


def inputs_for(task: Task) -> tuple[Tensor | None, ...]:
    return batch_for(task, torch.float64)


def mixed(space: AGNNSpace, weighted: Mapping[Architecture, float]) -> Gates:
    matrices = [weight * space.gates(each, torch.float64).matrix for each, weight in weighted.items()]
    return Gates(space.gate_choices, torch.stack(matrices).sum(dim=0))


# Weights.


def used_entries(supernet: AGNNSupernet, architecture: Architecture, task: Task) -> dict[str, Tensor]:
    """Which entries of the supernet's weights go into the architecture's network."""
    numbered = copy.deepcopy(supernet)
    first = 2**20
    with torch.no_grad():
        for weight in numbered.parameters():
            weight.copy_(torch.arange(first, first + weight.numel()).view(weight.shape))
            first += weight.numel()
    network = SPACE.inherited(numbered, architecture, task)
    values = torch.cat([weight.detach().flatten() for weight in network.parameters()])
    return {name: torch.isin(weight.detach(), values) for name, weight in numbered.named_parameters()}


@pytest.mark.parametrize("task", [NODE, EDGE, GRAPH], ids=["node", "edge", "graph"])
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_only_the_heads_and_channels_that_an_architecture_has_are_read(task: Task, training: bool) -> None:
    supernet = made(SPACE, task).train(training)
    architecture = architecture_of(SPACE, layer0_heads=1, layer0_hidden_channels=3, layer1_combine="identity")
    gates = SPACE.gates(architecture, torch.float64)
    broken = copy.deepcopy(supernet)
    used = used_entries(supernet, architecture, task)
    with torch.no_grad():
        for name, weight in broken.named_parameters():
            weight[~used[name]] = torch.nan
    assert sum(int((~each).sum()) for each in used.values()) > 1000
    expected = supernet(*inputs_for(task), gates=gates)
    assert torch.equal(broken(*inputs_for(task), gates=gates), expected)


def test_running_statistics_of_other_channels_stay_as_they_are() -> None:
    supernet = made(SPACE, NODE).train()
    architecture = architecture_of(SPACE, heads=2, hidden_channels=3)
    before = {name: buffer.clone() for name, buffer in supernet.named_buffers()}
    supernet(*inputs_for(NODE), gates=SPACE.gates(architecture, torch.float64))
    changed = {name: buffer != before[name] for name, buffer in supernet.named_buffers() if "running" in name}
    assert len(changed) == 4
    for each in changed.values():
        assert each.view(4, 4)[:2, :3].all()
        assert int(each.sum()) == 6


def test_attention_functions_have_vectors_of_their_own_and_share_the_maps() -> None:
    supernet = made(SPACE, GRAPH)
    vectors = {name: set(dict(each.items())) for name, each in supernet.layers[0].vectors.items()}
    three = {"target_weight", "source_weight", "edge_weight"}
    assert vectors == {
        "gat": three,
        "sym-gat": three,
        "cos": three - {"edge_weight"},
        "linear": three,
        "gene-linear": three | {"general_weight"},
    }
    maps = [name for name, _ in supernet.layers[1].named_parameters() if "transform" in name or "skip" in name]
    assert sorted(maps) == ["edge_transform.weight", "skip.weight", "transform.weight"]


@pytest.mark.parametrize(
    ("first", "second", "identity"),
    [((1, 4), (2, 2), True), ((2, 4), (4, 2), True), ((2, 2), (2, 2), True), ((1, 3), (2, 3), False)],
)
def test_skip_connections_are_the_identity_between_equal_widths_however_heads_divide_them(
    first: tuple[int, int], second: tuple[int, int], identity: bool
) -> None:
    space = AGNNSpace(layers=2, skip_connections=True, dropout=0.0, **SMALL)
    widths = {
        f"layer{n}_{kind}": size
        for n, pair in enumerate((first, second))
        for kind, size in zip(("heads", "hidden_channels"), pair, strict=True)
    }
    architecture = architecture_of(space, **widths)
    supernet = made(space, NODE)
    network = space.inherited(supernet, architecture, NODE)
    assert isinstance(network.skips[0], nn.Identity) == identity
    gates = space.gates(architecture, torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(
            supernet(*inputs_for(NODE), gates=gates), network(*inputs_for(NODE)), rtol=0, atol=1e-12
        )
        if identity:
            supernet.layers[1].skip.weight.fill_(torch.nan)
            assert supernet(*inputs_for(NODE), gates=gates).isfinite().all()


def test_csr_features_give_what_dense_ones_give() -> None:
    supernet = made(SPACE, NODE).eval()
    searchable = SPACE.searchable(NODE).double()
    x, *others = inputs_for(NODE)
    x = x * (x > 0)
    for gates in (searchable.gates(), SPACE.gates(architecture_of(SPACE), torch.float64)):
        dense = supernet(x, *others, gates=gates)
        torch.testing.assert_close(supernet(x.to_sparse_csr(), *others, gates=gates), dense, rtol=0, atol=1e-12)


# Soft gates.


@pytest.mark.parametrize("kind", ["activation", "combine", "aggregation"])
def test_the_last_layers_states_are_the_mixture_of_what_its_options_give(kind: str) -> None:
    # Up to the activation, what follows the option is linear without a normalisation; and the head is.
    space = AGNNSpace(layers=1, layer_norm=False, dropout=0.0, **SMALL)
    supernet = made(space, NODE).eval()
    options = {
        "activation": ("relu", "tanh", "sigmoid"),
        "combine": ("identity", "mlp"),
        "aggregation": ("sum", "mean", "max"),
    }[kind]
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)[: len(options)].tolist()
    linear = {"combine": "identity", "activation": "linear"}
    each = {
        architecture_of(space, **{**linear, kind: option}): weight
        for option, weight in zip(options, weights, strict=True)
    }
    bias = supernet.head.output.bias
    with torch.no_grad():
        bias.zero_()
        supernet.layers[0].bias.zero_()
        apart = [
            weight * supernet(*inputs_for(NODE), gates=space.gates(one, torch.float64)) for one, weight in each.items()
        ]
        gates = {name: gate.clone() for name, gate in mixed(space, each).items()}
        for name, gate in gates.items():
            if not name.endswith(kind):
                gate /= gate.sum()
        together = supernet(*inputs_for(NODE), gates=gates)
    torch.testing.assert_close(together, sum(apart), rtol=0, atol=1e-12)


def test_attention_coefficients_are_mixed_before_messages_are_added_up() -> None:
    space = AGNNSpace(layers=1, layer_norm=False, dropout=0.0, **SMALL)
    supernet = made(space, GRAPH).eval()
    attentions = ("constant", "gcn", "gat", "sym-gat", "cos", "linear", "gene-linear")
    linear = {"combine": "identity", "activation": "linear"}
    each = {architecture_of(space, **{**linear, "attention": name}): 1 / 7 for name in attentions}
    states: list[Tensor] = []
    supernet.layers[0].register_forward_hook(lambda _, __, output: states.append(output[0].detach()))
    with torch.no_grad():
        supernet.layers[0].bias.zero_()
        for one in each:
            supernet(*inputs_for(GRAPH), gates=space.gates(one, torch.float64))
        supernet(*inputs_for(GRAPH), gates=mixed(space, each))
    torch.testing.assert_close(states[-1], torch.stack(states[:-1]).mean(dim=0), rtol=0, atol=1e-12)


def test_a_mixture_of_widths_counts_each_channel_with_the_gates_that_have_it() -> None:
    space = AGNNSpace(layers=1, layer_norm=False, dropout=0.0, **SMALL)
    supernet = made(space, NODE).eval()
    # Constant attention and no map between: what a channel holds does not depend on the others.
    plain = {"attention": "constant", "combine": "identity"}
    widest = architecture_of(space, heads=4, hidden_channels=4, **plain)
    gates = dict(space.gates(widest, torch.float64))
    gates["layer0.heads"] = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    gates["layer0.hidden_channels"] = torch.tensor([0.6, 0.0, 0.4], dtype=torch.float64)
    states: list[Tensor] = []
    supernet.layers[0].register_forward_hook(
        lambda _, __, output: states.append(output[0].detach().unflatten(1, (4, 4)))
    )
    with torch.no_grad():
        supernet(*inputs_for(NODE), gates=space.gates(widest, torch.float64))
        supernet(*inputs_for(NODE), gates=gates)
    heads, channels = torch.tensor([1.0, 0.8, 0.5, 0.5]), torch.tensor([1.0, 1.0, 0.4, 0.4])
    shares = torch.outer(heads, channels).double()
    torch.testing.assert_close(states[1], states[0] * shares, rtol=0, atol=1e-6)


def soft_widths(space: AGNNSpace, layer: int) -> dict[str, Tensor]:
    gates = dict(space.gates(architecture_of(space), torch.float64))
    gates[f"layer{layer}.heads"] = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    gates[f"layer{layer}.hidden_channels"] = torch.tensor([0.6, 0.1, 0.3], dtype=torch.float64)
    return gates


def test_the_first_map_of_the_mlp_counts_each_channel_with_its_share() -> None:
    layer = made(SPACE, NODE).layers[0]
    gates = Gates.of(SPACE.gate_choices, soft_widths(SPACE, 0))
    widths = widths_of(gates, layer.choices["heads"], layer.choices["hidden_channels"])
    received = torch.randn(5, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    shares = torch.outer(torch.tensor([1.0, 0.8, 0.5, 0.5]), torch.tensor([1.0, 1.0, 0.4, 0.3])).flatten()
    with torch.no_grad():
        found = layer._combine(received, gates, widths)
        torch.testing.assert_close(found, layer.combine(received * shares.double()), rtol=0, atol=1e-6)


def test_a_skip_connection_between_mixed_widths_is_its_linear_map_with_the_weight_that_is_left() -> None:
    layer = made(SPACE, NODE).layers[1]
    gates = Gates.of(SPACE.gate_choices, soft_widths(SPACE, 1))
    outputs = widths_of(gates, layer.choices["heads"], layer.choices["hidden_channels"])
    # The layer before has one width, 2 x 3, which no output has but 2 x 3 itself.
    before = architecture_of(SPACE, layer0_heads=2, layer0_hidden_channels=3)
    names = {kind: replace(layer.choices[kind], name=f"layer0.{kind}") for kind in ("heads", "hidden_channels")}
    inputs = widths_of(SPACE.gates(before, torch.float64), names["heads"], names["hidden_channels"])
    x = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    equal = 0.3 * 0.1
    identity = torch.zeros(5, 4, 4, dtype=torch.float64)
    identity[:, :2, :3] = x.view(5, 2, 3)
    columns = [head * 4 + channel for head in range(2) for channel in range(3)]
    with torch.no_grad():
        mapped = x @ layer.skip.weight[:, columns].t()
        expected = equal * identity.flatten(1) + (1 - equal) * outputs.share * mapped
        found = layer._skipped(x, inputs, outputs, layer.skip.weight)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("attention", ["gat", "sym-gat", "cos", "linear", "gene-linear"])
def test_scores_of_a_mixture_of_widths_count_each_channel_once(attention: str) -> None:
    # A head's score is a sum over its channels, so that with a function that is linear in it, the score of a
    # mixture is the mixture of the scores. Small vectors make tanh and LeakyReLU of positive sums linear.
    space = AGNNSpace(layers=1, layer_norm=False, dropout=0.0, **SMALL)
    layer = made(space, GRAPH).layers[0]
    generator = torch.Generator().manual_seed(0)
    hidden = 1e-6 * torch.rand(3, 2, 4, dtype=torch.float64, generator=generator)
    edge = 1e-6 * torch.rand(3, 2, 4, dtype=torch.float64, generator=generator)
    edges = CompressedEdges(torch.tensor([[0, 1, 2], [1, 2, 0]]), 3)
    with torch.no_grad():
        for vector in layer.vectors[attention].values():
            vector.abs_()

    def scores(channel_gates: Sequence[float]) -> Tensor:
        gates = dict(space.gates(architecture_of(space, attention=attention), torch.float64))
        gates["layer0.hidden_channels"] = torch.tensor(channel_gates, dtype=torch.float64)
        heads, channels = layer.choices["heads"], layer.choices["hidden_channels"]
        widths = widths_of(Gates.of(space.gate_choices, gates), heads, channels)
        narrow = [each[:, :, : widths.window.channels] for each in (hidden, edge)]
        return _scores(attention, narrow[0], edges, narrow[1], layer._vectors(attention, widths))

    with torch.no_grad():
        apart = 0.3 * scores([1.0, 0.0, 0.0]) + 0.7 * scores([0.0, 0.0, 1.0])
        together = scores([0.3, 0.0, 0.7])
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=0)
    assert together.abs().min() > 0


def test_a_layer_without_an_open_option_is_named() -> None:
    supernet = made(SPACE, NODE)
    for kind in BASE:
        gates = dict(SPACE.gates(architecture_of(SPACE), torch.float64))
        gates[f"layer1.{kind}"] = torch.zeros_like(gates[f"layer1.{kind}"])
        with pytest.raises(ValueError, match=rf"no option of 'layer1\.{kind}' is open"):
            supernet(*inputs_for(NODE), gates=gates)


# The space's options.


def test_offering_fewer_widths_is_a_smaller_space_and_a_smaller_supernet() -> None:
    space = AGNNSpace(layers=1, hidden_channels=(4, 8), heads=(1, 2))
    assert space.size == 14112 // 42 * 4
    weights = sum(weight.numel() for weight in space.supernet(NODE).parameters())
    assert weights < 10_000
    with torch.device("meta"):
        widest = sum(weight.numel() for weight in AGNNSpace(layers=1).supernet(NODE).parameters())
    assert widest > 1_000_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"heads": (1, 0)}, "heads is at least 1; got 0"),
        ({"hidden_channels": ()}, r"choice 'layer0\.hidden_channels' has no options"),
        ({"heads": (2, 2)}, r"choice 'layer0\.heads' has an option twice"),
    ],
)
def test_widths_that_cannot_be_are_named(arguments: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AGNNSpace(**arguments)


def test_a_short_search_finds_an_architecture_and_its_network_takes_the_weights_over() -> None:
    searchable = AGNNSpace(layers=2, dropout=0.0, **SMALL).searchable(GRAPH).double()
    optimizer = torch.optim.Adam(searchable.parameters(), lr=1e-2)
    target = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(searchable(*inputs_for(GRAPH)), target)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    network = searchable.eval().derive(keep_weights=True)
    with searchable.hold(searchable.architecture()), torch.no_grad():
        torch.testing.assert_close(network(*inputs_for(GRAPH)), searchable(*inputs_for(GRAPH)), rtol=0, atol=1e-10)
