"""GNN+'s supernet keeps the contract: it computes exactly what its networks compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from automl_plugins import Task
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.testing import SupernetContract
from gnn_space import GNNPlusSpace
from gnn_space.dmpnn import DirectedEdgeLayer, reverse_edges
from gnn_space.frame import WIDE
from gnn_space.gnn_plus.messages import DirectedMessage, Ends
from gnn_space.gnn_plus.mixing import MixedDropout, One, Open
from gnn_space.gnn_plus.neighbourhood import Neighbourhood
from gnn_space.positional import return_probabilities

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")

# Of so many columns rows may be scaled.
NODE = Task("node", "classes", in_channels=WIDE, out_channels=3)
EDGE = Task("edge", "classes", 2, 3, edge_channels=2, node_categories=(4, 3), edge_categories=(2, 3))
GRAPH = Task("graph", "regression", in_channels=5, out_channels=1, edge_channels=2, graph_channels=2)


def graph_for(task: Task, num_nodes: int, seed: int) -> Data:
    generator = torch.Generator().manual_seed(seed)
    pairs = [(one, (one + step) % num_nodes) for one in range(num_nodes) for step in (1, 2)] + [(0, 0)]

    def features(rows: int, channels: int, categories: Sequence[int]) -> Tensor:
        if not categories:
            return torch.randn(rows, channels, dtype=torch.float64, generator=generator)
        return torch.stack([torch.randint(count, (rows,), generator=generator) for count in categories], dim=1)

    graph = Data(
        x=features(num_nodes, task.in_channels, task.node_categories), edge_index=torch.tensor(pairs).t().contiguous()
    )
    if task.edge_channels:
        graph.edge_attr = features(len(pairs), task.edge_channels, task.edge_categories)
    if task.graph_channels:
        graph.graph_attr = features(1, task.graph_channels, ())
    return graph


def batch_for(task: Task, dtype: torch.dtype) -> Data:
    batch = Batch.from_data_list([graph_for(task, nodes, seed=nodes) for nodes in (4, 5)])
    return batch.apply(lambda values: values.to(dtype) if values.is_floating_point() else values)


def loss_of(network: nn.Module, task: Task) -> Tensor:
    data = batch_for(task, next(network.parameters()).dtype)
    inputs = (data.x, data.edge_index, data.edge_attr, data.batch, data.num_graphs)
    return network(*inputs, *([data.graph_attr] if task.graph_channels else [])).square().mean()


SMALL = {"channels": (4, 8), "dropouts": (0.0, 0.3), "heads": 2, "node_embedding": 6, "edge_embedding": 3}


class TestContract(SupernetContract):
    samples = 3

    def space(self) -> SupernetSpace:
        # The other messages stand beside these below: an architecture of this suite costs a third of a second.
        return GNNPlusSpace(
            depths=(1, 2),
            messages=("gat", "gin", "gated", "dmpnn"),
            propagations=(0, 2),
            walk_length=3,
            **SMALL,
        )

    def tasks(self) -> Sequence[Task]:
        return NODE, EDGE, GRAPH

    def loss(self, network: nn.Module, task: Task) -> Tensor:
        return loss_of(network, task)


# The contract covers options, not their combinations (three layers, each with its message), nor a space that lacks
# whole choices: of a single layer there is no jump, without propagation no teleport.
COMBINED = {"depths": (2, 3), "walk_length": 3}
BARE = {"depths": (1,), "propagations": (0,), "norms": ("none",), "messages": ("none", "gated")}


@pytest.mark.parametrize("arguments", [COMBINED, BARE], ids=["combined", "bare"])
def test_every_random_network_is_what_the_supernet_computes(arguments: Mapping[str, Any]) -> None:
    space = GNNPlusSpace(**SMALL | arguments)
    generator = np.random.default_rng(0)
    for task in (NODE, EDGE, GRAPH):
        torch.manual_seed(0)
        supernet = space.supernet(task).double().train()
        for _ in range(8):
            architecture = space.sample(generator)
            network = space.inherited(supernet, architecture, task)
            outputs, gradients = [], []
            for each, gates in ((network, {}), (supernet, {"gates": space.gates(architecture, torch.float64)})):
                data = batch_for(task, torch.float64)
                torch.manual_seed(1)
                inputs = (data.x, data.edge_index, data.edge_attr, data.batch, data.num_graphs)
                supernet.zero_grad()
                outputs.append(each(*inputs, *([data.graph_attr] if task.graph_channels else []), **gates))
                outputs[-1].square().sum().backward()
                grown = (weight.grad for weight in each.parameters() if weight.grad is not None)
                gradients.append(sum(gradient.square().sum() for gradient in grown))
            torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-10, atol=1e-10)
            torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("training", [False, True])
def test_features_in_csr_layout_give_what_dense_ones_give(training: bool) -> None:
    space = GNNPlusSpace(depths=(1, 2), **SMALL | {"dropouts": (0.0,)})
    torch.manual_seed(0)
    searchable = space.searchable(NODE).double().train(training)
    data = batch_for(NODE, torch.float64)
    dense = data.x * (data.x > 0)
    outputs = [searchable(x, data.edge_index) for x in (dense, dense.to_sparse_csr())]
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-10, atol=1e-10)


def test_a_directed_message_goes_from_edge_to_edge_as_in_dmpnn() -> None:
    torch.manual_seed(0)
    graph = graph_for(GRAPH, 5, seed=0)
    message = DirectedMessage(Ends(5, 6, 6, 2, 1)).double()
    layer = DirectedEdgeLayer(6).double()
    layer.message.weight = message.edge.weight
    states = torch.randn(graph.num_edges, 6, dtype=torch.float64)
    _, updated = message(graph.x, Neighbourhood(graph.edge_index, None, 5), states, nn.Identity())
    first = message.source(graph.x).index_select(0, graph.edge_index[0])
    expected = layer(states, first, graph.edge_index, reverse_edges(graph.edge_index, 5), 5)
    torch.testing.assert_close(updated.relu(), expected, rtol=1e-10, atol=1e-10)


def test_mixed_dropout_keeps_what_each_rate_keeps() -> None:
    opened = {0.0: torch.tensor(0.25), 0.5: torch.tensor(0.75)}
    dropped = MixedDropout(opened, training=True)(torch.ones(2000))
    # Of a value that both rates keep 0.25 + 0.75 / 0.5 is left, of one that only the smaller keeps 0.25.
    assert set(dropped.unique().tolist()) == {0.25, 1.75}
    assert abs(float(dropped.mean()) - 1) < 0.1


def test_the_return_probabilities_of_a_ring_and_a_pair() -> None:
    # A pair of nodes, then a ring of three, then one alone.
    edge_index = torch.tensor([[0, 1, 2, 3, 4, 3, 4, 2], [1, 0, 3, 4, 2, 2, 3, 4]])
    batch = torch.tensor([0, 0, 1, 1, 1, 2])
    found = return_probabilities(edge_index, batch, 3, 4, torch.float64)
    pair, ring = [0, 1, 0, 1], [0, 1 / 2, 1 / 4, 3 / 8]
    expected = torch.tensor([pair, pair, ring, ring, ring, [0] * 4], dtype=torch.float64)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": (12,)}, "channels are multiples of heads=8; got 12"),
        ({"messages": ("gcn", "gtn")}, "messages are of gcn, .*; got 'gtn'"),
        ({"depths": (0,)}, "depths are from 1 to 50; got 0"),
        ({"dropouts": (1.0,)}, r"dropouts are at least 0 and less than 1; got 1\.0"),
    ],
)
def test_a_wrong_argument_is_named(arguments: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GNNPlusSpace(**arguments)


def test_the_drawing_names_every_choice_once_or_more() -> None:
    space = GNNPlusSpace()
    generator = np.random.default_rng(0)
    for _ in range(20):
        architecture = space.sample(generator)
        named = {choice for operation in space.operations(architecture) for choice in operation.choices}
        assert named == set(architecture)


def test_a_search_by_gradients_is_offered_what_a_study_is() -> None:
    task = Task("node", "classes", in_channels=5, out_channels=3)
    space = GNNPlusSpace(depths=(1, 2), channels=(16, 32))
    admitted = {choice.name: set(choice.options) for choice in space.within(task).choices}
    searchable = space.within(task).searchable(task)
    generator = np.random.default_rng(0)
    found = [searchable.architecture(), *(searchable.sample(generator) for _ in range(20))]
    used = {name: {each[name] for each in found if name in each} for name in admitted}
    assert all(used[name] <= admitted[name] for name in admitted)
    assert used["readout"] == {"mean"}  # a node has no readout
    for choice in space.choices:
        closed = torch.tensor([option not in admitted[choice.name] for option in choice.options])
        assert (searchable.gates()[choice.name][closed] == 0).all()


def test_options_without_an_architecture_within_the_limits_are_closed() -> None:
    task = Task("node", "classes", in_channels=5, out_channels=3)
    space = GNNPlusSpace(depths=(1, 2), channels=(16, 512)).within(task, {"params": 3_000})
    searchable = space.searchable(task)
    assert {searchable.sample(np.random.default_rng(seed))["channels"] for seed in range(8)} == {16}
    assert searchable.gates()["channels"][1].item() == 0


def test_a_gate_of_one_that_asks_for_no_gradient_multiplies_nothing() -> None:
    space = GNNPlusSpace(depths=(1, 2), **SMALL)
    gates = space.gates(space.sample(np.random.default_rng(0)))
    opened = Open(space.gate_choices, gates)
    assert all(isinstance(gate, One) for choice in space.gate_choices for gate in opened(choice.name).values())
    x = torch.ones(2)
    assert One() * x is x * One() is x
    variable = {name: gate.clone().requires_grad_() for name, gate in gates.items()}
    assert isinstance(next(iter(Open(space.gate_choices, variable)("norm").values())), Tensor)
    halves = {name: gate / 2 for name, gate in gates.items()}
    assert isinstance(next(iter(Open(space.gate_choices, halves)("norm").values())), Tensor)


@pytest.mark.parametrize("task", [NODE, EDGE, GRAPH], ids=["node", "edge", "graph"])
def test_messages_that_are_computed_again_give_the_same(task: Task) -> None:
    found = []
    for checkpointing in (False, True):
        space = GNNPlusSpace(depths=(1, 2), walk_length=3, checkpointing=checkpointing, **SMALL)
        torch.manual_seed(0)
        searchable = space.searchable(task).double().train()
        torch.manual_seed(1)
        loss = loss_of(searchable, task)
        loss.backward()
        found.append([loss, *(each.grad for each in searchable.parameters() if each.grad is not None)])
    assert len(found[0]) == len(found[1])
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)
