"""AGNN's space: its size, the contract of every space, and what its networks keep on every graph."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import BatchNorm

from automl_plugins import Architecture, SearchSpace, Task
from automl_plugins.errors import ParameterCapError
from automl_plugins.testing import SearchSpaceContract, covering
from gnn_space import AGNNSpace
from gnn_space.agnn.network import AGNNNetwork
from gnn_space.agnn.sizes import AGNNSizes, LayerOptions
from gnn_space.frame import WIDE, RowNorm

# torch says so once in a process, wherever the first such tensor is made.
pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")

NODE = Task("node", "classes", in_channels=5, out_channels=3)
NODE_WITH_EDGES = replace(NODE, edge_channels=2)
EDGE = Task("edge", "binary", in_channels=5, out_channels=1)
EDGE_WITH_CATEGORIES = Task("edge", "classes", 2, 3, edge_channels=2, node_categories=(4, 3), edge_categories=(2, 3))
GRAPH = Task("graph", "multilabel", in_channels=5, out_channels=4)
MOLECULES = Task("graph", "regression", 2, 1, edge_channels=1, node_categories=(4, 3), edge_categories=(5,))
TASKS = (NODE, NODE_WITH_EDGES, EDGE, EDGE_WITH_CATEGORIES, GRAPH, MOLECULES)

SMALL = {
    "hidden_channels": 4,
    "attention": "gat",
    "heads": 2,
    "aggregation": "sum",
    "combine": "identity",
    "activation": "linear",
}


def task_name(task: Task) -> str:
    return f"{task.level}-{'categories' if task.node_categories else 'features'}-{task.edge_channels}-edge-channels"


def uniform(space: AGNNSpace, **values: object) -> Architecture:
    """The architecture whose layers are all alike."""
    layer = {**SMALL, **values}
    return space.architecture({choice.name: layer[choice.kind] for choice in space.choices})


def features(rows: int, channels: int, categories: Sequence[int], generator: torch.Generator) -> Tensor:
    if not categories:
        return torch.randn(rows, channels, dtype=torch.float64, generator=generator)
    columns = [torch.randint(count, (rows,), generator=generator) for count in categories]
    return torch.stack(columns, dim=1)


def graph_for(task: Task, num_nodes: int, edges: Sequence[tuple[int, int]], seed: int) -> Data:
    generator = torch.Generator().manual_seed(seed)
    edge_index = torch.tensor(edges, dtype=torch.long).reshape(-1, 2).t().contiguous()
    graph = Data(x=features(num_nodes, task.in_channels, task.node_categories, generator), edge_index=edge_index)
    if task.edge_channels:
        graph.edge_attr = features(len(edges), task.edge_channels, task.edge_categories, generator)
    return graph


def run(network: nn.Module, graph: Data) -> Tensor:
    batch = getattr(graph, "batch", None)
    with torch.no_grad():
        return network(graph.x, graph.edge_index, graph.edge_attr, batch, None if batch is None else graph.num_graphs)


def assert_same(one: Tensor, other: Tensor) -> None:
    """Equal but for the order in which floats were added up."""
    assert one.shape == other.shape
    if one.numel():
        scale = max(1.0, float(one.abs().max()))
        assert float((one - other).abs().max()) <= 1e-9 * scale


@st.composite
def graphs(draw: st.DrawFn, task: Task) -> Data:
    """Any graph: without edges, with nodes that nobody hears of, with loops and with edges that come twice."""
    num_nodes = draw(st.integers(1, 6))
    node = st.integers(0, num_nodes - 1)
    edges = draw(st.lists(st.tuples(node, node), max_size=12))
    return graph_for(task, num_nodes, edges, draw(st.integers(0, 2**31)))


def architectures(space: AGNNSpace) -> st.SearchStrategy[Architecture]:
    options = {choice.name: st.sampled_from(choice.options) for choice in space.choices}
    # Wide layers compute what narrow ones do, and a property says nothing more of them.
    for layer in range(space.layers):
        options[f"layer{layer}.hidden_channels"] = st.sampled_from((4, 8, 16))
    return st.fixed_dictionaries(options).map(space.architecture)


SPACE = AGNNSpace(layers=2, node_embedding=6, edge_embedding=3)
DEEP = AGNNSpace(layers=3, skip_connections=True, batch_norm=True, node_embedding=6, edge_embedding=3)
SPACES = pytest.mark.parametrize("space", [SPACE, DEEP], ids=["plain", "skips-and-norms"])
OVER_TASKS = pytest.mark.parametrize("task", TASKS, ids=task_name)


def built(space: AGNNSpace, architecture: Architecture, task: Task) -> nn.Module:
    """The network, with the same weights at every call: a failing example fails again."""
    torch.manual_seed(0)
    return space.network(architecture, task)


def trained_a_little(network: nn.Module) -> nn.Module:
    """In float64 and evaluation mode, with batch normalisations that have seen something."""
    network.double().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_(generator=torch.Generator().manual_seed(0))
            module.running_var.fill_(2.0)
    return network


# The space.


def test_a_layer_has_14112_combinations() -> None:
    assert 7 * 7 * 6 * 3 * 2 * 8 == 14112
    assert AGNNSpace(layers=1).size == 14112
    assert AGNNSpace(layers=2).size == 14112**2
    assert AGNNSpace(layers=3).size == 14112**3
    assert AGNNSpace(layers=2, skip_connections=True).size == 14112**2


def test_the_options_are_those_of_the_paper() -> None:
    options = {choice.name: choice.options for choice in AGNNSpace(layers=1).choices}
    assert options == {
        "layer0.hidden_channels": (4, 8, 16, 32, 64, 128, 256),
        "layer0.attention": ("constant", "gcn", "gat", "sym-gat", "cos", "linear", "gene-linear"),
        "layer0.heads": (1, 2, 4, 6, 8, 16),
        "layer0.aggregation": ("sum", "mean", "max"),
        "layer0.combine": ("identity", "mlp"),
        "layer0.activation": ("sigmoid", "tanh", "relu", "linear", "softplus", "leaky_relu", "relu6", "elu"),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": 0}, "layers is at least 1; got 0"),
        ({"node_embedding": 0}, "node_embedding is at least 1; got 0"),
        ({"edge_embedding": -1}, "edge_embedding is at least 1; got -1"),
        ({"dropout": 1.0}, "dropout is at least 0 and less than 1; got 1.0"),
        ({"dropout": float("nan")}, "dropout is at least 0 and less than 1; got nan"),
        ({"max_parameters": 0}, "max_parameters is at least 1 or null; got 0"),
    ],
)
def test_an_argument_out_of_range_is_named(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AGNNSpace(**arguments)


class TestContract(SearchSpaceContract):
    samples = 15

    def space(self) -> SearchSpace:
        return AGNNSpace(layers=2)

    def tasks(self) -> Sequence[Task]:
        return TASKS

    def loss(self, network: nn.Module, task: Task) -> Tensor:
        graphs = [
            graph_for(task, nodes, [(one, (one + step) % nodes) for one in range(nodes) for step in (1, 2)], seed=nodes)
            for nodes in (3, 5)
        ]
        batch = Batch.from_data_list(graphs)
        weight = next(network.parameters())
        x, edge_attr = (
            values.to(weight.dtype) if values is not None and values.is_floating_point() else values
            for values in (batch.x, batch.edge_attr)
        )
        return network(x, batch.edge_index, edge_attr, batch.batch, batch.num_graphs).square().mean()


class TestContractWithSkipConnectionsAndNorms(TestContract):
    samples = 5

    def space(self) -> SearchSpace:
        return AGNNSpace(layers=3, skip_connections=True, batch_norm=True, dropout=0.0)

    def tasks(self) -> Sequence[Task]:
        return NODE_WITH_EDGES, EDGE, MOLECULES


@given(data=st.data(), seed=st.integers(0, 2**31))
def test_every_way_to_an_architecture_gives_a_valid_one_that_survives_json(data: st.DataObject, seed: int) -> None:
    generator = np.random.default_rng(seed)
    drawn = data.draw(architectures(DEEP))
    sampled = DEEP.sample(generator)
    for architecture in (drawn, sampled, DEEP.mutate(drawn, generator)):
        DEEP.validate(architecture)
        assert Architecture.from_json(architecture.to_json()) == architecture
    encodings = {DEEP.encode(architecture).tobytes() for architecture in (drawn, sampled)}
    assert len(encodings) == len({drawn, sampled})
    assert DEEP.encode(drawn).sum() == len(DEEP.choices)


@SPACES
@OVER_TASKS
@settings(max_examples=10)
@given(data=st.data())
def test_any_architecture_trains_a_step_on_any_graph(data: st.DataObject, task: Task, space: AGNNSpace) -> None:
    network = built(space, data.draw(architectures(space)), task).double().train()
    graph = data.draw(graphs(task))
    output = network(graph.x, graph.edge_index, graph.edge_attr)
    rows = {"node": graph.num_nodes, "edge": graph.num_edges, "graph": 1}[task.level]
    assert output.shape == (rows, task.out_channels)
    output.square().sum().backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name


@pytest.mark.parametrize("task", [NODE, NODE_WITH_EDGES, GRAPH, MOLECULES], ids=task_name)
def test_every_option_of_every_choice_trains_with_and_without_edge_features(task: Task) -> None:
    space = AGNNSpace(layers=1, node_embedding=6, edge_embedding=3)
    graph = graph_for(task, 4, [(0, 1), (1, 0), (1, 2), (3, 3)], seed=0)
    tried = set()
    for architecture in covering(space, np.random.default_rng(0)):
        tried |= set(architecture.items())
        network = built(space, architecture, task).double()
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
        network(graph.x, graph.edge_index, graph.edge_attr).square().mean().backward()
        assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in network.parameters())
        optimizer.step()
        assert run(network, graph).isfinite().all()
    assert tried == {(choice.name, option) for choice in space.choices for option in choice.options}


# What networks keep on every graph.


@SPACES
@OVER_TASKS
@settings(max_examples=15)
@given(data=st.data())
def test_the_order_of_nodes_and_edges_means_nothing(data: st.DataObject, task: Task, space: AGNNSpace) -> None:
    network = trained_a_little(built(space, data.draw(architectures(space)), task))
    graph = data.draw(graphs(task))
    nodes = torch.tensor(data.draw(st.permutations(range(graph.num_nodes))))
    edges = torch.tensor(data.draw(st.permutations(range(graph.num_edges))), dtype=torch.long)
    # Node i of the reordered graph is node nodes[i] of the first one.
    new_name = torch.empty_like(nodes)
    new_name[nodes] = torch.arange(len(nodes))
    reordered = Data(x=graph.x[nodes], edge_index=new_name[graph.edge_index[:, edges]])
    if graph.edge_attr is not None:
        reordered.edge_attr = graph.edge_attr[edges]
    expected = run(network, graph)
    order = {"node": nodes, "edge": edges, "graph": torch.tensor([0])}[task.level]
    assert_same(run(network, reordered), expected[order])


@SPACES
@OVER_TASKS
@settings(max_examples=10)
@given(data=st.data())
def test_a_batch_gives_what_its_graphs_give_one_by_one(data: st.DataObject, task: Task, space: AGNNSpace) -> None:
    network = trained_a_little(built(space, data.draw(architectures(space)), task))
    several = data.draw(st.lists(graphs(task), min_size=1, max_size=3))
    together = run(network, Batch.from_data_list(several))
    assert_same(together, torch.cat([run(network, graph) for graph in several]))


@settings(max_examples=20)
@given(data=st.data())
def test_features_in_csr_layout_give_what_dense_ones_give(data: st.DataObject) -> None:
    network = trained_a_little(built(SPACE, data.draw(architectures(SPACE)), NODE))
    graph = data.draw(graphs(NODE))
    graph.x = graph.x * (graph.x > 0)
    sparse = Data(x=graph.x.to_sparse_csr(), edge_index=graph.edge_index)
    assert_same(run(network, sparse), run(network, graph))


def test_features_in_csr_layout_give_the_gradients_that_dense_ones_give() -> None:
    graph = graph_for(NODE, 4, [(0, 1), (1, 0), (1, 2)], seed=0)
    graph.x = graph.x * (graph.x > 0)
    space = AGNNSpace(layers=2, dropout=0.0)
    network = built(space, uniform(space, activation="elu"), NODE).double()
    gradients = []
    for x in (graph.x, graph.x.to_sparse_csr()):
        network.zero_grad()
        network(x, graph.edge_index).square().sum().backward()
        gradients.append([weight.grad.clone() for weight in network.parameters()])
    for dense, sparse in zip(*gradients, strict=True):
        assert_same(dense, sparse)


# What the space's arguments do.


@pytest.mark.parametrize("level", ["node", "edge", "graph"])
def test_edge_features_reach_the_output(level: str) -> None:
    task = replace(NODE_WITH_EDGES, level=level)
    network = built(SPACE, uniform(SPACE), task).double().eval()
    graph = graph_for(task, 4, [(0, 1), (1, 2), (2, 3)], seed=0)
    before = run(network, graph)
    graph.edge_attr[0] += 1.0
    changed = (run(network, graph) != before).any(dim=1).tolist()
    # Edge 0 -> 1 reaches, in two layers, the nodes 1 and 2, so all edges but none of the nodes 0 and 3.
    assert changed == {"node": [False, True, True, False], "edge": [True, True, True], "graph": [True]}[level]


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_node_sees_as_far_as_there_are_layers(layers: int) -> None:
    space = AGNNSpace(layers=layers)
    network = built(space, uniform(space), NODE).double().eval()
    graph = graph_for(NODE, 6, [(node, node + 1) for node in range(5)], seed=0)
    before = run(network, graph)
    graph.x[0] += 1.0
    changed = (run(network, graph) != before).any(dim=1)
    assert changed.tolist() == [node <= layers for node in range(6)]


def test_a_skip_connection_adds_the_input_of_its_layer() -> None:
    graph = graph_for(NODE, 4, [(0, 1), (1, 2), (2, 3)], seed=0)
    for skips in (False, True):
        space = AGNNSpace(layers=2, skip_connections=skips, layer_norm=False)
        network = built(space, uniform(space), NODE).double().eval()
        states: list[Tensor] = []
        network.layers[0].register_forward_hook(lambda _, __, output, states=states: states.append(output))
        with torch.no_grad():
            for weight in network.layers[1].parameters():
                weight.zero_()
        output = run(network, graph)
        # The second layer gives zeros, so what is left is the head of the first one's states, or of nothing.
        left = states[0] if skips else torch.zeros_like(states[0])
        assert_same(output, network.head.output(left).detach())


def test_a_skip_connection_between_unequal_widths_is_a_linear_map() -> None:
    space = AGNNSpace(layers=3, skip_connections=True)
    widths = {"layer0.heads": 2, "layer1.heads": 2, "layer2.heads": 4}
    network = built(space, space.architecture({**uniform(space), **widths}), NODE)
    assert [type(skip).__name__ for skip in network.skips] == ["Identity", "Linear"]
    assert network.skips[1].weight.shape == (16, 8)
    assert not built(AGNNSpace(layers=3), uniform(AGNNSpace(layers=3)), NODE).skips


def test_batch_norm_normalises_before_each_activation() -> None:
    space = AGNNSpace(layers=2, batch_norm=True, dropout=0.0)
    network = built(space, uniform(space, activation="sigmoid"), NODE).double().train()
    before_activation: list[Tensor] = []
    for activation in network.activations:
        activation.register_forward_pre_hook(lambda _, inputs: before_activation.append(inputs[0]))
    # Large, so that the variance is far from the constant that the normalisation adds to it.
    graph = graph_for(NODE, 6, [(0, 1), (1, 2), (2, 3)], seed=0)
    run(network, Data(x=1e3 * graph.x, edge_index=graph.edge_index))
    assert len(before_activation) == 2
    first = before_activation[0]
    torch.testing.assert_close(first.mean(dim=0), torch.zeros(8, dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(first.std(dim=0, correction=0), torch.ones(8, dtype=torch.float64), rtol=0, atol=1e-3)
    without = AGNNSpace(layer_norm=False)
    assert not any("norm" in name for name in built(without, uniform(without), NODE).state_dict())


@pytest.mark.parametrize("task", [replace(NODE, in_channels=WIDE), NODE], ids=["wide-nodes", "told"])
def test_the_channels_of_each_node_are_normalised_before_each_activation(task: Task) -> None:
    space = AGNNSpace(layers=2, batch_norm=None if task.in_channels == WIDE else False, dropout=0.0)
    network = built(space, uniform(space), task).double().eval()
    graph = graph_for(task, 6, [(0, 1), (1, 2), (2, 3)], seed=0)
    states: list[Tensor] = []
    for norm in network.norms:
        norm.register_forward_hook(lambda _, __, output: states.append(output))
    run(network, Data(x=1e3 * graph.x, edge_index=graph.edge_index))
    for state in states:
        torch.testing.assert_close(state.mean(dim=1), torch.zeros(6, dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(states[0].std(dim=1, correction=0), torch.ones(6).double(), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("task", "options", "kind"),
    [
        (NODE, {}, BatchNorm),
        (NODE, {"layer_norm": False}, nn.Identity),
        (replace(NODE, in_channels=WIDE), {}, RowNorm),
        (replace(NODE, in_channels=WIDE), {"batch_norm": True}, BatchNorm),
        (EDGE, {}, RowNorm),
        (GRAPH, {}, RowNorm),
    ],
)
def test_each_channel_is_normalised_over_the_batch_where_nodes_have_narrow_features_or_it_is_asked_for(
    task: Task, options: dict[str, bool], kind: type[nn.Module]
) -> None:
    space = AGNNSpace(layers=1, **options)
    assert isinstance(built(space, uniform(space), task).norms[0], kind)


@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_the_scale_of_wide_features_means_nothing_and_their_layout_neither(factor: float) -> None:
    task = replace(NODE, in_channels=70)
    network = built(SPACE, uniform(SPACE), task).double().eval()
    graph = graph_for(task, 4, [(0, 1), (1, 2)], seed=0)
    graph.x = graph.x * (graph.x > 1)
    graph.x[3] = 0.0
    expected = run(network, graph)
    assert_same(run(network, Data(x=factor * graph.x, edge_index=graph.edge_index)), expected)
    assert_same(run(network, Data(x=factor * graph.x.to_sparse_csr(), edge_index=graph.edge_index)), expected)


def test_gcn_and_gat_are_points_of_the_space() -> None:
    space = AGNNSpace(layers=2)
    points = space.references(NODE)
    assert points["gcn"]["layer1.attention"] == "gcn"
    assert points["gat"]["layer0.heads"] == points["gat"]["layer1.hidden_channels"] == 8
    for architecture in points.values():
        space.validate(architecture)
        space.network(architecture, NODE)
    assert set(AGNNSpace(hidden_channels=(4, 8)).references(NODE)) == {"gat"}


def test_dropout_acts_while_training_only() -> None:
    graph = graph_for(NODE, 4, [(0, 1), (1, 2)], seed=0)
    for dropout in (0.0, 0.6):
        space = AGNNSpace(layers=2, dropout=dropout)
        network = built(space, uniform(space), NODE).double()
        assert torch.equal(run(network.eval(), graph), run(network, graph))
        assert torch.equal(run(network.train(), graph), run(network, graph)) == (dropout == 0.0)


@pytest.mark.parametrize(
    ("task", "rate"),
    [(replace(NODE, in_channels=WIDE), 0.3), (NODE, 0.0), (replace(EDGE, in_channels=WIDE), 0.0), (GRAPH, 0.0)],
    ids=["wide-nodes", "narrow-nodes", "edges", "graphs"],
)
def test_networks_and_supernet_have_dropout_where_nodes_have_wide_features_and_none_is_given(
    task: Task, rate: float
) -> None:
    space = AGNNSpace(layers=1, hidden_channels=(4,), heads=(1, 2))
    assert built(space, uniform(space), task).dropout == rate
    assert space.supernet(task).dropout == rate
    given = AGNNSpace(layers=1, hidden_channels=(4,), heads=(1, 2), dropout=0.5)
    assert built(given, uniform(given), task).dropout == given.supernet(task).dropout == 0.5


def test_missing_edge_features_are_named() -> None:
    network = built(SPACE, uniform(SPACE), NODE_WITH_EDGES)
    with pytest.raises(ValueError, match="2 edge channels, but edge_attr is None"):
        network(torch.randn(3, 5), torch.tensor([[0], [1]]))


def test_several_self_loops_of_a_node_all_count() -> None:
    # As with other edges that come twice; `add_remaining_self_loops` would keep the one that comes last.
    network = built(SPACE, uniform(SPACE), NODE_WITH_EDGES).double().eval()
    graph = graph_for(NODE_WITH_EDGES, 2, [(0, 0), (0, 0), (0, 1)], seed=0)
    before = run(network, graph)
    for loop in (0, 1):
        changed = graph.clone()
        changed.edge_attr[loop] += 1.0
        assert not torch.equal(run(network, changed)[0], before[0])


def test_a_network_is_made_of_options_and_sizes_without_a_space() -> None:
    layers = [LayerOptions(4, "gat", 2, "mean", "mlp", "elu"), LayerOptions(8, "gcn", 1, "max", "identity", "tanh")]
    network = AGNNNetwork(layers, NODE, AGNNSizes(skip_connections=True, dropout=0.0))
    assert network(torch.randn(3, 5), torch.tensor([[0, 1], [1, 2]])).shape == (3, 3)
    with pytest.raises(ValueError, match=r"dropout is at least 0 and less than 1; got 1\.0"):
        AGNNSizes(dropout=1.0)


def test_the_parameter_cap_holds_before_memory_is_allocated() -> None:
    space = AGNNSpace(layers=2, max_parameters=5_000_000)
    task = Task("node", "classes", in_channels=100_000, out_channels=3)
    architecture = uniform(space, heads=16, hidden_channels=256)
    assert space.num_parameters(architecture, task) > 400_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ParameterCapError, match=r"would have [\d,]{11} parameters; max_parameters is 5,000,000"):
        space.network(architecture, task)
    # The peak of the process, in KiB; the first layer's weights alone would add 1.6 GB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    built(space, uniform(space), task)


# What a person sees of an architecture.


def test_the_drawing_names_every_choice_and_where_data_flow() -> None:
    space = AGNNSpace(layers=2, skip_connections=True)
    architecture = space.architecture(
        {
            **uniform(space, combine="mlp"),
            "layer1.heads": 16,
            "layer1.hidden_channels": 128,
            "layer1.attention": "gene-linear",
            "layer1.aggregation": "max",
            "layer1.activation": "relu6",
        }
    )
    drawn = [(operation.name, operation.label, operation.inputs) for operation in space.operations(architecture)]
    assert drawn == [
        ("input", "input", ()),
        ("layer0.transform", "linear to 2 x 4", ("input",)),
        ("layer0.attention", "gat attention", ("layer0.transform",)),
        ("layer0.aggregation", "sum aggregation", ("layer0.attention",)),
        ("layer0.combine", "mlp combine", ("layer0.aggregation",)),
        ("layer0.activation", "linear activation", ("layer0.combine",)),
        ("layer1.transform", "linear to 16 x 128", ("layer0.activation",)),
        ("layer1.attention", "gene-linear attention", ("layer1.transform",)),
        ("layer1.aggregation", "max aggregation", ("layer1.attention",)),
        ("layer1.combine", "mlp combine", ("layer1.aggregation",)),
        ("layer1.activation", "relu6 activation", ("layer1.combine",)),
        ("layer1.skip", "skip connection", ("layer1.activation", "layer0.activation")),
        ("output", "output", ("layer1.skip",)),
    ]
    named = [choice for operation in space.operations(architecture) for choice in operation.choices]
    assert sorted(named) == sorted(choice.name for choice in space.choices)
