"""A supernet that recomputes its nodes in the backward pass learns the same, with less memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from automl_plugins import Task
from automl_plugins.supernets.gates import Gates, option_mask
from seg_space import AutoDeepLabSpace
from seg_space.auto_deeplab.supernet import AutoDeepLabSupernet

TASK = Task("pixel", "classes", in_channels=3, out_channels=3)
ARGUMENTS: dict[str, Any] = {"layers": 3, "blocks": 2, "filters": 2, "stem": (4, 4), "decoder_channels": 4}


def supernets(joint: bool, training: bool) -> list[AutoDeepLabSupernet]:
    """One that keeps what it computes and one that does not, with the same weights and statistics."""
    made = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        space = AutoDeepLabSpace(**ARGUMENTS, checkpointing=checkpointing)
        supernet = AutoDeepLabSupernet(TASK, space.sizes, joint).double()
        supernet(torch.randn(2, 3, 16, 24).double(), gates=Gates(supernet.choices, gates_of(supernet)))
        made.append(supernet.train(training))
    return made


def gates_of(supernet: AutoDeepLabSupernet) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    mask = option_mask(supernet.choices)
    return torch.where(mask, torch.rand(mask.shape, generator=generator, dtype=torch.float64), 0.0)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("joint", [True, False])
def test_values_gradients_and_statistics_are_equal(joint: bool, training: bool) -> None:
    passes = []
    for supernet in supernets(joint, training):
        matrix = gates_of(supernet).requires_grad_()
        images = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        images.requires_grad_()
        output = supernet(images, gates=Gates(supernet.choices, matrix))
        after_forward = {name: each.clone() for name, each in supernet.named_buffers()}
        inputs = [images, matrix, *supernet.parameters()]
        gradients = torch.autograd.grad(output.square().mean(), inputs, allow_unused=True)
        for name, buffer in supernet.named_buffers():
            assert torch.equal(buffer, after_forward[name]), f"{name} moved in the backward pass"
        passes.append([output, *supernet.buffers(), *gradients])
    for kept, recomputed in zip(*passes, strict=True):
        torch.testing.assert_close(recomputed, kept, rtol=0, atol=1e-10)


def test_one_step_moves_statistics_once() -> None:
    (_, supernet) = supernets(joint=True, training=True)
    counted = supernet.nodes["layer1_stride8"].resize["4"].norm.num_batches_tracked
    assert int(counted) == 1
    matrix = gates_of(supernet)
    supernet(torch.randn(2, 3, 16, 24).double(), gates=Gates(supernet.choices, matrix)).square().mean().backward()
    assert int(counted) == 2
    assert supernet.nodes["layer1_stride8"].resize["4"].norm.num_batches_tracked is counted


def kept_numbers(supernet: AutoDeepLabSupernet) -> int:
    """How many numbers autograd keeps after a forward pass, beside weights."""
    storages: dict[int, int] = {}
    weights = {each.untyped_storage().data_ptr() for each in supernet.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().size()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        output = supernet(torch.randn(2, 3, 16, 24).double(), gates=Gates(supernet.choices, gates_of(supernet)))
    assert output.requires_grad
    return sum(size for storage, size in storages.items() if storage not in weights)


def test_less_is_kept() -> None:
    kept, recomputed = (kept_numbers(each) for each in supernets(joint=True, training=True))
    assert recomputed < 0.2 * kept


def test_an_architecture_step_recomputes_too() -> None:
    gradients = []
    for supernet in supernets(joint=True, training=True):
        supernet.requires_grad_(False)
        matrix = gates_of(supernet).requires_grad_()
        images = torch.ones(2, 3, 16, 24, dtype=torch.float64)
        output = supernet(images, gates=Gates(supernet.choices, matrix))
        gradients += torch.autograd.grad(output.square().mean(), [matrix])
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)
