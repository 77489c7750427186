"""The heads of decoders: from feature maps to the outputs of pixels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from seg_space.auto_deeplab.operations import sum_of
from seg_space.smp.decoder.stage import upsampled

_GROUPS = 32
DROPOUT = 0.2
"""The rate at which channels of a pyramid are dropped, as in smp's FPN."""


class LastHead(nn.Module):
    """A convolution of the finest feature map, as in U-Net and DeepLabV3+.

    Args:
        channels: of that map.
        out_channels: of the outputs.
        kernel: width of the convolution.
    """

    def __init__(self, channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.output = nn.Conv2d(channels, out_channels, kernel, padding=kernel // 2)

    def forward(self, states: Sequence[tuple[int, Tensor]]) -> Tensor:
        """Outputs at the finest stride, `[batch, out_channels, height, width]`.

        Args:
            states: strides and feature maps, the coarsest first.
        """
        outputs: Tensor = self.output(states[-1][1])
        return outputs


def ascending_layer(in_channels: int, filters: int) -> nn.Sequential:
    """A convolution of 3x3, normalised in groups of channels and rectified."""
    convolution = nn.Conv2d(in_channels, filters, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(_GROUPS, filters), nn.ReLU())


class Ascent(nn.Module):
    """Convolutions between which a feature map is doubled until it has the finest stride (Kirillov et al. 2019).

    Args:
        in_channels: of the map.
        filters: of the output.
        doublings: how often it is doubled; a map at the finest stride has one convolution, too.
    """

    def __init__(self, in_channels: int, filters: int, doublings: int) -> None:
        super().__init__()
        inputs = (in_channels, *[filters] * (doublings - 1))
        self.doublings = doublings
        self.layers = nn.ModuleList(ascending_layer(each, filters) for each in inputs)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
            if self.doublings:
                x = upsampled(x, 2, "bilinear")
        return x


class PyramidHead(nn.Module):
    """The head of FPN: all feature maps, each brought to the finest stride by an `Ascent`, and summed.

    Args:
        strides: of the feature maps, the coarsest first.
        channels: of the feature maps.
        filters: of what is summed, a multiple of 32.
        out_channels: of the outputs.
    """

    def __init__(self, strides: Sequence[int], channels: Sequence[int], filters: int, out_channels: int) -> None:
        super().__init__()
        self.ascents = nn.ModuleList(
            Ascent(each, filters, doublings(stride, strides[-1]))
            for stride, each in zip(strides, channels, strict=True)
        )
        self.dropout = nn.Dropout2d(DROPOUT)
        self.output = nn.Conv2d(filters, out_channels, 1)

    def forward(self, states: Sequence[tuple[int, Tensor]]) -> Tensor:
        """Outputs at the finest stride, `[batch, out_channels, height, width]`.

        Args:
            states: strides and feature maps, the coarsest first.
        """
        total = sum_of(ascent(x) for ascent, (_, x) in zip(self.ascents, states, strict=True))
        outputs: Tensor = self.output(self.dropout(total))
        return outputs


def doublings(from_stride: int, to_stride: int) -> int:
    """The number of times that a feature map is doubled from one stride to a finer one."""
    return (from_stride // to_stride).bit_length() - 1
