"""The skeleton around the cells, the same for networks and supernets: stem, three stages of cells, head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from automl_plugins.spaces.task import Task
from seg_space.auto_deeplab.operations import BatchNorm, interpolate
from seg_space.auto_deeplab.stem import rectified
from seg_space.nas_bench_201.cell import convolution

STAGES = 3
STEM_STRIDES = (1, 2, 4)


@dataclass(frozen=True)
class Sizes:
    """Numbers of the skeleton.

    Args:
        cells: of a stage.
        channels: of the first stage; each has twice those of the one before.
        stem_stride: 1, 2 or 4.

    Raises:
        ValueError: a number out of range.
    """

    cells: int = 5
    channels: int = 16
    stem_stride: int = 1

    def __post_init__(self) -> None:
        for name, value in (("cells", self.cells), ("channels", self.channels)):
            if value < 1:
                raise ValueError(f"{name} is at least 1; got {value}")
        if self.stem_stride not in STEM_STRIDES:
            raise ValueError(f"stem_stride is one of {', '.join(map(str, STEM_STRIDES))}; got {self.stem_stride}")


class Reduction(nn.Module):
    """The residual block between stages, of stride 2 and twice the channels (He et al. 2016), as the benchmark has it.

    Shapes:
        `[batch, channels, height, width]` in, `[batch, 2 * channels, height / 2, width / 2]` out, sizes rounded up.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            convolution(channels, 2 * channels, 3, stride=2), convolution(2 * channels, 2 * channels, 3)
        )
        # Ceiling: the map is then as large as the convolution's, for odd sizes too.
        pool = nn.AvgPool2d(2, stride=2, ceil_mode=True)
        self.shortcut = nn.Sequential(pool, nn.Conv2d(channels, 2 * channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.residual(x)


class ImageHead(nn.Module):
    """Normalise, rectify, average, and a linear map to `[batch, out_channels]`."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.last = nn.Sequential(BatchNorm(channels), nn.ReLU())
        self.output = nn.Linear(channels, out_channels)

    def forward(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        return self.output(self.last(maps[-1]).mean(dim=(2, 3)))


class PixelHead(nn.Module):
    """The decoder of pixel-level tasks: the last map, doubled and convolved until it has the first stage's size.

    Nothing of the earlier stages is read, as in TransNAS-Bench-101's decoder.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.last = nn.Sequential(BatchNorm(channels), nn.ReLU())
        self.ascent = nn.ModuleList(
            rectified(channels // 2**step, channels // 2 ** (step + 1), 3) for step in range(STAGES - 1)
        )
        self.output = nn.Conv2d(channels // 2 ** (STAGES - 1), out_channels, 1)

    def forward(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        x = self.last(maps[-1])
        for layer, finer in zip(self.ascent, reversed(maps[:-1]), strict=True):
            x = layer(interpolate(x, (finer.size(2), finer.size(3))))
        return interpolate(self.output(x), size)


class Skeleton(nn.Module):
    """A stem, three stages of cells with residual blocks of stride 2 between them, and the head of the task's level.

    Args:
        make_cell: a cell with so many channels.
        task: what the network must fit.
        sizes: of the skeleton.

    Shapes:
        images `[batch, in_channels, height, width]`; output `[batch, out_channels]` of images, `[batch, out_channels,
        height, width]` of pixels.
    """

    def __init__(self, make_cell: Callable[[int], nn.Module], task: Task, sizes: Sizes) -> None:
        super().__init__()
        channels = sizes.channels
        self.stem = _stem(task.in_channels, channels, sizes.stem_stride)
        self.stages, self.reductions = nn.ModuleList(), nn.ModuleList()
        for stage in range(STAGES):
            if stage > 0:
                self.reductions.append(Reduction(channels))
                channels *= 2
            self.stages.append(nn.ModuleList(make_cell(channels) for _ in range(sizes.cells)))
        head = ImageHead if task.level == "image" else PixelHead
        self.head = head(channels, task.out_channels)

    def run(self, images: Tensor, *arguments: Any) -> Tensor:
        """The outputs for images; each cell is called with the arguments beside its input."""
        x, maps = self.stem(images), []
        for stage, cells in enumerate(self.stages):
            x = self.reductions[stage - 1](x) if stage > 0 else x
            for cell in cast(nn.ModuleList, cells):
                x = cell(x, *arguments)
            maps.append(x)
        return self.head(maps, (images.size(2), images.size(3)))


def _stem(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    first = nn.Conv2d(in_channels, channels, 3, min(stride, 2), padding=1, bias=False)
    second = convolution(channels, channels, 3, stride=2) if stride == STEM_STRIDES[-1] else ()
    return nn.Sequential(first, BatchNorm(channels), *second)
