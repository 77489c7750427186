"""The joint supernet computes what the plain one does."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from automl_plugins.spaces.task import Task
from automl_plugins.supernets.gates import Gates
from gnn_space.egnas import EGNASSpace
from gnn_space.egnas.edge_order import EdgeOrder
from gnn_space.egnas.functions import GRU, BlockLinear, Relation
from gnn_space.egnas.messages import Messages

CLOSE = {"rtol": 1e-10, "atol": 1e-10}


@pytest.fixture(autouse=True)
def _double_precision():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def make_space(cells=2, nodes=2):
    return EGNASSpace(cells, nodes, node_channels=4, edge_channels=3, merge_node_channels=5, merge_edge_channels=4)


def make_task(level="graph", edge_channels=2):
    return Task(level, "regression", in_channels=3, out_channels=2, edge_channels=edge_channels)


def random_graph(num_nodes, num_edges, edge_channels, generator):
    return {
        "x": torch.randn(num_nodes, 3, generator=generator),
        "edge_index": torch.randint(0, num_nodes, (2, num_edges), generator=generator),
        "edge_attr": torch.randn(num_edges, edge_channels, generator=generator) if edge_channels else None,
    }


def random_gates(space, form, generator):
    weights = torch.rand(len(space.gate_choices), 5, generator=generator)
    if form == "one-hot":
        return torch.nn.functional.one_hot(weights.argmax(1), 5).to(weights)
    if form == "partly closed":
        return weights * (torch.rand(weights.shape, generator=generator) < 0.4)
    return weights


def outputs_and_gradients(supernet, space, graph, matrix):
    """The output, the gradients of open gates, inputs and weights, all by name."""
    leaves = {name: value.clone() for name, value in {**graph, "gates": matrix}.items() if value is not None}
    for leaf in leaves.values():
        leaf.requires_grad_(leaf.is_floating_point())
    gates = Gates(space.gate_choices, leaves["gates"])
    output = supernet(leaves["x"], leaves["edge_index"], leaves.get("edge_attr"), gates=gates)
    (output * torch.linspace(0.5, 1.5, output.numel()).view_as(output)).square().sum().backward()
    gradients = {
        name: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        for name, leaf in leaves.items()
        if leaf.is_floating_point()
    }
    gradients["gates"] = gradients["gates"] * (matrix != 0)
    return {"output": output.detach(), **gradients}


def weight_gradients(plain):
    return {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad
        for name, weight in plain.named_parameters()
    }


def gradients_as_plain(joint):
    """The gradients of a joint supernet, by the plain one's names."""
    held = copy.deepcopy(joint)
    with torch.no_grad():
        for weight, own in zip(held.parameters(), joint.parameters(), strict=True):
            weight.copy_(torch.zeros_like(own) if own.grad is None else own.grad)
    return dict(held.plain().named_parameters())


def assert_all_close(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(
            found[name].detach(), expected[name].detach(), **CLOSE, msg=lambda text, name=name: f"{name}: {text}"
        )


def assert_agree(space, task, graph, matrix, training):
    joint = space.supernet(task).train(training)
    plain = joint.plain()
    assert_all_close(
        outputs_and_gradients(joint, space, graph, matrix), outputs_and_gradients(plain, space, graph, matrix)
    )
    assert_all_close(gradients_as_plain(joint), weight_gradients(plain))
    assert_all_close(joint.plain().state_dict(), plain.state_dict())  # running statistics, too


@settings(max_examples=20)
@given(
    num_nodes=st.integers(1, 9),
    num_edges=st.integers(0, 20),
    level=st.sampled_from(["node", "edge", "graph"]),
    form=st.sampled_from(["soft", "one-hot", "partly closed"]),
    training=st.booleans(),
    seed=st.integers(0, 1_000),
)
def test_values_gradients_and_running_statistics_are_those_of_the_plain_form(
    num_nodes, num_edges, level, form, training, seed
):
    # Without edges all nodes receive the same, and normalisation leaves rounding errors alone: with
    # no other operation beside, rectifiers would be differentiated at their kinks.
    assume(num_edges > 0 or form == "soft")
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    space = make_space()
    graph = random_graph(num_nodes, num_edges, 2, generator)
    matrix = random_gates(space, form, generator)
    assert_agree(space, make_task(level), graph, matrix, training)


@pytest.mark.parametrize("level", ["node", "edge", "graph"])
def test_edges_without_features_agree_with_the_plain_form_too(level):
    space = make_space()
    generator = torch.Generator().manual_seed(0)
    graph = random_graph(8, 20, 0, generator)
    graph["edge_index"][:, 10:] = graph["edge_index"][:, :10]  # whose messages tie for the maximum
    assert_agree(space, make_task(level, 0), graph, random_gates(space, "soft", generator), True)


def test_a_molecule_of_one_atom_without_an_edge_is_normalised_by_running_statistics():
    space = make_space()
    graph = random_graph(1, 0, 2, torch.Generator().manual_seed(0))
    assert_agree(space, make_task(), graph, random_gates(space, "soft", torch.Generator().manual_seed(0)), True)


def test_a_node_with_very_many_incoming_edges_is_served_without_slices():
    space = make_space()
    generator = torch.Generator().manual_seed(0)
    graph = random_graph(40, 60, 2, generator)
    graph["edge_index"][1, :45] = 3
    assert EdgeOrder(graph["edge_index"], 40)._lengths is None
    assert_agree(space, make_task(), graph, random_gates(space, "soft", generator), True)


@pytest.mark.parametrize("fixed", ["weights", "gates"])
def test_either_half_of_a_search_step_has_the_plain_forms_gradients(fixed):
    space, task = make_space(), make_task()
    generator = torch.Generator().manual_seed(0)
    graph = random_graph(8, 20, 2, generator)
    logits = torch.randn(len(space.gate_choices), 5, generator=generator)
    joint = space.supernet(task)
    found = []
    for supernet in (joint, joint.plain()):
        weights = logits.clone().requires_grad_(fixed == "weights")
        supernet.requires_grad_(fixed == "gates")
        loss = supernet(**graph, gates=Gates(space.gate_choices, weights.softmax(1))).square().sum()
        if fixed == "weights":
            found.append({"logits": torch.autograd.grad(loss, [weights])[0]})
        else:
            loss.backward()
            found.append(gradients_as_plain(supernet) if supernet is joint else weight_gradients(supernet))
    assert_all_close(*found)


@pytest.mark.parametrize("high_degree", [False, True])
def test_messages_that_tie_for_the_maximum_share_its_gradient_evenly(high_degree):
    # Node 0 has four edges; those from 1 and 2 tie, and that from 1 is there twice.
    edges = [(1, 0), (1, 0), (2, 0), (3, 0)]
    order = EdgeOrder(torch.tensor(edges).t(), 4)
    if high_degree:
        order._lengths = None
    states = torch.tensor([[0.0], [2.0], [2.0], [1.0]]).index_select(0, order.nodes).requires_grad_()
    none, one = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    zero = torch.zeros(1, 1)
    # A scale of sigmoid(0), a half, and no shift.
    _, _, most = Messages.apply(states, torch.zeros(4, 1), one, zero, none, zero, none, zero, order)
    torch.testing.assert_close(order.original_nodes(most), torch.tensor([[1.0], [0.0], [0.0], [0.0]]))
    (gradient,) = torch.autograd.grad(most.sum(), [states])
    torch.testing.assert_close(order.original_nodes(gradient), torch.tensor([[0.0], [1 / 3], [1 / 6], [0.0]]))


def test_the_functions_have_the_gradients_of_finite_differences():
    torch.manual_seed(0)
    order = EdgeOrder(torch.randint(0, 5, (2, 12)), 5)

    def leaf(*shape):
        return torch.randn(shape, requires_grad=True)

    assert torch.autograd.gradcheck(BlockLinear.apply, (leaf(6, 6), leaf(2, 4, 3), leaf(2, 4)))
    assert torch.autograd.gradcheck(lambda nodes: Relation.apply(nodes, order), (leaf(5, 4),))
    assert torch.autograd.gradcheck(GRU.apply, (*(leaf(4, 6) for _ in range(4)), leaf(4, 3)))
    operations, maxima = 6, 2
    messages = (
        leaf(5, 2 * operations),
        leaf(12, operations),
        leaf(operations, 2, 2),
        leaf(operations, 2),
        leaf(operations, 2, 1),
        leaf(operations, 2),
        leaf(maxima, 2, 1),
        leaf(maxima, 2),
    )
    assert torch.autograd.gradcheck(lambda *inputs: Messages.apply(*inputs, order), messages)


def test_one_seed_gives_both_forms_the_same_weights():
    space, task = make_space(), make_task()
    torch.manual_seed(3)
    joint = space.supernet(task)
    torch.manual_seed(3)
    of_one_seed, of_joint = joint._make_plain().state_dict(), joint.plain().state_dict()
    assert all(torch.equal(of_joint[name], weight) for name, weight in of_one_seed.items())


def test_making_the_plain_form_draws_nothing_from_the_global_generator():
    joint = make_space().supernet(make_task())
    before = torch.get_rng_state()
    joint.plain()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("level", ["node", "edge", "graph"])
def test_the_network_of_an_architecture_computes_what_the_supernet_does_at_its_gates(level):
    space, task = make_space(), make_task(level)
    generator = torch.Generator().manual_seed(0)
    graph = random_graph(7, 15, 2, generator)
    supernet = space.supernet(task)
    for _ in range(5):
        architecture = space.sample(generator)
        network = space.inherited(supernet, architecture, task)
        torch.testing.assert_close(network(**graph), supernet(**graph, gates=space.gates(architecture)), **CLOSE)


def test_what_closed_gates_lead_to_is_not_computed():
    space, task = make_space(), make_task()
    generator = torch.Generator().manual_seed(0)
    architecture = space.sample(generator)
    gates = space.gates(architecture)
    supernet = space.supernet(task)
    with torch.no_grad():
        for cell in supernet.cells:
            for key, steps in cell.steps.items():
                for step in steps:
                    if not cell._is_open(step, gates):
                        for name, tensor in cell.updates[key].state_of(step).items():
                            if name != "norm.module.num_batches_tracked":
                                tensor.fill_(torch.nan)
    assert supernet(**random_graph(7, 15, 2, generator), gates=gates).isfinite().all()


def test_two_passes_can_be_differentiated_together_and_a_copy_is_independent():
    space, task = make_space(), make_task()
    generator = torch.Generator().manual_seed(0)
    graphs = [random_graph(6, 12, 2, generator) for _ in range(2)]
    gates = Gates(space.gate_choices, random_gates(space, "soft", generator))
    joint = space.supernet(task)
    plain, twin = joint.plain(), copy.deepcopy(joint)
    for supernet in (joint, plain):
        sum(supernet(**graph, gates=gates).square().sum() for graph in graphs).backward()
    assert_all_close(gradients_as_plain(joint), weight_gradients(plain))
    assert all(weight.grad is None for weight in twin.parameters())


def test_it_trains_under_bfloat16_autocast():
    space, task = make_space(), make_task()
    generator = torch.Generator().manual_seed(0)
    graph = {
        name: value.float() if value.is_floating_point() else value
        for name, value in random_graph(8, 20, 2, generator).items()
    }
    gates = Gates(space.gate_choices, random_gates(space, "soft", generator).float())
    supernet = space.supernet(task).float()
    exact = copy.deepcopy(supernet)(**graph, gates=gates)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = supernet(**graph, gates=gates)
    torch.testing.assert_close(output.float(), exact, rtol=0.1, atol=0.1)
    output.float().square().sum().backward()
    assert all(weight.grad.isfinite().all() for weight in supernet.parameters() if weight.grad is not None)
