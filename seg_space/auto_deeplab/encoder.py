"""The backbone of an Auto-DeepLab architecture as an encoder of segmentation_models_pytorch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from segmentation_models_pytorch.encoders._base import EncoderMixin
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins.spaces.architecture import Architecture
from seg_space.auto_deeplab.network import Cell, Layer, size_at
from seg_space.auto_deeplab.operations import Pooling
from seg_space.auto_deeplab.space import AutoDeepLabSpace
from seg_space.auto_deeplab.stem import Stem, rectified


class AutoDeepLabEncoder(nn.Module, EncoderMixin):
    """Stem and layers of an architecture of `AutoDeepLabSpace`, with a feature map for each stride, as smp asks for.

    The feature maps are the images, then for each stride the rectified one of the last layer that has it, or of the
    stem. A stride that the path never visits gets one by a convolution of stride 2 from the next finer one. Layers
    after the last one that gives a feature map are left out.

    With an `output_stride` of 8 or 16, coarser feature maps keep that size: convolutions of stride 2 lose their stride,
    and the operations of cells get atrous rates, and dilated pooling, in proportion (Chen et al. 2017, DeepLabV3,
    section 3.1).

    The weights have the names that `AutoDeepLabNetwork` gives them, so a trained network's can be loaded:
    `encoder.load_state_dict(network.state_dict(), strict=False)`.

    Args:
        architecture: what `Architecture.to_json` says, read as JSON.
        space: arguments of `AutoDeepLabSpace`; see `smp_models.encoder_parameters`.
        depth: the last feature map has a stride of 2 to this power; 3, 4 or 5.
        output_stride: 8, 16 or 32: no feature map has a larger one.
        in_channels: of images.

    Shapes:
        images `[batch, in_channels, height, width]`, height and width divisible by the last feature map's stride;
        the feature map of stride s is `[batch, channels, height / s, width / s]`, with the channels of `out_channels`.

    Raises:
        ValueError: a depth or output stride out of range, or an architecture of another space or of several paths.
    """

    def __init__(
        self,
        architecture: Mapping[str, Any],
        space: Mapping[str, Any],
        depth: int = 5,
        output_stride: int = 32,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if depth not in (3, 4, 5):
            raise ValueError(f"a found encoder has a depth of 3, 4 or 5; got {depth}")
        if output_stride not in (8, 16, 32):
            raise ValueError(f"a found encoder has an output_stride of 8, 16 or 32; got {output_stride}")
        of_space = AutoDeepLabSpace(**space)
        sizes = of_space.sizes
        validated = Architecture.from_json(json.dumps(architecture))
        of_space.validate(validated)
        self._depth = depth
        self._output_stride = output_stride
        self._in_channels = in_channels
        self.stem_stride = sizes.stem_stride
        self.stem = Stem(in_channels, sizes.stem, sizes.stem_stride)
        nodes = sizes.trellis.path_nodes(of_space.path(validated))
        nodes = nodes[: max((node.layer for node in nodes if node.stride <= 2**depth), default=0)]
        self.path = tuple(node.stride for node in nodes)
        """The stride of each layer that is there."""
        channels = (sizes.stem[-1], sizes.stem[-1], *(sizes.node_channels(stride) for stride in self.path))
        steps = of_space.steps(validated)
        self.layers = nn.ModuleList()
        for node, previous, before in zip(nodes, channels[1:], channels, strict=False):
            layer = Layer(node, steps, previous, before, sizes.state_channels(node.stride))
            if self._rate(node.stride) > 1:
                if layer.resize_previous.shrinks:
                    _lose_stride(layer.resize_previous.convolution, self._rate(node.incoming[0]))
                dilate(layer.cell, self._rate(node.stride))
            layer.cell.drop_rate = sizes.drop_path * node.layer / sizes.layers
            self.layers.append(layer)
        widths = sizes.stem_channels
        widths |= {stride: sizes.node_channels(stride) for stride in self.path}
        self.missing = nn.ModuleDict()
        for stride in self._strides:
            if stride not in widths:
                widths[stride] = max(1, sizes.node_channels(stride))
                halving = rectified(widths[stride // 2], widths[stride], kernel=3, stride=2)
                if self._rate(stride) > 1:
                    _lose_stride(halving[0], self._rate(stride // 2))
                self.missing[str(stride)] = halving
        self._out_channels = [in_channels, *(widths[stride] for stride in self._strides)]

    @property
    def _strides(self) -> tuple[int, ...]:
        return tuple(2**level for level in range(1, self._depth + 1))

    def _rate(self, stride: int) -> int:
        """The atrous rate that stands for the part of a stride that its feature map does not have."""
        return max(1, stride // self._output_stride)

    # What smp calls.

    def set_in_channels(self, in_channels: int, pretrained: bool = False) -> None:
        """Give the stem another first convolution where images have other channels."""
        if in_channels != self._in_channels:
            first: Any = self.stem[0]
            old: nn.Conv2d = first[0]
            first[0] = nn.Conv2d(in_channels, old.out_channels, 3, cast(Any, old.stride), padding=1, bias=False)
            self._in_channels = in_channels
            self._out_channels = [in_channels, *self._out_channels[1:]]

    def get_stages(self) -> dict[int, list[nn.Module]]:
        """Nothing that smp should dilate: the output stride has been seen to."""
        return {}

    def forward(self, images: Tensor) -> list[Tensor]:
        by_stride = self.stem.maps(images)
        first = before = previous = by_stride[self.stem_stride]
        for stride, layer in zip(self.path, self.layers, strict=True):
            size = size_at(first, min(stride, self._output_stride) // self.stem_stride)
            before, previous = previous, layer(before, previous, size)
            by_stride[stride] = previous
        features = [images]
        for stride in self._strides:
            if str(stride) in self.missing:
                by_stride[stride] = self.missing[str(stride)](functional.relu(by_stride[stride // 2]))
            features.append(functional.relu(by_stride[stride]))
        return features


class DilatedPooling(Pooling):
    """Pool 3x3 pixels that are `rate` pixels apart, and normalise; what is beyond the border does not count.

    Args:
        channels: of the feature map `[batch, channels, height, width]`.
        operation: `max_pool` or `avg_pool`.
        rate: of the dilation.
    """

    def __init__(self, channels: int, operation: str, rate: int) -> None:
        super().__init__(channels, operation)
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        rate = self.rate
        if self.operation == "max_pool":
            # torch pads at most by half of the kernel, whatever its dilation.
            bordered = functional.pad(x, (rate,) * 4, value=-math.inf)
            return self.norm(functional.max_pool2d(bordered, 3, stride=1, dilation=rate))
        channels = x.size(1)
        ones = x.new_ones(channels, 1, 3, 3)
        total = functional.conv2d(x, ones, padding=rate, dilation=rate, groups=channels)
        inside = functional.conv2d(torch.ones_like(x[:1, :1]), ones[:1], padding=rate, dilation=rate)
        return self.norm(total / inside)


def dilate(cell: Cell, rate: int) -> None:
    """Let a cell's operations step over pixels.

    Each of the `rate * rate` images that have every `rate`-th pixel of the output is then, in evaluation mode, what
    the cell as it was gives for those pixels of the inputs alone.
    """
    for name, operation in cell.operations.items():
        if isinstance(operation, Pooling):
            cell.operations[name] = DilatedPooling(operation.norm.num_features, operation.operation, rate)
        for module in operation.modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1):
                (dilation, _), (padding, _) = module.dilation, cast(tuple[int, int], module.padding)
                module.dilation, module.padding = (rate * dilation,) * 2, (rate * padding,) * 2


def _lose_stride(convolution: nn.Module, rate: int) -> None:
    """Make a 3x3 convolution of stride 2 one of stride 1 on a feature map whose pixels stand for ones `rate` apart."""
    changed = cast(nn.Conv2d, convolution)
    changed.stride, changed.dilation, changed.padding = (1, 1), (rate, rate), (rate, rate)
