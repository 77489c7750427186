"""The heads of networks and of supernets alike: from feature maps to pixels, or to whole images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins.spaces.task import Task
from seg_space.auto_deeplab.maps import Maps, size_of
from seg_space.auto_deeplab.operations import interpolate, sum_of
from seg_space.auto_deeplab.pyramid_heads import FPNHead, UNetHead
from seg_space.auto_deeplab.sizes import Head, Sizes
from seg_space.auto_deeplab.stem import rectified

_LOW_LEVEL_CHANNELS = 48
# The atrous rate at the stem's stride, in pixels of its feature map: 96 pixels of the image where that stride is 4.
_RATE = 24


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling (Chen et al. 2017): 1x1, atrous 3x3 and image pooling, merged by 1x1.

    The feature map is rectified first, since it is a cell's output, a sum of normalised ones; that is ours.

    Args:
        in_channels: of the feature map `[batch, in_channels, height, width]`.
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
        task: the channels of the outputs.
        sizes: the channels of the feature maps.
    """

    def __init__(self, strides: Sequence[int], task: Task, sizes: Sizes) -> None:
        super().__init__()
        channels = {stride: sizes.node_channels(stride) for stride in strides}
        self.pyramids = nn.ModuleDict(
            {str(stride): ASPP(channels[stride], channels[stride], (_rate(sizes, stride),)) for stride in strides}
        )
        self.classifiers = nn.ModuleDict(
            {str(stride): nn.Conv2d(channels[stride], task.out_channels, 1) for stride in strides}
        )

    def forward(self, maps: Maps) -> Tensor:
        """The outputs of pixels, `[batch, out_channels, height, width]`."""
        return sum_of(
            interpolate(self.classifiers[str(stride)](self.pyramids[str(stride)](x)), maps.size)
            for stride, x in maps.last.items()
        )


class DeepLabHead(nn.Module):
    """The decoder of DeepLabV3+ (Chen et al. 2018) on the ASPP of five branches, as the paper's final networks have it.

    ASPP has the rates 6, 12 and 18 at stride 16 and others in proportion. If the last layer has
    several resolutions, as in a supernet and on several paths, their ASPP is upsampled and summed before the decoder.

    Args:
        strides: that the last layer may have.
        task: the channels of the outputs.
        sizes: the channels of the feature maps; the decoder has `decoder_channels`.
    """

    def __init__(self, strides: Sequence[int], task: Task, sizes: Sizes) -> None:
        super().__init__()
        channels = sizes.decoder_channels
        self.pyramids = nn.ModuleDict(
            {
                str(stride): ASPP(
                    sizes.node_channels(stride), channels, [times * _rate(sizes, stride) for times in (1, 2, 3)]
                )
                for stride in strides
            }
        )
        self.stem_stride = sizes.stem_stride
        self.low_level = rectified(sizes.stem[-1], _LOW_LEVEL_CHANNELS)
        inputs = channels + _LOW_LEVEL_CHANNELS
        self.decoder = nn.Sequential(
            nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
            rectified(inputs, channels),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            rectified(channels, channels),
            nn.Conv2d(channels, task.out_channels, 1),
        )

    def forward(self, maps: Maps) -> Tensor:
        """The outputs of pixels, `[batch, out_channels, height, width]`."""
        low_level = maps.stem[self.stem_stride]
        fine = size_of(low_level)
        total = sum_of(interpolate(self.pyramids[str(stride)](x), fine) for stride, x in maps.last.items())
        outputs = self.decoder(torch.cat([total, self.low_level(low_level)], dim=1))
        return interpolate(outputs, maps.size)


class PooledHead(nn.Module):
    """The head of image-level tasks: the last layer's feature maps, rectified, averaged, and a linear layer.

    As in the image classifiers of NASNet and DARTS, which end so. Each resolution that the last layer may have has a
    linear layer of its own, and their outputs are summed, as `ASPPHead` sums its pixels'.

    Args:
        strides: that the last layer may have.
        task: the channels of the outputs.
        sizes: the channels of the feature maps.
    """

    def __init__(self, strides: Sequence[int], task: Task, sizes: Sizes) -> None:
        super().__init__()
        self.classifiers = nn.ModuleDict(
            {str(stride): nn.Linear(sizes.node_channels(stride), task.out_channels) for stride in strides}
        )

    def forward(self, maps: Maps) -> Tensor:
        """The outputs of images, `[batch, out_channels]`."""
        return sum_of(
            self.classifiers[str(stride)](functional.relu(x).mean(dim=(2, 3))) for stride, x in maps.last.items()
        )


_OF_LAST: dict[Head, type[ASPPHead | DeepLabHead]] = {"aspp": ASPPHead, "deeplab": DeepLabHead}
_OF_VISITED: dict[Head, type[UNetHead | FPNHead]] = {"unet": UNetHead, "fpn": FPNHead}
READ_VISITED = frozenset(_OF_VISITED)
"""The heads that read every stride that a path has visited, not those of the last layer alone."""


def make_head(head: Head, visited: Sequence[int], last: Sequence[int], task: Task, sizes: Sizes) -> nn.Module:
    """A head, which is called with `Maps`: that of a name, or `PooledHead` for image-level tasks.

    Args:
        head: its name.
        visited: the strides that any layer may have.
        last: those that the last layer may have.
        task: the channels of the outputs, and the level that they are of.
        sizes: the channels of the feature maps.
    """
    if task.level == "image":
        return PooledHead(last, task, sizes)
    if head in _OF_VISITED:
        return _OF_VISITED[head](visited, task, sizes)
    return _OF_LAST[head](last, task, sizes)


def _rate(sizes: Sizes, stride: int) -> int:
    return _RATE * sizes.stem_stride // stride
