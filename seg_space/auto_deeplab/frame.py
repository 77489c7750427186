"""What surrounds the cells of a network and of a supernet alike: stem and heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins.spaces.task import Task
from seg_space.auto_deeplab.operations import BatchNorm, interpolate

if TYPE_CHECKING:
    from seg_space.auto_deeplab.space import AutoDeepLabSpace

_LOW_LEVEL_CHANNELS = 48
# The atrous rate at the stem's stride, in pixels of its map: 96 pixels of the image where that stride is 4.
_RATE = 24


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


class Stem(nn.Sequential):
    """Convolutions of 3x3 from the image `[batch, in_channels, height, width]` to the first resolution."""

    def __init__(self, in_channels: int, channels: Sequence[int], stride: int) -> None:
        inputs = (in_channels, *channels)
        super().__init__(
            *(
                rectified(before, after, 3, each)
                for before, after, each in zip(inputs, channels, stem_strides(len(channels), stride), strict=False)
            )
        )


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling (Chen et al. 2017): 1x1, atrous 3x3 and image pooling, merged by 1x1.

    The map is rectified first, since it is a cell's output, a sum of normalised maps; that is ours.

    Args:
        in_channels: of the map `[batch, in_channels, height, width]`.
        out_channels: of each branch and of the result.
        rates: of the atrous branches.
    """

    def __init__(self, in_channels: int, out_channels: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                rectified(in_channels, out_channels),
                *(rectified(in_channels, out_channels, 3, dilation=rate) for rate in rates),
            ]
        )
        self.pooled = rectified(in_channels, out_channels)
        self.merge = rectified((len(rates) + 2) * out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(x)
        pooled = self.pooled(x.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, x.size(2), x.size(3))
        return self.merge(torch.cat([*(branch(x) for branch in self.branches), pooled], dim=1))


class ASPPHead(nn.Module):
    """The search's head: ASPP on each resolution of the last layer, upsampled and summed (section 3.2).

    Three branches with as many channels as the node: 1x1, 3x3 with an atrous rate of 96 / stride, image pooling.

    Args:
        strides: that the last layer may have.
        task: what comes out.
        space: its channels.
    """

    def __init__(self, strides: Sequence[int], task: Task, space: AutoDeepLabSpace) -> None:
        super().__init__()
        channels = {stride: space.node_channels(stride) for stride in strides}
        self.pyramids = nn.ModuleDict(
            {str(stride): ASPP(channels[stride], channels[stride], (_rate(space, stride),)) for stride in strides}
        )
        self.classifiers = nn.ModuleDict(
            {str(stride): nn.Conv2d(channels[stride], task.out_channels, 1) for stride in strides}
        )

    def forward(self, maps: Mapping[int, Tensor], low_level: Tensor, size: tuple[int, int]) -> Tensor:
        """The outputs of pixels, `[batch, out_channels, height, width]`.

        Args:
            maps: of the last layer, by their strides.
            low_level: the stem's map, which this head does not read.
            size: height and width of the image.
        """
        outputs = (
            interpolate(self.classifiers[str(stride)](self.pyramids[str(stride)](x)), size)
            for stride, x in maps.items()
        )
        return torch.stack(list(outputs)).sum(dim=0) if len(maps) > 1 else next(outputs)


class DeepLabHead(nn.Module):
    """The decoder of DeepLabV3+ (Chen et al. 2018) on the ASPP of five branches, as the paper's final networks have it.

    ASPP has the rates 6, 12 and 18 at stride 16 and others in proportion. Where the last layer has
    several resolutions, as in a supernet and on several paths, their ASPP is upsampled and summed before the decoder.

    Args:
        strides: that the last layer may have.
        task: what comes out.
        space: its channels; the decoder has `decoder_channels`.
    """

    def __init__(self, strides: Sequence[int], task: Task, space: AutoDeepLabSpace) -> None:
        super().__init__()
        channels = space.decoder_channels
        self.pyramids = nn.ModuleDict(
            {
                str(stride): ASPP(
                    space.node_channels(stride), channels, [times * _rate(space, stride) for times in (1, 2, 3)]
                )
                for stride in strides
            }
        )
        self.low_level = rectified(space.stem[-1], _LOW_LEVEL_CHANNELS)
        inputs = channels + _LOW_LEVEL_CHANNELS
        self.decoder = nn.Sequential(
            nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
            rectified(inputs, channels),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            rectified(channels, channels),
            nn.Conv2d(channels, task.out_channels, 1),
        )

    def forward(self, maps: Mapping[int, Tensor], low_level: Tensor, size: tuple[int, int]) -> Tensor:
        """The outputs of pixels, `[batch, out_channels, height, width]`.

        Args:
            maps: of the last layer, by their strides.
            low_level: the stem's map.
            size: height and width of the image.
        """
        fine = (low_level.size(2), low_level.size(3))
        found = (interpolate(self.pyramids[str(stride)](x), fine) for stride, x in maps.items())
        total = torch.stack(list(found)).sum(dim=0) if len(maps) > 1 else next(found)
        outputs = self.decoder(torch.cat([total, self.low_level(low_level)], dim=1))
        return interpolate(outputs, size)


HEADS = {"aspp": ASPPHead, "deeplab": DeepLabHead}


def make_head(strides: Sequence[int], task: Task, space: AutoDeepLabSpace) -> ASPPHead | DeepLabHead:
    """The head of a space for the resolutions that the last layer may have."""
    return cast("ASPPHead | DeepLabHead", HEADS[space.head](strides, task, space))


def _rate(space: AutoDeepLabSpace, stride: int) -> int:
    return _RATE * space.stem_stride // stride
