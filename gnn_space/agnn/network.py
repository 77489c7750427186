"""The network of an architecture of AGNN's space."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from automl_plugins.spaces.plain_source import PlainSource
from automl_plugins.spaces.task import Task
from gnn_space.agnn.sizes import AGNNSizes, LayerOptions
from gnn_space.agnn.source import agnn_source
from gnn_space.compressed import CompressedEdges
from gnn_space.frame import Head, InputEncoder, TakesGraphs, feature_dropout, has_wide_features, scale_rows
from gnn_space.operations import ACTIVATIONS, AttentionLayer


class ScaledEncoder(InputEncoder):
    """An encoder that scales the rows of wide real-valued features, see `gnn_space.frame.scale_rows`.

    Narrow ones, which may be measurements, pass as they are.
    """

    def __init__(self, task: Task, node_embedding: int, edge_embedding: int) -> None:
        super().__init__(task, node_embedding, edge_embedding)
        self.scales = has_wide_features(task)

    def forward(self, x: Tensor, edge_attr: Tensor | None) -> tuple[Tensor, Tensor | None]:
        x, edge_attr = super().forward(x, edge_attr)
        return scale_rows(x) if self.scales else x, edge_attr


class AGNNNetwork(TakesGraphs):
    """The network of one architecture of `AGNNSpace`.

    Args:
        layers: the options of each layer, from the first to the last.
        task: what it must fit.
        sizes: of what surrounds the layers.

    Shapes:
        x `[num_nodes, in_channels]`, dense or in CSR layout; edge_index `[2, num_edges]`; edge_attr
        `[num_edges, edge_channels]` where the task has edge channels; batch `[num_nodes]`, the
        graph of each node, None for a single graph; output
        `[num_nodes | num_edges | num_graphs, out_channels]` after the task's level.
    """

    def __init__(self, layers: Sequence[LayerOptions], task: Task, sizes: AGNNSizes) -> None:
        super().__init__()
        self.options, self.task, self.sizes = tuple(layers), task, sizes
        self.dropout = sizes.dropout
        self.encoder = ScaledEncoder(task, sizes.node_embedding, sizes.edge_embedding)
        self.layers = nn.ModuleList()
        self.norms = nn.ModuleList()
        self.activations = nn.ModuleList()
        self.skips = nn.ModuleList()
        channels = self.encoder.node_channels
        for position, layer in enumerate(layers):
            options = layer._asdict()
            activation = ACTIVATIONS[options.pop("activation")]()
            edge_channels = self.encoder.edge_channels
            self.layers.append(AttentionLayer(channels, **options, edge_channels=edge_channels, dropout=sizes.dropout))
            width = layer.heads * layer.hidden_channels
            self.norms.append(sizes.make_norm(width) or nn.Identity())
            self.activations.append(activation)
            if sizes.skip_connections and position > 0:
                self.skips.append(nn.Identity() if width == channels else nn.Linear(channels, width, bias=False))
            channels = width
        self.head = Head(task, channels, self.encoder.edge_channels)

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
        loops, loop_attr = with_self_loops(edge_index, edge_attr, x.size(0))
        edges = CompressedEdges(loops, x.size(0))
        for position, layer in enumerate(self.layers):
            state = feature_dropout(x, self.dropout, self.training)
            state = self.activations[position](self.norms[position](layer(state, edges, loop_attr)))
            x = state + self.skips[position - 1](x) if self.skips and position > 0 else state
        if self.head.level == "node":
            x = feature_dropout(x, self.dropout, self.training)
        return self.head(x, edge_index, edge_attr, batch, num_graphs, graph_attr)

    def plain_source(self) -> PlainSource:
        """See `automl_plugins.spaces.plain_source.HasPlainSource`."""
        return agnn_source(self.options, self.task, self.sizes, self.encoder.scales)


def with_self_loops(edge_index: Tensor, edge_attr: Tensor | None, num_nodes: int) -> tuple[Tensor, Tensor | None]:
    """Give every node without a self-loop one, without features: its edge term is zero.

    PyG's function keeps one loop of a node that has several, and which one is settled by their order.
    """
    missing = torch.ones(num_nodes, dtype=torch.bool, device=edge_index.device)
    missing[edge_index[0, edge_index[0] == edge_index[1]]] = False
    nodes = missing.nonzero().flatten()
    edge_index = torch.cat([edge_index, nodes.expand(2, -1)], dim=1)
    if edge_attr is None:
        return edge_index, None
    return edge_index, torch.cat([edge_attr, edge_attr.new_zeros(nodes.size(0), edge_attr.size(1))])
