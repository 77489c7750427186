"""The stages of a decoder: each fuses what comes from coarser ones with a map of the encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins.spaces.counting import part
from seg_space.auto_deeplab.cell import IDENTITY, Step
from seg_space.auto_deeplab.network import Cell
from seg_space.auto_deeplab.operations import BatchNorm
from seg_space.auto_deeplab.stem import rectified
from seg_space.smp.decoder.sizes import CELL, CONVOLUTIONS, PROJECTED_CHANNELS, StageOptions


def upsampled(x: Tensor, times: int, mode: str) -> Tensor:
    """A feature map enlarged: `nearest`, or `bilinear` between the centres of the pixels at the corners."""
    if times == 1:
        return x
    return functional.interpolate(
        x, scale_factor=float(times), mode=mode, align_corners=True if mode == "bilinear" else None
    )


def brought(x: Tensor, from_stride: int, to_stride: int, mode: str) -> Tensor:
    """A map of the encoder, brought to another stride; it is averaged where that is larger."""
    if to_stride > from_stride:
        return functional.avg_pool2d(x, to_stride // from_stride)
    return upsampled(x, from_stride // to_stride, mode)


def make_convolution(operation: str, in_channels: int, filters: int) -> nn.Sequential:
    """A convolution of a stage, normalised and rectified, that keeps height and width."""
    convolution = CONVOLUTIONS[operation]
    if convolution is None:
        return rectified(in_channels, filters, 3)
    kernel, dilation, _ = convolution
    padding = dilation * (kernel // 2)
    depthwise = nn.Conv2d(
        in_channels, in_channels, kernel, padding=padding, dilation=dilation, groups=in_channels, bias=False
    )
    return nn.Sequential(depthwise, *rectified(in_channels, filters))


def normalised(in_channels: int, out_channels: int) -> nn.Sequential:
    """A 1x1 convolution and its normalisation."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), BatchNorm(out_channels))


class CellStage(nn.Module):
    """A cell of Auto-DeepLab, rectified, over what comes from coarser stages and a map of the encoder.

    Args:
        steps: of the cell.
        in_channels: of what comes from coarser stages, state 0.
        map_channels: of the encoder's map, state 1; where there is none, state 1 is another map of state 0.
        filters: of all blocks together.
    """

    def __init__(self, steps: Sequence[Step], in_channels: int, map_channels: int, filters: int) -> None:
        super().__init__()
        channels = filters // (len(steps) // 2)
        self.previous = normalised(in_channels, channels)
        self.lateral = normalised(map_channels or in_channels, channels)
        self.cell = Cell(steps, channels)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        states = self.previous(x), self.lateral(x if skip is None else skip)
        return functional.relu(self.cell(*states))


class Stage(nn.Module):
    """One stage: what comes from coarser stages, fused with a map of the encoder, and an operation.

    Args:
        options: of the stage.
        in_channels: of what comes from coarser stages.
        map_channels: of the encoder's map; 0: none is fused.
        steps: of the cell.
        upsampling: of the encoder's map, where it is coarser.
    """

    def __init__(
        self, options: StageOptions, in_channels: int, map_channels: int, steps: Sequence[Step], upsampling: str
    ) -> None:
        super().__init__()
        self.options, self.upsampling = options, upsampling
        self.lateral: nn.Module | None = None
        operation, width = options.operation, in_channels
        if map_channels and operation != CELL:
            if operation == IDENTITY or options.fusion == "sum":
                self.lateral = part(nn.Conv2d, map_channels, in_channels, 1)
            elif options.fusion == "projected":
                self.lateral = part(rectified, map_channels, PROJECTED_CHANNELS)
                width += PROJECTED_CHANNELS
            else:
                width += map_channels
        self.operation: nn.Module = nn.Identity()
        if operation == CELL:
            self.operation = CellStage(steps, in_channels, map_channels, options.filters)
        elif operation != IDENTITY:
            inputs = (width, *[options.filters] * (options.layers - 1))
            self.operation = nn.Sequential(
                *(part(make_convolution, operation, each, options.filters) for each in inputs)
            )

    def forward(self, x: Tensor, maps: Mapping[int, Tensor]) -> Tensor:
        """The output, `[batch, filters, height, width]`.

        Args:
            x: what comes from coarser stages, at this stride.
            maps: of the encoder, by their strides.
        """
        skip = None
        if self.options.skip is not None:
            skip = brought(maps[self.options.skip], self.options.skip, self.options.stride, self.upsampling)
        if isinstance(self.operation, CellStage):
            return self.operation(x, skip)
        outputs: Tensor = self.operation(x if skip is None else self._fused(x, skip))
        return outputs

    def _fused(self, x: Tensor, skip: Tensor) -> Tensor:
        lateral = skip if self.lateral is None else self.lateral(skip)
        if self.options.operation == IDENTITY or self.options.fusion == "sum":
            return x + lateral
        return torch.cat([x, lateral], dim=1)
