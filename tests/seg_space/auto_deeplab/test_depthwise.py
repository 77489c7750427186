"""Depthwise convolution: its gradients against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from seg_space.auto_deeplab.depthwise import depthwise


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(7, 9), (1, 1), (2, 3)])
@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (5, 1), (3, 2), (5, 2)])
def test_values_and_gradients_are_those_of_torch(
    kernel: int, dilation: int, size: tuple[int, int], memory_format: torch.memory_format
) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 4, *size, dtype=torch.float64).to(memory_format=memory_format).requires_grad_()
    weight = torch.randn(4, 1, kernel, kernel, dtype=torch.float64, requires_grad=True)
    expected = functional.conv2d(x, weight, padding=dilation * (kernel // 2), dilation=dilation, groups=4)
    gradient = torch.randn_like(expected)
    found = depthwise(x, weight, dilation)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(
        torch.autograd.grad(found, (x, weight), gradient),
        torch.autograd.grad(expected, (x, weight), gradient),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("fixed", ["x", "weight"])
def test_what_is_fixed_gets_no_gradient(fixed: str) -> None:
    tensors = {"x": torch.randn(2, 3, 4, 4), "weight": torch.randn(3, 1, 3, 3)}
    for name, tensor in tensors.items():
        tensor.requires_grad_(name != fixed)
    depthwise(tensors["x"], tensors["weight"], dilation=2).sum().backward()
    assert [name for name, tensor in tensors.items() if tensor.grad is None] == [fixed]
