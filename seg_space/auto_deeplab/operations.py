"""The operations of a cell, and those that bring its inputs to its resolution."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from seg_space.auto_deeplab.cell import CONVOLUTIONS, POOLS, Convolution


def interpolate(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize bilinearly to `size`, height and width."""
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=False)


def pool(x: Tensor, operation: str) -> Tensor:
    """Average or maximum of 3x3 pixels; what is beyond the border does not count."""
    if operation == "max_pool":
        return functional.max_pool2d(x, 3, stride=1, padding=1)
    return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def sum_of(tensors: Iterable[Tensor]) -> Tensor:
    """The sum of tensors of one shape, at least one of them."""
    total, *others = tensors
    for tensor in others:
        total = total + tensor
    return total


class BatchNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d` that also trains on a single value per channel, as one pooled image is.

    Such a value has no variance: it is normalised by the running statistics, which it does not move.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.size(1):
            return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


class Stage(nn.Module):
    """Rectify, convolve depthwise and with 1x1, normalise; `[batch, channels, height, width]` in and out."""

    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.depthwise = nn.Conv2d(
            channels, channels, kernel, padding=padding, dilation=dilation, groups=channels, bias=False
        )
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = BatchNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.pointwise(self.depthwise(functional.relu(x))))


class SeparableConvolution(nn.Module):
    """A separable or atrous convolution, `[batch, channels, height, width]` in and out."""

    def __init__(self, channels: int, convolution: Convolution) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            Stage(channels, convolution.kernel, convolution.dilation) for _ in range(convolution.stages)
        )

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            x = stage(x)
        return x


class Pooling(nn.Module):
    """Pool 3x3 and normalise, `[batch, channels, height, width]` in and out."""

    def __init__(self, channels: int, operation: str) -> None:
        super().__init__()
        self.operation = operation
        self.norm = BatchNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(pool(x, self.operation))


def make_operation(operation: str, channels: int) -> nn.Module:
    """The module of one of `cell.OPERATIONS`."""
    if operation in CONVOLUTIONS:
        return SeparableConvolution(channels, CONVOLUTIONS[operation])
    return Pooling(channels, operation) if operation in POOLS else nn.Identity()


class Resize(nn.Module):
    """Rectify, bring to another stride and other channels, normalise.

    To twice the stride by a 3x3 convolution of stride 2, unless `bilinear`; else by a 1x1 convolution and
    bilinear interpolation (Liu et al. 2019, section 3.1). The 1x1 convolution commutes with the
    interpolation, so it is done where the feature map is smaller.

    Args:
        in_channels: of the feature map.
        out_channels: of the result.
        from_stride: of the feature map.
        to_stride: of the result.
        affine: whether the normalisation has weights.
        bilinear: interpolate to larger strides, too.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        from_stride: int,
        to_stride: int,
        affine: bool,
        bilinear: bool = False,
    ) -> None:
        super().__init__()
        self.shrinks = to_stride > from_stride
        self.interpolates = to_stride < from_stride or (self.shrinks and bilinear)
        if self.shrinks and not bilinear:
            self.convolution = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False)
        else:
            self.convolution = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.norm = BatchNorm(out_channels, affine=affine)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """The feature map at the size of its new stride.

        Args:
            x: `[batch, in_channels, height, width]`.
            size: height and width at the new stride.
        """
        x = functional.relu(x)
        if self.interpolates and self.shrinks:
            x = interpolate(x, size)
        x = self.convolution(x)
        if self.interpolates and not self.shrinks:
            x = interpolate(x, size)
        return cast(Tensor, self.norm(x))
