"""The network of an architecture with several resolutions at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from torch import Tensor, nn

from automl_plugins.spaces.counting import part
from automl_plugins.spaces.task import Task
from seg_space.auto_deeplab.cell import Step
from seg_space.auto_deeplab.frame import Stem, make_head
from seg_space.auto_deeplab.network import Cell, size_at
from seg_space.auto_deeplab.operations import Resize
from seg_space.auto_deeplab.trellis import Node

if TYPE_CHECKING:
    from seg_space.auto_deeplab.space import AutoDeepLabSpace

Maps = Mapping[tuple[int, int], Tensor]
"""Maps by the layer and the stride; the layers 0 and -1 are the stem."""


class MultiPathNode(nn.Module):
    """A resolution of a layer: the sum of what a cell makes of each map that comes in.

    Each arrow has a cell with weights of its own, as in DiNTS (He et al. 2021). The supernet of Auto-DeepLab shares
    them between the arrows into a node, so a network starts from copies of them where it inherits.
    With `merge_inputs`, one cell reads the sum of the maps.

    Args:
        node: its place, and what it reads.
        steps: of its cells.
        space: the channels.
    """

    def __init__(self, node: Node, steps: Sequence[Step], space: AutoDeepLabSpace) -> None:
        super().__init__()
        self.node = node
        channels = space.state_channels(node.stride)
        self.resize_before = nn.ModuleDict(
            {
                str(each): part(
                    Resize,
                    space.map_channels(node.layer - 2, each),
                    channels,
                    each,
                    node.stride,
                    affine=True,
                    bilinear=True,
                )
                for each in node.before
            }
        )
        self.resize_previous = nn.ModuleDict(
            {
                str(each): part(
                    Resize, space.map_channels(node.layer - 1, each), channels, each, node.stride, affine=True
                )
                for each in node.incoming
            }
        )
        cells = 1 if space.merge_inputs else len(node.incoming)
        self.cells = nn.ModuleList(Cell(steps, channels) for _ in range(cells))

    def forward(self, maps: Maps, size: tuple[int, int]) -> Tensor:
        layer = self.node.layer
        before = sum_of([self.resize_before[str(each)](maps[layer - 2, each], size) for each in self.node.before])
        inputs = [self.resize_previous[str(each)](maps[layer - 1, each], size) for each in self.node.incoming]
        if len(self.cells) == 1:
            inputs = [sum_of(inputs)]
        return sum_of([cell(before, each) for cell, each in zip(self.cells, inputs, strict=True)])


class MultiPathNetwork(nn.Module):
    """Stem, the nodes of each layer, and a head that reads all resolutions of the last one.

    Inputs and output are those of `AutoDeepLabNetwork`.

    Args:
        nodes: layer by layer.
        steps: of all cells, two for each block.
        task: what must be fitted.
        space: the channels, stem and head.
    """

    def __init__(self, nodes: Sequence[Node], steps: Sequence[Step], task: Task, space: AutoDeepLabSpace) -> None:
        super().__init__()
        self.trellis = space.trellis
        self.drop_path = space.drop_path
        self.stem = Stem(task.in_channels, space.stem, space.stem_stride)
        self.nodes = nn.ModuleList(MultiPathNode(node, steps, space) for node in nodes)
        self.head = make_head([node.stride for node in nodes if node.layer == space.layers], task, space)
        self.schedule_drop_path(1.0)

    def schedule_drop_path(self, progress: float) -> None:
        """Set how often operations are dropped, as `AutoDeepLabNetwork.schedule_drop_path` does.

        Args:
            progress: the part of the training that is done, from 0 to 1.
        """
        for node in self.nodes:
            own = cast(MultiPathNode, node)
            for cell in own.cells:
                cast(Cell, cell).drop_rate = self.drop_path * progress * own.node.layer / self.trellis.layers

    def features(self, images: Tensor) -> dict[tuple[int, int], Tensor]:
        """The stem's map and that of each node, `[batch, channels, height, width]`, by layer and stride."""
        first = self.stem(images)
        stem_stride = self.trellis.stem_stride
        maps = {(-1, stem_stride): first, (0, stem_stride): first}
        for module in self.nodes:
            layer, stride, *_ = cast(MultiPathNode, module).node
            maps[layer, stride] = module(maps, size_at(first, stride // stem_stride))
        return {place: each for place, each in maps.items() if place[0] >= 0}

    def forward(self, images: Tensor) -> Tensor:
        maps = self.features(images)
        last = {stride: each for (layer, stride), each in maps.items() if layer == self.trellis.layers}
        return self.head(last, maps[0, self.trellis.stem_stride], (images.size(2), images.size(3)))


def sum_of(tensors: Sequence[Tensor]) -> Tensor:
    """The sum of tensors of one shape, at least one of them."""
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total
