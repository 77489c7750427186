"""The joint supernet against the plain one, which runs operation by operation."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from automl_plugins import Task
from automl_plugins.supernets.gates import Gates, option_mask
from seg_space import AutoDeepLabSpace
from seg_space.auto_deeplab import joint_cell
from seg_space.auto_deeplab.cell import CONVOLUTIONS, NONE, gate_name
from seg_space.auto_deeplab.joint_cell import JointCell
from seg_space.auto_deeplab.joint_stage import Member
from seg_space.auto_deeplab.mixed_cell import MixedCell
from seg_space.auto_deeplab.supernet import AutoDeepLabSupernet

TASK = Task("pixel", "classes", in_channels=3, out_channels=3)
_TOLERANCE = 1e-10


@pytest.fixture(autouse=True)
def _float64() -> Any:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Pass(NamedTuple):
    output: Tensor
    of_gates: Tensor
    of_images: Tensor
    of_weights: dict[str, Tensor]
    buffers: dict[str, Tensor]


def of(tensor: Tensor) -> Tensor:
    """The tensor's gradient."""
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


def run(supernet: AutoDeepLabSupernet, matrix: Tensor, size: tuple[int, int], batch: int = 2) -> Pass:
    torch.manual_seed(1)
    images = torch.randn(batch, TASK.in_channels, *size, requires_grad=True)
    matrix = matrix.clone().requires_grad_()
    supernet.zero_grad()
    output = supernet(images, gates=Gates(supernet.choices, matrix))
    (output - torch.randn_like(output)).square().mean().backward()
    weights = {name: of(weight) for name, weight in supernet.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in supernet.named_buffers()}
    return Pass(output.detach(), of(matrix), of(images), weights, buffers)


def gates_of(supernet: AutoDeepLabSupernet, closed: float, seed: int) -> Tensor:
    """Random gates, of which a share is zero; no node's edges are all closed."""
    generator = torch.Generator().manual_seed(seed)
    mask = option_mask(supernet.choices)
    matrix = torch.rand(mask.shape, generator=generator)
    kept = torch.rand(mask.shape, generator=generator) >= closed
    for row, choice in enumerate(supernet.choices):
        if choice.name.startswith("layer"):
            kept[row, seed % len(choice.options)] = True
    return torch.where(mask & kept, matrix, 0.0)


def close(ours: Tensor, theirs: Tensor, scale: Tensor) -> bool:
    return float((ours - theirs).abs().max()) <= _TOLERANCE * float(scale)


def assert_equal(ours: Pass, theirs: Pass) -> None:
    assert close(ours.output, theirs.output, theirs.output.abs().max())
    assert close(ours.of_gates, theirs.of_gates, theirs.of_gates.abs().max() + 1e-3)
    assert close(ours.of_images, theirs.of_images, theirs.of_images.abs().max() + 1e-3)
    largest = torch.stack([each.abs().max() for each in theirs.of_weights.values()]).max()
    for name, gradient in theirs.of_weights.items():
        assert close(ours.of_weights[name], gradient, largest), name
    for name, buffer in theirs.buffers.items():
        assert close(ours.buffers[name], buffer, buffer.abs().max() + 1), name


def always_jointly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have few operations run jointly too, as many are."""
    monkeypatch.setattr(JointCell, "_runs_no_more_than_a_network", lambda *_: False)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("closed", "seed"), [(0.0, 0), (0.3, 1), (0.7, 2), (0.95, 3)])
@pytest.mark.parametrize(
    "space",
    [
        AutoDeepLabSpace(layers=3, blocks=3, filters=2, stem=(4, 4)),
        AutoDeepLabSpace(layers=2, blocks=2, filters=3, stem=(3,), stem_stride=1, merge_inputs=True),
    ],
    ids=["paper", "merged"],
)
def test_values_gradients_and_statistics_are_equal(
    space: AutoDeepLabSpace, closed: float, seed: int, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    always_jointly(monkeypatch)
    torch.manual_seed(0)
    joint = space.supernet(TASK)
    gates = gates_of(joint, closed, seed)
    run(joint.train(), gates, (24, 40))  # running statistics that are not those of the beginning
    plain = joint.train(training).plain()
    assert type(plain.nodes[f"layer1_stride{space.stem_stride}"].cell) is MixedCell
    ours, theirs = (run(each, gates, (24, 40)) for each in (joint, plain))
    assert_equal(ours, theirs)


def test_a_single_pixel_is_normalised_by_running_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    always_jointly(monkeypatch)
    joint = AutoDeepLabSpace(layers=3, blocks=2, filters=2, stem=(4, 4)).supernet(TASK)
    gates = gates_of(joint, closed=0.0, seed=0)
    run(joint, gates, (64, 64))
    plain, before = joint.plain(), {name: buffer.clone() for name, buffer in joint.named_buffers()}
    ours, theirs = (run(each, gates, (32, 32), batch=1) for each in (joint, plain))
    assert_equal(ours, theirs)
    assert bool(ours.output.isfinite().all())
    moved = {name for name, buffer in ours.buffers.items() if not torch.equal(buffer, before[name])}
    assert any(name.startswith("nodes.layer2_stride16.") for name in moved)
    assert not any(name.startswith("nodes.layer3_stride32.") for name in moved)


def test_weights_are_initialised_alike() -> None:
    space = AutoDeepLabSpace(layers=2, blocks=2, filters=1, stem=(2, 2))
    states = []
    for joint in (True, False):
        torch.manual_seed(0)
        states.append(AutoDeepLabSupernet(TASK, space.sizes, joint=joint).state_dict())
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


@pytest.mark.parametrize("fixed", ["weights", "gates"])
def test_what_is_fixed_costs_no_gradient(fixed: str) -> None:
    space = AutoDeepLabSpace(layers=2, blocks=2, filters=1, stem=(2, 2))
    torch.manual_seed(0)
    supernet = space.supernet(TASK)
    gates = gates_of(supernet, 0.0, 0).requires_grad_(fixed == "weights")
    supernet.requires_grad_(fixed == "gates")
    supernet(torch.randn(2, 3, 16, 16), gates=Gates(supernet.choices, gates)).square().mean().backward()
    assert (gates.grad is None) == (fixed == "gates")
    weights = [weight.grad is None for weight in supernet.parameters()]
    assert all(weights) if fixed == "weights" else not all(weights)


class Counted:
    """Counts the maps that convolutions are run on, in the joint form."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.maps = 0
        self.run_stage = joint_cell.run_stage
        monkeypatch.setattr(joint_cell, "run_stage", self)

    def __call__(self, x: Tensor, members: list[Member], places: list[int], scale: Any) -> Tensor:
        self.maps += sum(len(member.edges) for member in members) * len(places)
        return self.run_stage(x, members, places, scale)


def test_an_operation_whose_gate_is_closed_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    always_jointly(monkeypatch)
    space = AutoDeepLabSpace(layers=4, blocks=3, filters=1, stem=(2, 2))
    supernet = space.supernet(TASK)
    generator = np.random.default_rng(0)
    counted = Counted(monkeypatch)
    for _ in range(4):
        counted.maps = 0
        architecture = space.sample(generator)
        supernet(torch.randn(2, 3, 32, 32), gates=space.gates(architecture, torch.float64))
        steps = [step.operation for step in space.steps(architecture)]
        assert counted.maps == space.layers * sum(CONVOLUTIONS[each].stages for each in steps if each in CONVOLUTIONS)


def one_path(space: AutoDeepLabSpace) -> Tensor:
    """The gates of an architecture whose first block has two separable convolutions."""
    values = dict(space.sample(np.random.default_rng(0)))
    values["cell.block0.input0.operation"] = values["cell.block0.input1.operation"] = "separable_3x3"
    return space.gates(space.architecture(values), torch.float64).matrix


def test_one_path_is_run_operation_by_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    space = AutoDeepLabSpace(layers=3, blocks=2, filters=1, stem=(2, 2))
    supernet = space.supernet(TASK)
    matrix = one_path(space)
    run(supernet, matrix, (16, 16))
    assert counted.maps == 0
    names = [choice.name for choice in space.gate_choices]
    for closed in (gate_name(0, 0), gate_name(0, 1)):
        opened = matrix.clone()
        row = opened[names.index(closed)]
        row[: len(space.gate_choices[0].options)] = 1.0
        run(supernet, opened, (16, 16))
        assert counted.maps > 0, "one more operation is open"
        counted.maps = 0
        row.zero_()
        row[space.gate_choices[0].index(NONE)] = 1.0
        run(supernet, opened, (16, 16))
        assert counted.maps == 0, "`none` is no operation"


@pytest.mark.parametrize("training", [True, False])
def test_one_path_is_what_it_is_jointly(monkeypatch: pytest.MonkeyPatch, training: bool) -> None:
    space = AutoDeepLabSpace(layers=3, blocks=2, filters=2, stem=(2, 2))
    matrix = one_path(space)
    passes = []
    for jointly in (False, True):
        torch.manual_seed(0)
        supernet = space.supernet(TASK).train(training)
        if jointly:
            always_jointly(monkeypatch)
        passes.append(run(supernet, matrix, (16, 24)))
    assert_equal(*passes)
