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
from gnn_space.egnas.graph_index import GraphIndex

CLOSE = {"rtol": 1e-10, "atol": 1e-10}


@pytest.fixture(autouse=True)
def _double_precision():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def make_space(cells=2, nodes=2, **options):
    sizes = {"node_channels": 4, "edge_channels": 3, "merge_node_channels": 5, "merge_edge_channels": 4}
    return EGNASSpace(cells, nodes, **sizes, **options)


def make_task(level="graph", edge_channels=2):
    return Task(level, "regression", in_channels=3, out_channels=2, edge_channels=edge_channels)


def random_graph(num_nodes, num_edges, edge_channels, generator):
    return {
        "x": torch.randn(num_nodes, 3, generator=generator),
        "edge_index": torch.randint(0, num_nodes, (2, num_edges), generator=generator),
        "edge_attr": torch.randn(num_edges, edge_channels, generator=generator) if edge_channels else None,
    }


def random_gates(space, form, generator):
    counts = torch.tensor([len(choice.options) for choice in space.gate_choices])
    own = torch.arange(int(counts.max())) < counts.unsqueeze(1)
    weights = torch.rand(own.shape, generator=generator) * own
    if form == "one-hot":
        return torch.nn.functional.one_hot(weights.argmax(1), own.size(1)).to(weights)
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
    checkpointing=st.booleans(),
    seed=st.integers(0, 1_000),
)
def test_values_gradients_and_running_statistics_are_those_of_the_plain_form(
    num_nodes, num_edges, level, form, training, checkpointing, seed
):
    # Without edges all nodes receive the same, and normalisation leaves rounding errors alone: with
    # no other operation beside, rectifiers would be differentiated at their kinks.
    assume(num_edges > 0 or form == "soft")
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    space = make_space(checkpointing=checkpointing)
    graph = random_graph(num_nodes, num_edges, 2, generator)
    matrix = random_gates(space, form, generator)
    assert_agree(space, make_task(level), graph, matrix, training)


@pytest.mark.parametrize("form", ["soft", "one-hot", "partly closed"])
def test_the_operations_of_hand_made_networks_agree_with_the_plain_form_too(form):
    space = make_space(operations="extended", residual=True, merge="sum", sum_readout=True)
    generator = torch.Generator().manual_seed(0)
    graph = random_graph(8, 20, 2, generator)
    assert_agree(space, make_task(), graph, random_gates(space, form, generator), True)


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


def test_messages_that_tie_for_the_maximum_share_its_gradient_evenly():
    # Node 0 has four edges; those from 1 and 2 tie, and that from 1 is there twice.
    graph = GraphIndex(torch.tensor([(1, 0), (1, 0), (2, 0), (3, 0)]).t(), 4)
    states = torch.tensor([[[0.0], [2.0], [2.0], [1.0]]], requires_grad=True)
    largest = graph.max(graph.of_sources(states))
    torch.testing.assert_close(largest, torch.tensor([[[2.0], [0.0], [0.0], [0.0]]]))
    (gradient,) = torch.autograd.grad(largest.sum(), [states])
    torch.testing.assert_close(gradient, torch.tensor([[[0.0], [2 / 3], [1 / 3], [0.0]]]))


@settings(max_examples=20)
@given(num_nodes=st.integers(1, 6), num_edges=st.integers(0, 12), count=st.integers(1, 3), seed=st.integers(0, 99))
def test_sums_and_maxima_over_incoming_edges_are_those_of_a_loop(num_nodes, num_edges, count, seed):
    generator = torch.Generator().manual_seed(seed)
    ends = torch.randint(0, num_nodes, (2, num_edges), generator=generator)
    rows = torch.randn(count, num_edges, 2, generator=generator)
    graph = GraphIndex(ends, num_nodes)
    for node in range(num_nodes):
        incoming = rows[:, ends[1] == node]
        torch.testing.assert_close(graph.sum(rows)[:, node], incoming.sum(1))
        largest = incoming.amax(1) if incoming.size(1) else torch.zeros(count, 2)
        torch.testing.assert_close(graph.max(rows)[:, node], largest)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_second_derivatives_are_those_of_the_plain_form(training, checkpointing):
    space, task = make_space(checkpointing=checkpointing), make_task()
    generator = torch.Generator().manual_seed(0)
    graph = random_graph(8, 20, 2, generator)
    matrix = random_gates(space, "soft", generator)
    joint = space.supernet(task).train(training)
    found = []
    for supernet in (joint, joint.plain()):
        leaf = matrix.clone().requires_grad_()
        loss = supernet(**graph, gates=Gates(space.gate_choices, leaf)).square().sum()
        weights = list(supernet.parameters())
        first = torch.autograd.grad(loss, [leaf, *weights], create_graph=True, allow_unused=True)
        sum(one.square().sum() for one in first if one is not None).backward()
        found.append({"gates": leaf.grad})
        for weight in weights:
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
        found[-1] |= gradients_as_plain(joint) if supernet is joint else weight_gradients(supernet)
    scale = max(float(one.abs().max()) for one in found[1].values())
    assert scale > 1
    assert_all_close(*({name: one / scale for name, one in each.items()} for each in found))


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
                    place = cell.places[step]
                    if place.option not in gates.open(place.gate):
                        for name, tensor in cell.stacks[key].state_of(step).items():
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
