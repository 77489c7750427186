"""Auto-DeepLab's space with several resolutions at a time: its networks, and what its gates mean."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from torch import Tensor

from automl_plugins import Architecture, Task
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.relaxations import Relaxation, Sigmoid, Softmax
from automl_plugins.testing import enumerate_space
from seg_space import AutoDeepLabEncoder, AutoDeepLabSpace, register_encoder
from seg_space.auto_deeplab.multi_path_network import MultiPathNetwork, MultiPathNode
from seg_space.auto_deeplab.network import AutoDeepLabNetwork

TASK = Task("pixel", "classes", in_channels=3, out_channels=4)


def make_space(layers: int = 3, multi_path: bool = True, blocks: int = 2, **arguments: Any) -> AutoDeepLabSpace:
    return AutoDeepLabSpace(layers=layers, blocks=blocks, filters=1, stem=(2, 2), multi_path=multi_path, **arguments)


def with_edges(space: AutoDeepLabSpace, edges: dict[str, int | str], seed: int = 0) -> Architecture:
    """An architecture with these edges and a random cell."""
    drawn = space.sample(np.random.default_rng(seed))
    return space.architecture({**{name: drawn[name] for name in drawn if name.startswith("cell.")}, **edges})


SEVERAL: dict[str, int | str] = {
    "layer1.after4": "4+8",
    "layer2.after4": 4,
    "layer2.after8": "4+16",
    "layer3.after4": "4+8",
    "layer3.after16": "8+16+32",
}


# Architectures.


@pytest.mark.parametrize("layers", [1, 2])
def test_all_architectures_are_feasible_and_counted(layers: int) -> None:
    space = make_space(layers, blocks=1)
    topologies = set()
    for architecture in enumerate_space(space):
        edges = {name: value for name, value in architecture.items() if name.startswith("layer")}
        topologies.add(tuple(edges.items()))
        nodes = space.nodes(architecture)
        reached = {(0, 4)} | {(node.layer, node.stride) for node in nodes}
        left = {(node.layer - 1, source) for node in nodes for source in node.incoming}
        assert left == {place for place in reached if place[0] < layers}
        assert len(edges) == len(left)
    assert len(topologies) == space.paths == (3, 31)[layers - 1]
    assert space.size == space.paths * space.cells


def test_every_architecture_of_single_paths_is_one_of_several_with_the_same_network() -> None:
    single, several = make_space(multi_path=False), make_space()
    generator = np.random.default_rng(0)
    for _ in range(5):
        architecture = single.sample(generator)
        several.validate(architecture)
        networks = []
        for space in (single, several):
            torch.manual_seed(0)
            networks.append(space.network(architecture, TASK))
            assert type(networks[-1]) is AutoDeepLabNetwork
            assert space.drawing(architecture) == single.drawing(architecture)
            assert space.operations(architecture) == single.operations(architecture)
        states = [network.state_dict() for network in networks]
        assert list(states[0]) == list(states[1])
        assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_optuna_suggests_what_leaves_each_node_that_is_reached() -> None:
    space = make_space()
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=3))
    several = 0
    for number in range(12):
        trial = study.ask()
        architecture = space.suggest(trial)
        space.validate(architecture)
        several += isinstance(space.network(architecture, TASK), MultiPathNetwork)
        study.tell(trial, float(number % 3))
    assert several > 3


def test_what_is_not_reached_has_no_edges() -> None:
    space = make_space()
    with pytest.raises(ValueError, match=r"'layer2\.after8' is not active here: it requires layer1\.after4 in"):
        with_edges(space, {**SEVERAL, "layer1.after4": 4})
    with pytest.raises(ValueError, match=r"choice 'layer3\.after16' is missing"):
        with_edges(space, {name: value for name, value in SEVERAL.items() if name != "layer3.after16"})


def test_several_paths_are_drawn_with_the_edges_between_them() -> None:
    space = make_space(blocks=1)
    architecture = with_edges(space, SEVERAL)
    assert space.drawing(architecture).splitlines()[:5] == [
        "stride  stem   1    2    3",
        "     4     ●  →●  →↗●   →●",
        "     8     ·  ↘●    ·  ↘↗●",
        "    16     ·   ·   ↘●   →●",
        "    32     ·   ·    ·   ↘●",
    ]
    assert "block 0 = " in space.drawing(architecture)


# Networks.


@pytest.mark.parametrize("size", [(16, 24), (33, 47)])
def test_a_network_has_the_maps_of_its_nodes(size: tuple[int, int]) -> None:
    space = make_space()
    network = space.network(with_edges(space, SEVERAL), TASK)
    images = torch.randn(2, 3, *size)
    maps = network.features(images)
    assert list(maps) == [(0, 4), (1, 4), (1, 8), (2, 4), (2, 16), (3, 4), (3, 8), (3, 16), (3, 32)]
    for (layer, stride), each in maps.items():
        channels = 2 if layer == 0 else 2 * stride // 4
        assert each.shape == (2, channels, math.ceil(size[0] / stride), math.ceil(size[1] / stride))
    assert network(images).shape == (2, 4, *size)


def test_a_node_sums_what_its_cells_make_of_each_map() -> None:
    space = make_space()
    network = space.network(with_edges(space, SEVERAL), TASK)
    (node,) = (each for each in network.nodes if each.node[:2] == (2, 4))
    assert isinstance(node, MultiPathNode)
    assert node.node.incoming == (4, 8)
    maps = network.features(torch.randn(2, 3, 32, 32))
    maps[-1, 4] = maps[0, 4]
    size = (8, 8)
    before = node.resize_before["4"](maps[0, 4], size)
    parts = [
        cell(before, node.resize_previous[source](maps[1, int(source)], size))
        for cell, source in zip(node.cells, ("4", "8"), strict=True)
    ]
    torch.testing.assert_close(node(maps, size), parts[0] + parts[1])
    torch.testing.assert_close(maps[2, 4], parts[0] + parts[1])


@pytest.mark.parametrize("arguments", [{}, {"merge_inputs": True, "head": "deeplab", "decoder_channels": 3}], ids=str)
def test_a_network_inherits_what_the_supernet_computes_at_its_gates(arguments: dict[str, Any]) -> None:
    space = make_space(**arguments)
    architecture = with_edges(space, SEVERAL)
    # The second input of a stride that layer 1 does not have is the sum of what it has within two edges.
    assert [node.before for node in space.nodes(architecture)[-2:]] == [(4, 8), (8,)]
    torch.manual_seed(0)
    supernet = space.supernet(TASK).double().train()
    with torch.no_grad():
        for weight in supernet.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    images = torch.randn(3, 3, 24, 40, dtype=torch.float64)
    supernet(images, gates=soft_gates(space, Softmax()))
    network = space.inherited(supernet, architecture, TASK)
    gates = space.gates(architecture, torch.float64)
    # Evaluation comes last, to see what training did to running statistics.
    for training in (True, False):
        inputs = [images.clone().requires_grad_() for _ in range(2)]
        outputs = supernet.train(training)(inputs[0], gates=gates), network.train(training)(inputs[1])
        for output in outputs:
            output.square().mean().backward()
        for ours, theirs in (outputs, (inputs[0].grad, inputs[1].grad)):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_dropped_paths_grow_with_depth() -> None:
    space = AutoDeepLabSpace(layers=3, blocks=1, filters=1, stem=(2, 2), drop_path=0.3, multi_path=True)
    network = space.network(with_edges(space, SEVERAL), TASK)
    network.schedule_drop_path(0.5)
    rates = {(node.node.layer, cell.drop_rate) for node in network.nodes for cell in node.cells}
    assert sorted(rates) == [(1, pytest.approx(0.05)), (2, pytest.approx(0.1)), (3, pytest.approx(0.15))]


def test_an_encoder_of_smp_follows_a_single_path() -> None:
    space = make_space()
    complaint = "a single path is needed here; layer 1 of this one has the strides 4 and 8"
    with pytest.raises(ValueError, match=complaint):
        register_encoder("auto-deeplab-several", with_edges(space, SEVERAL), space)
    several = encoder_arguments(with_edges(space, SEVERAL))
    with pytest.raises(ValueError, match=complaint):
        AutoDeepLabEncoder(**several)
    single = with_edges(space, {"layer1.after4": 8, "layer2.after8": 4, "layer3.after4": 8})
    assert AutoDeepLabEncoder(**encoder_arguments(single)).path == (8, 4, 8)


def encoder_arguments(architecture: Architecture) -> dict[str, Any]:
    space = {"layers": 3, "blocks": 2, "filters": 1, "stem": (2, 2), "multi_path": True}
    return {"architecture": json.loads(architecture.to_json()), "space": space}


# Gates.


def soft_gates(space: AutoDeepLabSpace, relaxation: Relaxation, seed: int = 0) -> Gates:
    searchable = space.searchable(TASK, relaxation)
    with torch.no_grad():
        searchable.logits.normal_(generator=torch.Generator().manual_seed(seed))
        matrix = relaxation(searchable.logits.double(), searchable.mask)
    return Gates(space.gate_choices, matrix)


def test_under_a_softmax_an_edge_is_on_by_the_sigmoid_of_its_logits() -> None:
    space = make_space()
    searchable = space.searchable(TASK, Softmax())
    with torch.no_grad():
        searchable.logits.normal_(generator=torch.Generator().manual_seed(0))
    gates = searchable.gates()
    for row, choice in enumerate(space.gate_choices):
        if choice.options == ("off", "on"):
            off, on = searchable.logits[row, :2]
            torch.testing.assert_close(gates[choice.name][1], (on - off).sigmoid())


def test_an_edge_weighs_what_it_is_probable_where_not_all_are_off() -> None:
    space = make_space(layers=1)
    supernet = space.supernet(TASK).double().eval()
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    last: dict[int, Tensor] = {}
    supernet.heads["unet"].register_forward_pre_hook(lambda _, arguments: last.update(arguments[0].last))

    def maps(first: float, second: float) -> dict[int, Tensor]:
        gates = dict(soft_gates(space, Softmax()))
        for target, on in ((4, first), (8, second)):
            gates[f"layer1.after4.to{target}"] = torch.tensor([1 - on, on], dtype=torch.float64)
        supernet(images, gates=gates)
        return dict(last)

    certain, soft = maps(1.0, 1.0), maps(0.3, 0.6)
    nothing = (1 - 0.3) * (1 - 0.6)
    torch.testing.assert_close(soft[4], certain[4] * 0.3 / (1 - nothing))
    torch.testing.assert_close(soft[8], certain[8] * 0.6 / (1 - nothing))


@pytest.mark.parametrize("merge_inputs", [False, True])
@pytest.mark.parametrize("relaxation", [Softmax(), Sigmoid()], ids=["softmax", "sigmoid"])
def test_the_joint_supernet_is_the_plain_one(relaxation: Relaxation, merge_inputs: bool) -> None:
    space = make_space(merge_inputs=merge_inputs)
    torch.manual_seed(0)
    joint = space.supernet(TASK).double().train()
    images = torch.randn(2, 3, 24, 40, dtype=torch.float64)
    soft = soft_gates(space, relaxation)
    joint(images, gates=soft)
    for training in (True, False):
        found = []
        for supernet in (joint.train(training), joint.plain()):
            matrix = soft.matrix.clone().requires_grad_()
            supernet.zero_grad()
            output = supernet(images, gates=Gates(space.gate_choices, matrix))
            output.square().mean().backward()
            weights = [torch.zeros_like(each) if each.grad is None else each.grad for each in supernet.parameters()]
            found.append([output.detach(), matrix.grad, *weights, *(each.clone() for each in supernet.buffers())])
        largest = max(float(each.abs().max()) for each in found[1])
        for ours, theirs in zip(*found, strict=True):
            assert ours is not None
            assert float((ours - theirs).abs().max()) <= 1e-10 * max(1.0, largest)


def test_gates_that_lead_nowhere_still_give_an_output_that_trains() -> None:
    space = make_space()
    matrix = soft_gates(space, Softmax()).matrix.float()
    closed = Gates(space.gate_choices, matrix)
    for name in closed:
        if name.startswith("layer3"):
            matrix[closed.row(name), 1] = 0.0
    matrix.requires_grad_()
    supernet = space.supernet(TASK)
    output = supernet(torch.randn(2, 3, 16, 16), gates=Gates(space.gate_choices, matrix))
    assert output.shape == (2, 4, 16, 16)
    output.square().mean().backward()
    assert matrix.grad is not None
    assert matrix.grad.isfinite().all()


def test_decoding_takes_an_edge_by_the_share_of_on_and_refuses_what_is_no_score() -> None:
    space = make_space(layers=1)
    scores = {choice.name: torch.ones(len(choice.options)) for choice in space.gate_choices}
    scores["layer1.after4.to4"] = torch.tensor([2.0, 3.0])
    scores["layer1.after4.to8"] = torch.tensor([0.2, 0.1])
    assert space.decode(scores)["layer1.after4"] == 4
    scores["layer1.after4.to8"] = torch.tensor([0.1, 0.2])
    assert space.decode(scores)["layer1.after4"] == "4+8"
    for wrong in (-1.0, math.nan):
        scores["layer1.after4.to8"] = torch.tensor([0.1, wrong])
        with pytest.raises(ValueError, match=r"'layer1\.after4\.to8' are not negative"):
            space.decode(scores)
