"""Auto-DeepLab's supernet."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.task import Task
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.recomputation import recomputed
from automl_plugins.supernets.supernet import Supernet
from seg_space.auto_deeplab.cell_choices import CellChoices
from seg_space.auto_deeplab.edges import Weights, make_edges
from seg_space.auto_deeplab.heads import READ_VISITED, make_head
from seg_space.auto_deeplab.joint_cell import JointCell
from seg_space.auto_deeplab.layout import HEAD, head_choices, head_of
from seg_space.auto_deeplab.maps import Features, Maps, expected_visits, size_of
from seg_space.auto_deeplab.mixed_cell import Input, MixedCell
from seg_space.auto_deeplab.multi_path_network import MultiPathNetwork, MultiPathNode
from seg_space.auto_deeplab.network import AutoDeepLabNetwork, Cell, Layer, size_at
from seg_space.auto_deeplab.operations import Resize, sum_of
from seg_space.auto_deeplab.sizes import Head, Sizes
from seg_space.auto_deeplab.stem import Stem
from seg_space.auto_deeplab.trellis import Node, node_key


class MixedNode(nn.Module):
    """One resolution of one layer: a mixed cell, and the operations that bring its inputs to its stride.

    Args:
        layer: from 1.
        stride: of its feature map.
        sizes: the channels, and the strides that its inputs may have.
        joint: whether the cell has its joint form.
        partial_channels: see `AutoDeepLabSupernet`.
    """

    def __init__(self, layer: int, stride: int, sizes: Sizes, joint: bool, partial_channels: int) -> None:
        super().__init__()
        trellis, channels = sizes.trellis, sizes.state_channels(stride)
        self.incoming = trellis.preceding(layer, stride)

        def resize(source: int, layer: int, bilinear: bool) -> Resize:
            # Without weights in the normalisations: they would undo the weights of edges.
            in_channels = sizes.map_channels(layer, source)
            return Resize(in_channels, channels, source, stride, affine=False, bilinear=bilinear)

        self.resize = nn.ModuleDict(
            {str(source): resize(source, layer - 1, bilinear=False) for source in self.incoming}
        )
        self.resize_before = nn.ModuleDict(
            {str(source): resize(source, layer - 2, bilinear=True) for source in trellis.second_inputs(layer, stride)}
        )
        cell = JointCell if joint else MixedCell
        num_inputs = 1 if sizes.merge_inputs else len(self.incoming)
        self.cell = cell(sizes.blocks, channels, num_inputs, partial_channels)

    def place(self, source: int) -> int:
        """The place of the feature map that comes in with this stride."""
        return 0 if self.cell.num_inputs == 1 else self.incoming.index(source)


class AutoDeepLabSupernet(Supernet):
    r"""All architectures of an `AutoDeepLabSpace`; inputs and output as those of `AutoDeepLabNetwork`.

    The feature map of stride s of a layer is, with weights :math:`\beta` of edges (Liu et al. 2019, equation 5),

    .. math::
        {}^sH^l = \sum_{r \in \{s/2, s, 2s\}} \beta^l_{r \to s}\, \mathrm{Cell}({}^rH^{l-1}, {}^sH^{l-2}; \alpha),

    one run of the cell, with the same weights, for each r. With `multi_path` the weights are those of
    `edges.MultiPath`. With `merge_inputs` it is one run for the sum of the
    feature maps, :math:`\mathrm{Cell}(\sum_r \beta^l_{r \to s}\, {}^rH^{l-1}, {}^sH^{l-2}; \alpha)`.

    Departure from the paper: the second input is :math:`{}^sH^{l-2}` where that is run. If it is not,
    as on a path that had another stride two layers before (and for all of the first layers' larger strides),
    it is the sum of what is run of that layer, at most two edges away, each resized by a convolution of its own, as
    in the paper's final networks. Under soft gates that happens in the first four layers alone.

    Running statistics: a cell has statistics for each feature map that comes in. They are those of the gates of
    the last training steps, so that a network that inherits them from a mixture needs
    `automl_plugins.training.recalibration.recalibrate` before it is evaluated.

    Args:
        task: the channels of images and of outputs, and the level that outputs are of.
        sizes: the layers, channels, stem and head.
        joint: compute cells jointly (`joint_cell.JointCell`), not operation by operation; weights and
            results are the same.
        partial_channels: the cells' operations run on one channel in so many (PC-DARTS, section 3.2); resolutions are
            mixed whole.
    """

    def __init__(self, task: Task, sizes: Sizes, joint: bool = True, partial_channels: int = 1) -> None:
        super().__init__()
        self.task, self.sizes, self.partial_channels = task, sizes, partial_channels
        self.trellis = sizes.trellis
        self.edges = make_edges(sizes.trellis, sizes.multi_path)
        self.choices = (*CellChoices(sizes.blocks).gate_choices, *self.edges.gate_choices, *head_choices(sizes))
        self.stem = Stem(task.in_channels, sizes.stem, sizes.stem_stride)
        self.nodes = nn.ModuleDict(
            {
                node_key(layer, stride): MixedNode(layer, stride, sizes, joint, partial_channels)
                for layer in range(1, sizes.layers + 1)
                for stride in self.trellis.strides_at(layer)
            }
        )
        strides = self.trellis.strides_at(sizes.layers)
        # Of image-level tasks all have the same head.
        self.used = sizes.heads[:1] if task.level == "image" else sizes.heads
        self.heads = nn.ModuleDict({head: make_head(head, strides, strides, task, sizes) for head in self.used})

    def open_nodes(self, gates: Gates) -> tuple[Node, ...]:
        """The nodes that are run with these gates."""
        return self.trellis.open_nodes(self.edges.open(gates))

    def forward(self, images: Tensor, *, gates: Mapping[str, Tensor]) -> Tensor:
        gates = Gates.of(self.choices, gates)
        weights = self.edges.weights(gates)
        stem = self.stem.maps(images)
        stem_stride = self.trellis.stem_stride
        first = stem[stem_stride]
        features = {(-1, stem_stride): first, (0, stem_stride): first}
        nodes = self.open_nodes(gates)
        for node in nodes:
            size = size_at(first, node.stride // stem_stride)
            run = partial(self._run, node, features, size, gates, weights)
            output = recomputed(self.nodes[node.key], run) if self.sizes.checkpointing else run()
            features[node.layer, node.stride] = output
        last = {stride: x for (layer, stride), x in features.items() if layer == self.trellis.layers}
        if not last:
            # Independent gates that are drawn may lead nowhere. Times the gates, so that a loss still depends on them.
            nothing = first.new_zeros(len(first), self.sizes.node_channels(stem_stride), *size_at(first, 1))
            last = {stem_stride: nothing * gates.matrix.sum()}
        heads = self._open_heads(gates)
        visited = last if READ_VISITED.isdisjoint(heads) or not nodes else expected_visits(features, nodes, weights)
        maps = Maps(stem, visited, last, size_of(images))
        return sum_of(
            self.heads[head](maps) if weight is None else weight * self.heads[head](maps)
            for head, weight in heads.items()
        )

    def _open_heads(self, gates: Gates) -> dict[Head, Tensor | None]:
        """The heads that are run, with the weights of their outputs; None: one."""
        if len(self.used) == 1:
            return {self.used[0]: None}
        return {self.used[position]: gates[HEAD][position] for position in gates.open(HEAD)}

    def _run(self, node: Node, features: Features, size: tuple[int, int], gates: Gates, weights: Weights) -> Tensor:
        module = cast(MixedNode, self.nodes[node.key])
        before = sum_of(
            module.resize_before[str(source)](features[node.layer - 2, source], size) for source in node.before
        )
        inputs = [
            Input(
                module.resize[str(source)](features[node.layer - 1, source], size),
                module.place(source),
                weights(node.layer, source, node.stride),
            )
            for source in node.incoming
        ]
        if self.sizes.merge_inputs:
            inputs = [Input(sum_of(cast(Tensor, x.weight) * x.features for x in inputs), 0, None)]
        return module.cell(before, inputs, gates)

    def plain(self) -> AutoDeepLabSupernet:
        """The plain form, with copies of these weights, in the same training mode."""
        with torch.random.fork_rng(devices=[]):
            plain = AutoDeepLabSupernet(self.task, self.sizes, False, self.partial_channels)
        like = next(self.parameters())
        plain.to(device=like.device, dtype=like.dtype).load_state_dict(self.state_dict())
        return plain.train(self.training)

    def inherit(self, network: nn.Module, architecture: Architecture) -> None:
        network = cast("AutoDeepLabNetwork | MultiPathNetwork", network)
        network.stem.load_state_dict(self.stem.state_dict())
        # The network's head is for some of the resolutions.
        head = self.heads[self.used[0] if len(self.used) == 1 else head_of(architecture, self.sizes)].state_dict()
        network.head.load_state_dict({name: head[name] for name in network.head.state_dict()})
        if isinstance(network, MultiPathNetwork):
            for node in network.nodes:
                self._inherit_node(cast(MultiPathNode, node))
        else:
            for layer in network.layers:
                self._inherit_layer(cast(Layer, layer))

    # The supernet lacks the weights of normalisations, which start as ones and zeros.

    def _inherit_layer(self, layer: Layer) -> None:
        mixed = cast(MixedNode, self.nodes[layer.node.key])
        (source,), (before,) = layer.node.incoming, layer.node.before
        layer.resize_previous.load_state_dict(mixed.resize[str(source)].state_dict(), strict=False)
        layer.resize_before.load_state_dict(mixed.resize_before[str(before)].state_dict(), strict=False)
        _inherit_cell(mixed, layer.cell, mixed.place(source))

    def _inherit_node(self, node: MultiPathNode) -> None:
        mixed = cast(MixedNode, self.nodes[node.node.key])
        for key, resize in node.resize_previous.items():
            resize.load_state_dict(mixed.resize[key].state_dict(), strict=False)
        for key, resize in node.resize_before.items():
            resize.load_state_dict(mixed.resize_before[key].state_dict(), strict=False)
        for cell, source in zip(node.cells, node.node.incoming, strict=False):
            _inherit_cell(mixed, cast(Cell, cell), mixed.place(source))


def _inherit_cell(mixed: MixedNode, cell: Cell, place: int) -> None:
    for step in cell.steps:
        cell.operations[step.key].load_state_dict(mixed.cell.state_of(step, place), strict=False)
