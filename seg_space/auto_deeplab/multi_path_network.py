"""The network of an architecture with several resolutions at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.counting import part
from automl_plugins.spaces.plain_source import PlainSource
from automl_plugins.spaces.task import Task
from seg_space.auto_deeplab.cell import Step
from seg_space.auto_deeplab.heads import make_head
from seg_space.auto_deeplab.layout import cell_steps, head_of, open_nodes
from seg_space.auto_deeplab.maps import Features, Maps, last_visits, size_of
from seg_space.auto_deeplab.network import Cell, size_at
from seg_space.auto_deeplab.operations import Resize, sum_of
from seg_space.auto_deeplab.sizes import Sizes
from seg_space.auto_deeplab.source import auto_deeplab_source
from seg_space.auto_deeplab.stem import Stem
from seg_space.auto_deeplab.trellis import Node


class MultiPathNode(nn.Module):
    """A resolution of a layer: the sum of a cell's outputs for each feature map that comes in.

    Each edge has a cell with weights of its own, as in DiNTS (He et al. 2021). The supernet of Auto-DeepLab shares
    them between the edges into a node, so a network starts from copies of them where it inherits.
    With `merge_inputs`, one cell reads the sum of the feature maps.

    Args:
        node: its place, and its inputs.
        steps: of its cells.
        sizes: the channels.
    """

    def __init__(self, node: Node, steps: Sequence[Step], sizes: Sizes) -> None:
        super().__init__()
        self.node = node
        channels = sizes.state_channels(node.stride)

        def resize(source: int, layer: int, bilinear: bool) -> Resize:
            in_channels = sizes.map_channels(layer, source)
            return part(Resize, in_channels, channels, source, node.stride, affine=True, bilinear=bilinear)

        self.resize_before = nn.ModuleDict(
            {str(source): resize(source, node.layer - 2, bilinear=True) for source in node.before}
        )
        self.resize_previous = nn.ModuleDict(
            {str(source): resize(source, node.layer - 1, bilinear=False) for source in node.incoming}
        )
        cells = 1 if sizes.merge_inputs else len(node.incoming)
        self.cells = nn.ModuleList(Cell(steps, channels) for _ in range(cells))

    def forward(self, features: Features, size: tuple[int, int]) -> Tensor:
        layer = self.node.layer
        before = sum_of(
            self.resize_before[str(source)](features[layer - 2, source], size) for source in self.node.before
        )
        inputs = [self.resize_previous[str(source)](features[layer - 1, source], size) for source in self.node.incoming]
        if len(self.cells) == 1:
            inputs = [sum_of(inputs)]
        return sum_of(cell(before, x) for cell, x in zip(self.cells, inputs, strict=True))


class MultiPathNetwork(nn.Module):
    """Stem, the nodes of each layer, and a head that reads all resolutions of the last one.

    Inputs and output are those of `AutoDeepLabNetwork`.

    Args:
        architecture: of `AutoDeepLabSpace`.
        task: the channels of images and of outputs, and the level that outputs are of.
        sizes: the channels, stem and head.
    """

    def __init__(self, architecture: Architecture, task: Task, sizes: Sizes) -> None:
        super().__init__()
        nodes, steps = open_nodes(architecture, sizes), cell_steps(architecture, sizes.blocks)
        self.layout = nodes, steps, head_of(architecture, sizes), task, sizes
        """The arguments of its plain source."""
        self.trellis = sizes.trellis
        self.drop_path = sizes.drop_path
        self.stem = Stem(task.in_channels, sizes.stem, sizes.stem_stride)
        self.nodes = nn.ModuleList(MultiPathNode(node, steps, sizes) for node in nodes)
        visited = sorted({node.stride for node in nodes})
        last = [node.stride for node in nodes if node.layer == sizes.layers]
        self.head = make_head(head_of(architecture, sizes), visited, last, task, sizes)
        self.schedule_drop_path(1.0)

    def plain_source(self) -> PlainSource:
        """See `automl_plugins.spaces.plain_source.HasPlainSource`; nothing is dropped there."""
        return auto_deeplab_source(*self.layout)

    def schedule_drop_path(self, progress: float) -> None:
        """Set the rates at which operations are dropped, as `AutoDeepLabNetwork.schedule_drop_path` does.

        Args:
            progress: the part of the training that is done, from 0 to 1.
        """
        for module in self.nodes:
            node = cast(MultiPathNode, module)
            for cell in node.cells:
                cast(Cell, cell).drop_rate = self.drop_path * progress * node.node.layer / self.trellis.layers

    def features(self, images: Tensor) -> dict[tuple[int, int], Tensor]:
        """The feature maps of the stem and of each node, `[batch, channels, height, width]`, by layer and stride."""
        return self._features(self.stem(images))

    def _features(self, first: Tensor) -> dict[tuple[int, int], Tensor]:
        stem_stride = self.trellis.stem_stride
        features = {(-1, stem_stride): first, (0, stem_stride): first}
        for module in self.nodes:
            layer, stride, *_ = cast(MultiPathNode, module).node
            features[layer, stride] = module(features, size_at(first, stride // stem_stride))
        del features[-1, stem_stride]
        return features

    def forward(self, images: Tensor) -> Tensor:
        stem = self.stem.maps(images)
        features = self._features(stem[self.trellis.stem_stride])
        last = {stride: x for (layer, stride), x in features.items() if layer == self.trellis.layers}
        outputs: Tensor = self.head(Maps(stem, last_visits(features), last, size_of(images)))
        return outputs
