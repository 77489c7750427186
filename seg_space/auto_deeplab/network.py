"""The network of one architecture of Auto-DeepLab's space, along a single path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.counting import part
from automl_plugins.spaces.plain_source import PlainSource
from automl_plugins.spaces.task import Task
from seg_space.auto_deeplab.cell import IDENTITY, Step
from seg_space.auto_deeplab.heads import make_head
from seg_space.auto_deeplab.layout import cell_steps, head_of, open_nodes, single_path
from seg_space.auto_deeplab.maps import Maps, size_of
from seg_space.auto_deeplab.operations import Resize, make_operation
from seg_space.auto_deeplab.sizes import Sizes
from seg_space.auto_deeplab.source import auto_deeplab_source
from seg_space.auto_deeplab.stem import Stem
from seg_space.auto_deeplab.trellis import Node


class Cell(nn.Module):
    """Blocks of two operations each, whose sums are concatenated (Liu et al. 2019, section 3.1).

    In training, an operation that is no identity is dropped from a sample with the probability `drop_rate`.

    Args:
        steps: two for each block.
        channels: of each state.
    """

    def __init__(self, steps: Sequence[Step], channels: int) -> None:
        super().__init__()
        self.steps = tuple(steps)
        self.operations = nn.ModuleDict({step.key: part(make_operation, step.operation, channels) for step in steps})
        self.drop_rate = 0.0

    def forward(self, before: Tensor, previous: Tensor) -> Tensor:
        """The blocks' outputs, `[batch, blocks * channels, height, width]`.

        Args:
            before: state 0, `[batch, channels, height, width]`.
            previous: state 1, of the same shape.
        """
        states = [before, previous]
        for first, second in zip(self.steps[::2], self.steps[1::2], strict=True):
            states.append(self._result(first, states) + self._result(second, states))
        return torch.cat(states[2:], dim=1)

    def _result(self, step: Step, states: Sequence[Tensor]) -> Tensor:
        result: Tensor = self.operations[step.key](states[step.source])
        if not self.training or self.drop_rate == 0 or step.operation == IDENTITY:
            return result
        survives = torch.rand(len(result), 1, 1, 1, device=result.device) >= self.drop_rate
        return result * survives / (1 - self.drop_rate)


class Layer(nn.Module):
    """A cell at its place in a path: its two inputs are brought to its stride and channels first.

    Args:
        node: the layer's place.
        steps: of its cell.
        previous_channels: of the feature map of the layer before.
        before_channels: of the feature map of the layer before that one.
        channels: of each state.
    """

    def __init__(
        self, node: Node, steps: Sequence[Step], previous_channels: int, before_channels: int, channels: int
    ) -> None:
        super().__init__()
        self.node = node
        (incoming,), (before,) = node.incoming, node.before
        self.resize_before = part(Resize, before_channels, channels, before, node.stride, affine=True, bilinear=True)
        self.resize_previous = part(Resize, previous_channels, channels, incoming, node.stride, affine=True)
        self.cell = Cell(steps, channels)

    def forward(self, before: Tensor, previous: Tensor, size: tuple[int, int]) -> Tensor:
        output: Tensor = self.cell(self.resize_before(before, size), self.resize_previous(previous, size))
        return output


class AutoDeepLabNetwork(nn.Module):
    """Stem, one cell a layer along a path of resolutions, and a head.

    Args:
        architecture: of `AutoDeepLabSpace`, with a single path.
        task: the channels of images and of outputs, and the level that outputs are of.
        sizes: the channels, stem and head.

    Shapes:
        images `[batch, in_channels, height, width]` of any size; outputs `[batch, out_channels, height, width]`, for
        image-level tasks `[batch, out_channels]`.

    Raises:
        ValueError: the architecture has several paths; `MultiPathNetwork` is for those.
    """

    def __init__(self, architecture: Architecture, task: Task, sizes: Sizes) -> None:
        super().__init__()
        nodes, steps = open_nodes(architecture, sizes), cell_steps(architecture, sizes.blocks)
        self.layout = nodes, steps, head_of(architecture, sizes), task, sizes
        """The arguments of its plain source."""
        self.path = single_path(nodes)
        """The stride of each layer."""
        self.stem_stride = sizes.stem_stride
        self.channels = (sizes.stem[-1], *(sizes.node_channels(stride) for stride in self.path))
        """The channels of the stem's feature map and of each layer's."""
        self.drop_path = sizes.drop_path
        self.stem = Stem(task.in_channels, sizes.stem, sizes.stem_stride)
        inputs = (sizes.stem[-1], *self.channels)
        self.layers = nn.ModuleList(
            Layer(node, steps, previous, before, sizes.state_channels(node.stride))
            for node, previous, before in zip(nodes, inputs[1:], inputs, strict=False)
        )
        self.head = make_head(head_of(architecture, sizes), sorted(set(self.path)), self.path[-1:], task, sizes)
        self.schedule_drop_path(1.0)

    def plain_source(self) -> PlainSource:
        """See `automl_plugins.spaces.plain_source.HasPlainSource`; nothing is dropped there."""
        return auto_deeplab_source(*self.layout)

    def schedule_drop_path(self, progress: float) -> None:
        """Set the rates at which operations are dropped: `drop_path` for the last layer at the end of training.

        A rate grows linearly with the depth and over the training (scheduled drop path, Zoph et al. 2018).
        If nobody calls this, it is that of the end.

        Args:
            progress: the part of the training that is done, from 0 to 1.
        """
        for depth, layer in enumerate(self.layers, start=1):
            cast(Layer, layer).cell.drop_rate = self.drop_path * progress * depth / len(self.layers)

    def features(self, images: Tensor) -> list[Tensor]:
        """The feature maps of the stem and of each layer, `[batch, channels, height, width]` at their strides."""
        return self._features(self.stem(images))

    def _features(self, first: Tensor) -> list[Tensor]:
        features = [first, first]
        for stride, layer in zip(self.path, self.layers, strict=True):
            features.append(layer(features[-2], features[-1], size_at(first, stride // self.stem_stride)))
        return features[1:]

    def forward(self, images: Tensor) -> Tensor:
        stem = self.stem.maps(images)
        _, *features = self._features(stem[self.stem_stride])
        visited = dict(zip(self.path, features, strict=True))
        outputs: Tensor = self.head(Maps(stem, visited, {self.path[-1]: features[-1]}, size_of(images)))
        return outputs


def size_at(first: Tensor, times: int) -> tuple[int, int]:
    """Height and width of a feature map whose stride is so many times that of the first: halves, rounded up."""
    # Written as the size that convolutions give, so that torch.export sees that they are equal for all images.
    return (first.size(2) - 1) // times + 1, (first.size(3) - 1) // times + 1
