"""Heads that read every stride which a path has visited, and the stem: a decoder like U-Net's, and one like FPN's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from automl_plugins.spaces.task import Task
from seg_space.auto_deeplab.maps import Maps, size_of
from seg_space.auto_deeplab.operations import BatchNorm, interpolate, sum_of
from seg_space.auto_deeplab.sizes import Sizes
from seg_space.auto_deeplab.stem import rectified


def lateral(in_channels: int, out_channels: int) -> nn.Sequential:
    """A feature map, rectified and brought to other channels, `[batch, out_channels, height, width]`."""
    return nn.Sequential(nn.ReLU(), nn.Conv2d(in_channels, out_channels, 1, bias=False), BatchNorm(out_channels))


class Refinement(nn.Module):
    """Rectify, and convolve by a separable 3x3 kernel, `[batch, out_channels, height, width]`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.pointwise = rectified(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        # Contiguous: a depthwise kernel's gradient has the layout of its input, and another one slows DDP down.
        return cast(Tensor, self.pointwise(self.depthwise(functional.relu(x).contiguous())))


class UNetHead(nn.Module):
    """From the coarsest stride to the finest one of the stem, as U-Net's decoder (Ronneberger et al. 2015).

    At each stride that there is, the feature map of the last layer that has it, and the stem's, are brought to
    `decoder_channels` by 1x1 convolutions and added to what comes from the coarser stride, enlarged; a separable 3x3
    convolution follows. Strides finer than the first layer's have half of the channels. Departure from U-Net: skip
    connections are added, as in LinkNet (Chaurasia and Culurciello 2017), so that strides may be missing.

    Args:
        strides: that layers may have.
        task: the channels of the outputs.
        sizes: the channels of the feature maps, and `decoder_channels`.
    """

    def __init__(self, strides: Sequence[int], task: Task, sizes: Sizes) -> None:
        super().__init__()
        stem, every = sizes.stem_channels, sorted({*strides, *sizes.stem_channels})
        width = {
            stride: sizes.decoder_channels if stride >= sizes.stem_stride else max(1, sizes.decoder_channels // 2)
            for stride in every
        }
        # A stride that may be missing has the channels of the next finer one, too.
        after = {stride: width[finer] for finer, stride in zip((every[0], *every), every, strict=False)}
        self.visited = nn.ModuleDict(
            {str(stride): lateral(sizes.node_channels(stride), width[stride]) for stride in strides}
        )
        self.stem = nn.ModuleDict({str(stride): lateral(stem[stride], width[stride]) for stride in stem})
        self.refinements = nn.ModuleDict({str(stride): Refinement(width[stride], after[stride]) for stride in every})
        self.classifier = nn.Conv2d(after[every[0]], task.out_channels, 1)

    def forward(self, maps: Maps) -> Tensor:
        """The outputs of pixels, `[batch, out_channels, height, width]`."""
        total: Tensor | None = None
        for stride, terms in _skips(self.visited, self.stem, maps).items():
            enlarged = [] if total is None else [interpolate(total, size_of(terms[0]))]
            total = self.refinements[str(stride)](sum_of([*terms, *enlarged]))
        return interpolate(self.classifier(total), maps.size)


class FPNHead(nn.Module):
    """A feature pyramid whose levels are refined apart, and added (Kirillov, Girshick, He and Dollar 2019, section 3).

    At each stride from the coarsest to the first layer's, feature maps are brought to `decoder_channels` and added to
    the coarser level, enlarged. Each level is refined by one separable 3x3 convolution, not by one for each
    doubling, and enlarged; their sum is classified.

    Args:
        strides: that layers may have.
        task: the channels of the outputs.
        sizes: the channels of the feature maps, and `decoder_channels`.
    """

    def __init__(self, strides: Sequence[int], task: Task, sizes: Sizes) -> None:
        super().__init__()
        channels, first = sizes.decoder_channels, sizes.stem_stride
        self.visited = nn.ModuleDict(
            {str(stride): lateral(sizes.node_channels(stride), channels) for stride in strides}
        )
        self.stem = nn.ModuleDict({str(first): lateral(sizes.stem[-1], channels)})
        self.refinements = nn.ModuleDict(
            {str(stride): Refinement(channels, channels) for stride in sorted({first, *strides})}
        )
        self.classifier = nn.Conv2d(channels, task.out_channels, 1)

    def forward(self, maps: Maps) -> Tensor:
        """The outputs of pixels, `[batch, out_channels, height, width]`."""
        level: Tensor | None = None
        levels: dict[int, Tensor] = {}
        for stride, terms in _skips(self.visited, self.stem, maps).items():
            level = sum_of([*terms, *([] if level is None else [interpolate(level, size_of(terms[0]))])])
            levels[stride] = level
        fine = size_of(levels[min(levels)])
        total = sum_of(interpolate(self.refinements[str(stride)](x), fine) for stride, x in levels.items())
        return interpolate(self.classifier(total), maps.size)


def _skips(visited: nn.ModuleDict, stem: nn.ModuleDict, maps: Maps) -> Mapping[int, list[Tensor]]:
    """The feature maps that are added at each stride that there is, the coarsest first."""
    skips: dict[int, list[Tensor]] = {}
    for stride in sorted({*maps.visited, *map(int, stem)}, reverse=True):
        terms = [visited[str(stride)](maps.visited[stride])] if stride in maps.visited else []
        skips[stride] = [*terms, *([stem[str(stride)](maps.stem[stride])] if str(stride) in stem else [])]
    return skips
