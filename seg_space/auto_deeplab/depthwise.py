"""Depthwise convolution with gradients that are quick on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_input, conv2d_weight


def depthwise(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
    """Convolve each channel with a kernel of its own, and keep the size.

    On a CPU, oneDNN's weight gradients of kernels of 5x5 and of dilated ones take ten times as long as
    need be. There, both gradients are computed as forward convolutions. If gradients are taken of them again, they
    are torch's own.

    Args:
        x: `[batch, channels, height, width]`; fastest in `channels_last`.
        weight: `[channels, 1, kernel, kernel]`, the kernel's width odd.
        dilation: the atrous rate.
    """
    by_hand = x.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling()
    if by_hand and (x.requires_grad or weight.requires_grad):
        result: Tensor = _Depthwise.apply(x, weight, dilation)
        return result
    padding = dilation * (weight.size(-1) // 2)
    return functional.conv2d(x, weight, padding=padding, dilation=dilation, groups=x.size(1))


def convolve(x: Tensor, weight: Tensor, dilation: int = 1, stride: int = 1, reach: int | None = None) -> Tensor:
    """A depthwise convolution without a gradient.

    Args:
        x: `[batch, channels, height, width]`.
        weight: `[channels, 1, height, width]`.
        dilation: the atrous rate.
        stride: of the result.
        reach: how many zeros are beyond each border; None: as many as keep the size.
    """
    padding = dilation * (weight.size(-1) // 2) if reach is None else reach
    if x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32 and torch.backends.mkldnn.is_available():
        # With one thread, torch would give small feature maps to a loop over channels.
        return torch.ops.aten.mkldnn_convolution(
            x, weight, None, [padding] * 2, [stride] * 2, [dilation] * 2, x.size(1)
        )
    return functional.conv2d(x, weight, None, stride, padding, dilation, x.size(1))


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, dilation: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.dilation = dilation
        return convolve(x, weight, dilation)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        for_x, for_weight = ctx.needs_input_grad[:2]
        of_x = of_weight = None
        if torch.is_grad_enabled():  # gradients of these will be taken
            settings = {"padding": ctx.dilation * (weight.size(-1) // 2), "dilation": ctx.dilation, "groups": x.size(1)}
            if for_x:
                of_x = conv2d_input(x.shape, weight, gradient, **settings)
            if for_weight:
                of_weight = conv2d_weight(x, weight.shape, gradient, **settings)
            return of_x, of_weight, None
        if for_x:
            of_x = convolve(gradient, weight.flip(2, 3), ctx.dilation)
        if for_weight:
            of_weight = weight_gradient(x, gradient, weight.size(-1), ctx.dilation)
        return of_x, of_weight, None


def weight_gradient(x: Tensor, gradient: Tensor, kernel: int, dilation: int) -> Tensor:
    """The gradient of a depthwise convolution's weight, `[channels, 1, kernel, kernel]`.

    It is a convolution of the input with the output's gradient, where a step of the kernel is a step of
    `dilation` pixels, and samples are channels of one image.

    Args:
        x: the input, `[batch, channels, height, width]`.
        gradient: of the output, of the same shape.
        kernel: its width.
        dilation: its atrous rate.
    """
    batch, channels, height, width = x.shape
    image = x.contiguous().view(1, batch * channels, height, width)
    kernels = gradient.contiguous().view(batch * channels, 1, height, width)
    result = convolve(image, kernels, stride=dilation, reach=dilation * (kernel // 2))
    return result.view(batch, channels, 1, kernel, kernel).sum(dim=0)
