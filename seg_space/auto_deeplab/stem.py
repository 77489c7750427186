"""The stem of Auto-DeepLab's networks and supernets: from the image to the first resolution."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import mul

from torch import Tensor, nn

from seg_space.auto_deeplab.operations import BatchNorm


def rectified(
    in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """A convolution that keeps the size (but for its stride), normalised and rectified."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, bias=False),
        BatchNorm(out_channels),
        nn.ReLU(),
    )


def stem_strides(layers: int, stride: int) -> list[int]:
    """The strides of a stem's convolutions: the first has stride 2, and so has the last of a stem of stride 4.

    The paper's three convolutions (section 4.2) have the strides 2, 1 and 2.
    """
    strides = [1] * layers
    if stride >= 2:
        strides[0] = 2
    if stride == 4:
        strides[-1] = 2
    return strides


def map_strides(layers: int, stride: int) -> tuple[int, ...]:
    """The strides of the feature maps that a stem's convolutions give."""
    return tuple(accumulate(stem_strides(layers, stride), mul))


class Stem(nn.Sequential):
    """Convolutions of 3x3 from the image `[batch, in_channels, height, width]` to the first resolution."""

    def __init__(self, in_channels: int, channels: Sequence[int], stride: int) -> None:
        inputs = (in_channels, *channels)
        strides = stem_strides(len(channels), stride)
        super().__init__(
            *(rectified(before, after, 3, step) for before, after, step in zip(inputs, channels, strides, strict=False))
        )
        self.strides = map_strides(len(channels), stride)

    def maps(self, images: Tensor) -> dict[int, Tensor]:
        """The feature map of the last convolution of each stride, `[batch, channels, height, width]`."""
        maps: dict[int, Tensor] = {}
        x = images
        for stride, convolution in zip(self.strides, self, strict=True):
            x = maps[stride] = convolution(x)
        return maps
