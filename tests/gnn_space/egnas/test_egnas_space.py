"""EGNAS's space: its size, its contract, its operations against a loop over edges, and what is built of a cell."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins import Task
from automl_plugins.testing import SupernetContract
from gnn_space import EGNASSpace
from gnn_space.egnas.network import EGNASNetwork
from gnn_space.egnas.operations import AGGREGATIONS, EDGE_UPDATES, EdgeOperation, NodeOperation
from gnn_space.egnas.plan import Step, plan_stack
from gnn_space.egnas.sizes import EGNASSizes
from gnn_space.frame import WIDE

# torch says so once in a process, wherever the first such tensor is made.
pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")

NODE = Task("node", "classes", in_channels=5, out_channels=3)
EDGE_WITH_CATEGORIES = Task("edge", "classes", 2, 3, edge_channels=2, node_categories=(4, 3), edge_categories=(2, 3))
GRAPH = Task("graph", "multilabel", in_channels=5, out_channels=4, edge_channels=2)
MOLECULES = Task("graph", "regression", 2, 1, edge_channels=1, node_categories=(4, 3), edge_categories=(5,))
TASKS = (NODE, EDGE_WITH_CATEGORIES, MOLECULES)

EDGE_INDEX = torch.tensor([[0, 1, 1, 2, 2, 0, 3, 5, 5, 6], [1, 0, 2, 1, 0, 2, 3, 6, 6, 5]])
"""Two graphs: a triangle and a node with a loop, then three nodes, one of them alone, with an edge that comes twice."""
BATCH = torch.tensor([0, 0, 0, 0, 1, 1, 1])


def features(rows: int, channels: int, categories: tuple[int, ...]) -> Tensor:
    if not categories:
        return torch.randn(rows, channels, generator=torch.Generator().manual_seed(rows)).to(torch.get_default_dtype())
    return torch.stack([torch.arange(rows) * (column + 1) % count for column, count in enumerate(categories)], dim=1)


def run(network: nn.Module, task: Task) -> Tensor:
    x = features(7, task.in_channels, task.node_categories)
    edges = features(10, task.edge_channels, task.edge_categories) if task.edge_channels else None
    return network(x, EDGE_INDEX, edges, BATCH, 2)


class TestEGNASSpace(SupernetContract):
    samples = 4

    def space(self) -> EGNASSpace:
        return EGNASSpace(cells=1, nodes=2, node_channels=4, edge_channels=3)

    def tasks(self) -> list[Task]:
        return list(TASKS)

    def loss(self, network: nn.Module, task: Task) -> Tensor:
        return run(network, task).square().mean()


class TestSharedCells(TestEGNASSpace):
    def space(self) -> EGNASSpace:
        return EGNASSpace(
            cells=3, nodes=1, inputs=1, share_cells=True, node_channels=4, edge_channels=4, positional_encodings=2
        )

    def tasks(self) -> list[Task]:
        return [replace(NODE, level="edge"), NODE, GRAPH]


# The space.


def test_a_cell_has_as_many_architectures_as_its_public_code() -> None:
    of_a_kind = math.prod(math.comb(state, 2) * 4**2 for state in range(2, 6))
    assert of_a_kind == 11_796_480
    assert EGNASSpace(cells=1).size == of_a_kind**2
    assert EGNASSpace(cells=4).size == of_a_kind**8
    assert EGNASSpace(cells=4, share_cells=True).size == of_a_kind**2


def test_the_supernet_has_112_mixed_operations_of_five_options_and_the_papers_size() -> None:
    space = EGNASSpace()
    assert len(space.gate_choices) == 112
    assert {len(choice.options) for choice in space.gate_choices} == {5}
    task = Task("graph", "regression", 28, 1, edge_channels=4)
    with torch.device("meta"):
        supernet = space.supernet(task)
    # 3.30 million in the paper's code, whose readout we know only roughly.
    assert 3.28e6 < sum(weight.numel() for weight in supernet.parameters()) < 3.34e6


def test_each_state_reads_two_earlier_ones_each_once() -> None:
    space = EGNASSpace(cells=1, nodes=3)
    inputs = {choice.name: choice.options for choice in space.choices if choice.kind == "inputs"}
    assert inputs["cell0.node2.inputs"] == ("0+1",)
    assert inputs["cell0.edge4.inputs"] == tuple(f"{one}+{other}" for one, other in combinations(range(4), 2))


@pytest.mark.parametrize("argument", ["cells", "nodes", "inputs", "node_channels", "merge_edge_channels"])
def test_sizes_below_one_are_refused(argument: str) -> None:
    with pytest.raises(ValueError, match=f"{argument} is at least 1; got 0"):
        EGNASSpace(**{argument: 0})


def test_a_dropout_rate_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dropout .* got 1"):
        EGNASSpace(dropout=1)


WIDE_NODES = replace(NODE, in_channels=WIDE)
WIDE_GRAPHS = replace(GRAPH, in_channels=WIDE)


@pytest.mark.parametrize(
    ("task", "rate"), [(WIDE_NODES, 0.6), (NODE, 0.0), (WIDE_GRAPHS, 0.0)], ids=["wide nodes", "nodes", "graphs"]
)
def test_networks_and_supernet_have_dropout_where_nodes_have_wide_features_and_none_is_given(
    task: Task, rate: float
) -> None:
    for told, expected in ((None, rate), (0.2, 0.2)):
        space = EGNASSpace(cells=1, nodes=1, dropout=told)
        for built in (space.network(space.sample(np.random.default_rng(0)), task), space.supernet(task)):
            assert built.embedding.dropout == (expected if task is WIDE_NODES else 0.0)
            assert built.cells[0].merges["node"].dropout == expected


@pytest.mark.parametrize("task", [WIDE_NODES, WIDE_GRAPHS], ids=["nodes", "graphs"])
def test_the_scale_of_wide_features_means_nothing_and_their_layout_neither(task: Task) -> None:
    space = EGNASSpace(cells=1, nodes=1)
    network = space.network(space.sample(np.random.default_rng(0)), task).double().eval()
    x, edges = features(7, WIDE, ()).double(), features(10, 2, ()).double() if task.edge_channels else None
    x = x * (x > 1)
    expected = network(x, EDGE_INDEX, edges, BATCH, 2)
    for same in (1e-4 * x, 1e4 * x, x.to_sparse_csr()):
        torch.testing.assert_close(network(same, EDGE_INDEX, edges, BATCH, 2), expected)


def test_decoding_keeps_the_inputs_whose_best_operation_scores_highest_and_never_none() -> None:
    space = EGNASSpace(cells=1, nodes=2)
    scores = {choice.name: torch.zeros(5) for choice in space.gate_choices}
    for gate in scores.values():
        gate[0] = 9.0  # none
    scores["cell0.node3.from1.node_operation"][4] = 0.6  # max
    scores["cell0.node3.from2.node_operation"][1] = 0.7  # identity
    scores["cell0.node3.from0.node_operation"][2:4] = 0.5  # two that are good, but none as good
    found = space.decode(scores)
    assert found["cell0.node3.inputs"] == "1+2"
    assert found["cell0.node3.input0.node_operation"] == "max"
    assert found["cell0.node3.input1.node_operation"] == "identity"


# What is built.


@given(seed=st.integers(0, 2**31), level=st.sampled_from(["node", "edge", "graph"]))
def test_every_weight_of_a_network_is_trained_and_nothing_that_counts_is_left_out(seed: int, level: str) -> None:
    space = EGNASSpace(cells=3, nodes=2, node_channels=3, edge_channels=2)
    task = replace(GRAPH, level=level)
    network = space.network(space.sample(np.random.default_rng(seed)), task)
    run(network, task).square().sum().backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_on_node_level_nothing_reads_the_last_cells_edges() -> None:
    space = EGNASSpace(cells=2, nodes=2)
    steps = space.all_steps()
    plans = {level: plan_stack([steps] * 2, space.states, level) for level in ("node", "edge", "graph")}
    last = plans["node"].cells[-1]
    assert last.outputs == {"node"}
    assert [step for step in last.steps if (step.kind, step.target) == ("edge", 3)] == []
    assert [step for step in last.steps if (step.kind, step.target) == ("edge", 2)] != []
    assert plans["node"].cells[0].outputs == {"node", "edge"}
    assert plans["graph"].cells[-1].steps == tuple(steps)
    assert [step for step in plans["edge"].cells[-1].steps if (step.kind, step.target) == ("node", 3)] == []


def test_a_network_that_only_passes_nodes_on_embeds_no_edges() -> None:
    steps = [Step("node", 2, 0, "identity"), Step("node", 2, 1, "identity"), Step("edge", 2, 0, "film")]
    plan = plan_stack([steps], 3, "node")
    assert plan.embedded == {"node"}
    assert plan.cells[0].steps == tuple(steps[:2])


def test_a_network_is_made_of_a_plan_and_sizes_without_a_space() -> None:
    steps = [Step("node", 2, 0, "max"), Step("edge", 2, 1, "film")]
    network = EGNASNetwork(plan_stack([steps], 3, "graph"), GRAPH, EGNASSizes(node_channels=4, edge_channels=3))
    assert run(network, GRAPH).shape == (2, 4)
    with pytest.raises(ValueError, match="node_channels is at least 1; got 0"):
        EGNASSizes(node_channels=0)


# Operations, against a loop over edges.


def _perturbed(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for weight in module.parameters():
        nn.init.normal_(weight)
    return module.double().eval()


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_node_receives_messages_that_edges_scale_and_shift(aggregation: str) -> None:
    operation = _perturbed(NodeOperation(3, 2, aggregation, affine=False))
    nodes, edges = torch.randn(7, 3).double(), torch.randn(10, 2).double()
    received = torch.zeros(7, 3).double()
    for node in range(7):
        messages = []
        for edge, (source, target) in enumerate(EDGE_INDEX.t().tolist()):
            if target == node:
                film = operation.modulation(edges[edge])
                hidden = operation.message(functional.leaky_relu(nodes[source], 0.2))
                messages.append(torch.sigmoid(operation.scale(film)) * hidden + operation.shift(film))
        if messages:
            stacked = torch.stack(messages)
            received[node] = {"sum": stacked.sum(0), "mean": stacked.mean(0), "max": stacked.amax(0)}[aggregation]
    expected = operation.norm(operation.output(received))
    assert torch.allclose(operation(nodes, edges, EDGE_INDEX), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("update", EDGE_UPDATES)
def test_an_edge_is_updated_from_its_target_its_source_and_their_difference(update: str) -> None:
    operation = _perturbed(EdgeOperation(3, 2, update, affine=False))
    nodes, edges = torch.randn(7, 3).double(), torch.randn(10, 2).double()
    rows = []
    for edge, (source, target) in enumerate(EDGE_INDEX.t().tolist()):
        own, other = nodes[target], nodes[source]
        relation = operation.relation(torch.cat([own, other, own - other]))
        state = functional.leaky_relu(edges[edge], 0.2)
        if update == "concat":
            rows.append(operation.join(torch.cat([relation, state])))
        elif update == "film":
            rows.append(torch.sigmoid(operation.scale(relation)) * state + operation.shift(relation))
        else:
            reset, keep, new = (operation.cell.weight_ih @ relation + operation.cell.bias_ih).chunk(3)
            reset_state, keep_state, new_state = (operation.cell.weight_hh @ state + operation.cell.bias_hh).chunk(3)
            kept = torch.sigmoid(keep + keep_state)
            rows.append((1 - kept) * torch.tanh(new + torch.sigmoid(reset + reset_state) * new_state) + kept * state)
    expected = operation.norm(operation.output(torch.stack(rows)))
    assert torch.allclose(operation(nodes, edges, EDGE_INDEX), expected, rtol=0, atol=1e-10)


# Networks on graphs.


@pytest.mark.parametrize("level", ["node", "edge", "graph"])
def test_the_order_of_nodes_and_edges_means_nothing(level: str) -> None:
    space = EGNASSpace(cells=2, nodes=2, node_channels=4, edge_channels=3)
    task = replace(GRAPH, level=level)
    network = _perturbed(space.network(space.sample(np.random.default_rng(0)), task))
    x, edges = features(7, 5, ()).double(), features(10, 2, ()).double()
    # Within each graph, so that the graphs of a batch stay together.
    nodes = torch.tensor([2, 0, 3, 1, 6, 4, 5])
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    outputs = network(x, EDGE_INDEX, edges, BATCH, 2)
    moved = network(x[nodes], nodes.argsort()[EDGE_INDEX][:, order], edges[order], BATCH, 2)
    if level != "graph":
        outputs = outputs[nodes if level == "node" else order]
    assert torch.allclose(moved, outputs, rtol=1e-9, atol=1e-9)


def test_a_batch_gives_what_its_graphs_give_one_by_one() -> None:
    space = EGNASSpace(cells=2, nodes=2, node_channels=4, edge_channels=3, positional_encodings=2)
    network = _perturbed(space.network(space.sample(np.random.default_rng(1)), GRAPH))
    x, edges = features(7, 5, ()).double(), features(10, 2, ()).double()
    together = network(x, EDGE_INDEX, edges, BATCH, 2)
    first, second = network(x[:4], EDGE_INDEX[:, :7], edges[:7]), network(x[4:], EDGE_INDEX[:, 7:] - 4, edges[7:])
    assert torch.allclose(together, torch.cat([first, second]), rtol=0, atol=1e-8)


def test_edge_features_that_the_task_promises_must_be_there() -> None:
    space = EGNASSpace(cells=1, nodes=1)
    network = space.network(space.sample(np.random.default_rng(0)), GRAPH)
    with pytest.raises(ValueError, match="2 edge channels, but edge_attr is None"):
        network(features(7, 5, ()), EDGE_INDEX)
