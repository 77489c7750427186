"""The network of one architecture of NAS-Bench-Graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins.spaces.task import Task
from gnn_space.compressed import CompressedEdges
from gnn_space.frame import InputEncoder, TakesGraphs, batch_norm, feature_dropout
from gnn_space.nas_bench_graph.links import NODES, leaves_of, raw_nodes, source_of
from gnn_space.nas_bench_graph.operations import LAYERS, SKIP


@dataclass(frozen=True)
class Sizes:
    """Numbers of the networks.

    Args:
        channels: of each node.
        output_layers: linear maps behind the nodes, 1 or 2.
        dropout: rate at which features and what operations read are dropped while training.
        node_embedding: channels that categorical node features are embedded in.

    Raises:
        ValueError: a number out of range.
    """

    channels: int = 256
    output_layers: int = 2
    dropout: float = 0.5
    node_embedding: int = 64

    def __post_init__(self) -> None:
        if self.channels < 4 or self.channels % 4:
            raise ValueError(f"channels is a multiple of 4, those of attention's heads; got {self.channels}")
        if self.output_layers not in (1, 2):
            raise ValueError(f"output_layers is 1 or 2; got {self.output_layers}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is at least 0 and less than 1; got {self.dropout}")
        if self.node_embedding < 1:
            raise ValueError(f"node_embedding is at least 1; got {self.node_embedding}")

    def joined_channels(self, task: Task) -> int:
        """The channels of what is made of the nodes that go to the output."""
        return self.channels if self.output_layers == 2 else task.out_channels

    def last_layer(self, task: Task) -> nn.Module:
        """The map from there to the outputs."""
        return nn.Linear(self.channels, task.out_channels) if self.output_layers == 2 else nn.Identity()


class Node(nn.Module):
    """An operation with weights, and the normalisation of what it reads, unless that is the features.

    Shapes:
        x `[num_nodes, in_channels]`, in CSR layout too; output `[num_nodes, channels]`.
    """

    def __init__(self, operation: str, in_channels: int, sizes: Sizes, reads_features: bool) -> None:
        super().__init__()
        self.dropout = sizes.dropout
        self.norm = None if reads_features else batch_norm(in_channels)
        self.operation = LAYERS[operation](in_channels, sizes.channels)

    def forward(self, x: Tensor, edges: CompressedEdges) -> Tensor:
        if self.norm is not None:
            x = feature_dropout(functional.relu(self.norm(x)), self.dropout, self.training)
        return self.operation(x, edges)


class NASBenchGraphNetwork(TakesGraphs):
    """The network of one architecture of `NASBenchGraphSpace`.

    Args:
        link: the node that each node reads, by digits.
        operations: of the nodes, in order.
        task: what it must fit.
        sizes: its numbers.

    Shapes:
        x `[num_nodes, in_channels]`, dense or in CSR layout; edge_index `[2, num_edges]`; output
        `[num_nodes, out_channels]`.
    """

    def __init__(self, link: str, operations: Sequence[str], task: Task, sizes: Sizes) -> None:
        super().__init__()
        self.link, self.dropout = link, sizes.dropout
        self.encoder = InputEncoder(task, sizes.node_embedding, 1)
        features = self.encoder.node_channels
        raw = raw_nodes(link, operations)
        self.nodes = nn.ModuleDict()
        for node, operation in zip(NODES, operations, strict=True):
            if operation != SKIP:
                reads_features = source_of(link, node) in raw
                inputs = features if reads_features else sizes.channels
                self.nodes[str(node)] = Node(operation, inputs, sizes, reads_features)
        self.read = tuple(leaf for leaf in leaves_of(link) if leaf not in raw)
        """The nodes that go to the output; none: the features do."""
        width = sizes.channels * len(self.read) if self.read else features
        self.join = nn.Linear(width, sizes.joined_channels(task))
        self.output = sizes.last_layer(task)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        batch: Tensor | None = None,
        num_graphs: int | None = None,
        graph_attr: Tensor | None = None,
    ) -> Tensor:
        x = feature_dropout(self.encoder(x, None)[0], self.dropout, self.training)
        edges = CompressedEdges(edge_index, x.size(0))
        states = {0: x}
        for node in NODES:
            state = states[source_of(self.link, node)]
            states[node] = self.nodes[str(node)](state, edges) if str(node) in self.nodes else state
        joined = functional.relu(torch.cat([states[leaf] for leaf in self.read], dim=1)) if self.read else x
        return cast(Tensor, self.output(self.join(joined)))
