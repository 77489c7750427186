"""Hand-made graph networks, to stand beside what a search has found.

Each is called with a task and gives a network with the signature of `AGNNNetwork`. On node-level
tasks they are as published for Planetoid; on graph and edge level they have three layers of 64
channels with batch normalisation, and the readout that the searched networks have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from automl_plugins.spaces.task import Level, Task
from gnn_space.compressed import CompressedEdges
from gnn_space.frame import Head, InputEncoder, TakesGraphs, batch_norm, drops_much, feature_dropout
from gnn_space.layers import GATLayer, GCNLayer, GINLayer, PropagationLayer, SAGELayer

_LAYERS = 3
_CHANNELS = 64
_EDGE_CHANNELS = 16
_HEADS = 8


def _without_edges(task: Task) -> Task:
    """The task of a network that reads no edge features: it embeds none, so it has no weights without a gradient."""
    return replace(task, edge_channels=0, edge_categories=())


class _Reference(TakesGraphs):
    """Convolutions between the encoder and the head; a subclass names its convolution and its node-level sizes.

    Args:
        task: what the network must fit.
        channels: width of the stack that graph and edge level have; given on node level, that has it too.
    """

    levels: ClassVar[frozenset[Level]] = frozenset(("node", "edge", "graph"))
    node_hidden: ClassVar[tuple[int, ...]] = (64,)
    node_dropout: ClassVar[float] = 0.5
    activation: ClassVar[type[nn.Module]] = nn.ReLU
    reads_edges: ClassVar[bool] = False
    """True where the convolution reads edge features."""

    def __init__(self, task: Task, channels: int | None = None) -> None:
        super().__init__()
        if task.level not in self.levels:
            levels = ", ".join(sorted(self.levels))
            raise ValueError(f"{type(self).__name__} is for the levels {levels}; the task's is {task.level!r}")
        # An edge level's head reads them too.
        edges_count = self.reads_edges or task.level == "edge"
        self.node_level = task.level == "node" and channels is None
        channels = channels or _CHANNELS
        self.encoder = InputEncoder(task if edges_count else _without_edges(task), channels, _EDGE_CHANNELS)
        # The last layer of a node-level network gives the outputs itself, as published.
        widths = (*self.node_hidden, task.out_channels) if self.node_level else (channels,) * _LAYERS
        self.dropout = self.node_dropout if self.node_level and drops_much(task) else 0.0
        self.layers = self._stack(self.encoder.node_channels, widths, self.encoder.edge_channels)
        self.norms = nn.ModuleList(nn.Identity() if self.node_level else batch_norm(width) for width in widths)
        self.act = self.activation()
        self.head = None if self.node_level else Head(task, widths[-1], self.encoder.edge_channels)

    def _stack(self, channels: int, widths: Sequence[int], edge_channels: int) -> nn.ModuleList:
        layers = nn.ModuleList()
        for position, width in enumerate(widths):
            layers.append(self._convolution(channels, width, edge_channels, position == len(widths) - 1))
            channels = width
        return layers

    def _convolution(self, channels: int, width: int, edge_channels: int, last: bool) -> nn.Module:
        raise NotImplementedError(f"{type(self).__name__} does not say what its convolution is")

    def _convolve(self, layer: nn.Module, x: Tensor, edges: CompressedEdges, edge_attr: Tensor | None) -> Tensor:
        return layer(x, edges)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        batch: Tensor | None = None,
        num_graphs: int | None = None,
        graph_attr: Tensor | None = None,
    ) -> Tensor:
        x, edge_attr = self.encoder(x, edge_attr)
        edges = CompressedEdges(edge_index, x.size(0))
        for position, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            x = feature_dropout(x, self.dropout, self.training)
            x = norm(self._convolve(layer, x, edges, edge_attr))
            if self.head is not None or position < len(self.layers) - 1:
                x = self.act(x)
        return x if self.head is None else self.head(x, edge_index, edge_attr, batch, num_graphs, graph_attr)


class GCN(_Reference):
    """Graph convolutions (Kipf and Welling 2017); 64 hidden channels on node level. It reads no edge features."""

    def _convolution(self, channels: int, width: int, edge_channels: int, last: bool) -> nn.Module:
        return GCNLayer(channels, width)


class GraphSAGE(_Reference):
    """Sample and aggregate, with the mean (Hamilton et al. 2017), all neighbours kept. It reads no edge features."""

    def _convolution(self, channels: int, width: int, edge_channels: int, last: bool) -> nn.Module:
        return SAGELayer(channels, width)


class GAT(_Reference):
    """Graph attention (Velickovic et al. 2018); edge features enter the attention scores.

    Eight heads of eight channels, as published, and ELU; dropout 0.6 on node level where features are wide.
    """

    reads_edges: ClassVar[bool] = True
    node_dropout: ClassVar[float] = 0.6
    activation: ClassVar[type[nn.Module]] = nn.ELU

    def _convolution(self, channels: int, width: int, edge_channels: int, last: bool) -> nn.Module:
        outputs = self.node_level and last
        heads = 1 if outputs else _HEADS
        return GATLayer(channels, width // heads, heads, dropout=self.dropout, edge_dim=edge_channels or None)

    def _convolve(self, layer: nn.Module, x: Tensor, edges: CompressedEdges, edge_attr: Tensor | None) -> Tensor:
        return layer(x, edges, edge_attr)


class GIN(_Reference):
    """Graph isomorphism network (Xu et al. 2019); with edge features, GINE (Hu et al. 2020)."""

    reads_edges: ClassVar[bool] = True

    def _convolution(self, channels: int, width: int, edge_channels: int, last: bool) -> nn.Module:
        hidden = _CHANNELS if self.node_level else width
        perceptron = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, width))
        return GINLayer(perceptron, edge_dim=edge_channels or None)

    def _convolve(self, layer: nn.Module, x: Tensor, edges: CompressedEdges, edge_attr: Tensor | None) -> Tensor:
        return layer(x, edges, edge_attr)


class APPNP(nn.Module):
    """A perceptron whose predictions are propagated by personalised PageRank (Gasteiger et al. 2019).

    64 hidden channels, ten steps, teleport probability 0.1. It reads no edge features.
    """

    levels: ClassVar[frozenset[Level]] = frozenset(("node",))

    def __init__(self, task: Task) -> None:
        super().__init__()
        if task.level not in self.levels:
            raise ValueError(f"APPNP is for the level node; the task's is {task.level!r}")
        self.encoder = InputEncoder(_without_edges(task), _CHANNELS, _EDGE_CHANNELS)
        self.dropout = 0.5 if drops_much(task) else 0.0
        self.hidden = nn.Linear(self.encoder.node_channels, _CHANNELS)
        self.output = nn.Linear(_CHANNELS, task.out_channels)
        self.propagation = PropagationLayer(steps=10, teleport=0.1)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        batch: Tensor | None = None,
        num_graphs: int | None = None,
        graph_attr: Tensor | None = None,
    ) -> Tensor:
        x, _ = self.encoder(x, edge_attr)
        x = torch.relu(self.hidden(feature_dropout(x, self.dropout, self.training)))
        x = self.output(feature_dropout(x, self.dropout, self.training))
        return self.propagation(x, edge_index)
