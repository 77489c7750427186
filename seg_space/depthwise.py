"""Depthwise convolution with gradients that are quick on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


def depthwise(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
    """Convolve each channel with a kernel of its own, and keep the size.

    On a CPU, oneDNN's weight gradients of kernels of 5x5 and of dilated ones take ten times as long as
    need be. There, both gradients are computed as forward convolutions; gradients of gradients
    are not available.

    Args:
        x: `[batch, channels, height, width]`; fastest in `channels_last`.
        weight: `[channels, 1, kernel, kernel]`, the kernel's width odd.
        dilation: the atrous rate.
    """
    if x.device.type == "cpu" and torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        result: Tensor = _Depthwise.apply(x, weight, dilation)
        return result
    return _convolve(x, weight, dilation)


def _convolve(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
    padding = dilation * (weight.size(-1) // 2)
    return functional.conv2d(x, weight, padding=padding, dilation=dilation, groups=x.size(1))


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, dilation: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.dilation = dilation
        return _convolve(x, weight, dilation)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = _convolve(gradient, weight.flip(2, 3), ctx.dilation)
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(x, gradient, weight.size(-1), ctx.dilation)
        return of_x, of_weight, None


def _weight_gradient(x: Tensor, gradient: Tensor, kernel: int, dilation: int) -> Tensor:
    """Convolve the input with the output's gradient: what is a step of the kernel is a step of `dilation` pixels."""
    batch, channels, height, width = x.shape
    padding = dilation * (kernel // 2)
    if kernel == 3 and dilation == 1:
        # Here oneDNN's own is quick.
        return torch.ops.aten.convolution_backward(
            gradient, x, x.new_empty(channels, 1, 3, 3), None, [1, 1], [1, 1], [1, 1], False, [0, 0], channels,
            [False, True, False],
        )[1]  # fmt: skip
    # Samples become channels of one image.
    image = x.contiguous().view(1, batch * channels, height, width)
    kernels = gradient.contiguous().view(batch * channels, 1, height, width)
    result = functional.conv2d(image, kernels, stride=dilation, padding=padding, groups=batch * channels)
    return result.view(batch, channels, 1, kernel, kernel).sum(dim=0)
