"""The joint supernet against the plain one, which runs operation by operation."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from automl_plugins import Task
from automl_plugins.gates import Gates, option_mask
from seg_space import AutoDeepLabSpace, joint_cell
from seg_space.cell import CONVOLUTIONS
from seg_space.joint_stage import Member
from seg_space.mixed_cell import MixedCell
from seg_space.supernet import AutoDeepLabSupernet

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


def run(supernet: AutoDeepLabSupernet, matrix: Tensor, size: tuple[int, int]) -> Pass:
    torch.manual_seed(1)
    images = torch.randn(2, TASK.in_channels, *size, requires_grad=True)
    matrix = matrix.clone().requires_grad_()
    supernet.zero_grad()
    output = supernet(images, gates=Gates(supernet.choices, matrix))
    (output - torch.randn_like(output)).square().mean().backward()
    weights = {name: of(weight) for name, weight in supernet.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in supernet.named_buffers()}
    return Pass(output.detach(), of(matrix), of(images), weights, buffers)


def gates_of(supernet: AutoDeepLabSupernet, closed: float, seed: int) -> Tensor:
    """Random gates, of which a share is zero; no node's arrows are all closed."""
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
    space: AutoDeepLabSpace, closed: float, seed: int, training: bool
) -> None:
    torch.manual_seed(0)
    joint = space.supernet(TASK)
    gates = gates_of(joint, closed, seed)
    run(joint.train(), gates, (24, 40))  # running statistics that are not those of the beginning
    plain = joint.train(training).plain()
    assert type(plain.nodes[f"layer1_stride{space.stem_stride}"].cell) is MixedCell
    ours, theirs = (run(each, gates, (24, 40)) for each in (joint, plain))
    assert close(ours.output, theirs.output, theirs.output.abs().max())
    assert close(ours.of_gates, theirs.of_gates, theirs.of_gates.abs().max() + 1e-3)
    assert close(ours.of_images, theirs.of_images, theirs.of_images.abs().max() + 1e-3)
    largest = torch.stack([each.abs().max() for each in theirs.of_weights.values()]).max()
    for name, gradient in theirs.of_weights.items():
        assert close(ours.of_weights[name], gradient, largest), name
    for name, buffer in theirs.buffers.items():
        assert close(ours.buffers[name], buffer, buffer.abs().max() + 1), name


def test_weights_are_initialised_alike() -> None:
    space = AutoDeepLabSpace(layers=2, blocks=2, filters=1, stem=(2, 2))
    states = []
    for joint in (True, False):
        torch.manual_seed(0)
        states.append(AutoDeepLabSupernet(TASK, space, joint=joint).state_dict())
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


def test_an_operation_whose_gate_is_closed_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    space = AutoDeepLabSpace(layers=4, blocks=3, filters=1, stem=(2, 2))
    run_maps: list[int] = []
    run_stage = joint_cell.run_stage

    def counted(x: Tensor, members: list[Member], places: list[int], scale: Any) -> Tensor:
        run_maps.append(sum(len(member.edges) for member in members) * len(places))
        return run_stage(x, members, places, scale)

    monkeypatch.setattr(joint_cell, "run_stage", counted)
    supernet = space.supernet(TASK)
    generator = np.random.default_rng(0)
    for _ in range(4):
        run_maps.clear()
        architecture = space.sample(generator)
        supernet(torch.randn(2, 3, 32, 32), gates=space.gates(architecture, torch.float64))
        steps = [step.operation for step in space.steps(architecture)]
        assert sum(run_maps) == space.layers * sum(CONVOLUTIONS[each].stages for each in steps if each in CONVOLUTIONS)
