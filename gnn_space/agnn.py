"""AGNN's macro search space: six action classes in every layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from automl_plugins.architecture import Architecture
from automl_plugins.choice import Choice
from automl_plugins.space import Operation, SearchSpace
from automl_plugins.task import Level, Task
from gnn_space.frame import Head, InputEncoder, batch_norm, feature_dropout
from gnn_space.operations import ACTIVATIONS, AGGREGATIONS, ATTENTIONS, COMBINES, AttentionLayer

HIDDEN_CHANNELS = (4, 8, 16, 32, 64, 128, 256)
HEADS = (1, 2, 4, 6, 8, 16)


class AGNNSpace(SearchSpace):
    """The space of Auto-GNN (Zhou, Song, Huang and Hu, Frontiers in Big Data 2022, section 3.1).

    Each layer has six independent choices: hidden channels of a head, attention function,
    attention heads, aggregation, combine function and activation, 14,112 combinations in all. See
    `gnn_space.operations.AttentionLayer` for what they compute and how edge features enter.

    Where we depart from the paper: the last layer is searched like the others, heads
    concatenated, and a linear map from it gives the outputs, so that all of its choices count on every task.

    Args:
        layers: number of layers.
        skip_connections: add every layer's input (through a linear map where widths differ) to
            its output, from the second layer on, as the paper does for its inductive task.
        batch_norm: normalise before each activation.
        dropout: rate for the inputs of each layer and for attention coefficients while training; the paper's
            is 0.6. `constant` attention has no coefficients to drop.
        node_embedding: channels that categorical node features are embedded in.
        edge_embedding: channels that categorical edge features are embedded in.
        max_parameters: networks with more trainable parameters are refused before they are built.

    Raises:
        ValueError: fewer than one layer or channel, or a dropout rate outside [0, 1).
    """

    name: ClassVar[str] = "agnn"
    version: ClassVar[int] = 1
    levels: ClassVar[frozenset[Level]] = frozenset(("node", "edge", "graph"))

    def __init__(
        self,
        layers: int = 2,
        skip_connections: bool = False,
        batch_norm: bool = False,
        dropout: float = 0.6,
        node_embedding: int = 64,
        edge_embedding: int = 16,
        max_parameters: int | None = None,
    ) -> None:
        for argument, value in (
            ("layers", layers),
            ("node_embedding", node_embedding),
            ("edge_embedding", edge_embedding),
        ):
            if value < 1:
                raise ValueError(f"{argument} is at least 1; got {value}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is at least 0 and less than 1; got {dropout}")
        self.layers = layers
        self.skip_connections = skip_connections
        self.batch_norm = batch_norm
        self.dropout = dropout
        self.node_embedding = node_embedding
        self.edge_embedding = edge_embedding
        super().__init__([choice for layer in range(layers) for choice in _layer_choices(layer)], max_parameters)

    def build(self, architecture: Architecture, task: Task) -> AGNNNetwork:
        return AGNNNetwork(architecture, task, self)

    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        operations = [Operation("input", "input")]
        for layer in range(self.layers):
            prefix, previous = f"layer{layer}.", operations[-1].name
            heads, hidden = architecture[prefix + "heads"], architecture[prefix + "hidden_channels"]
            steps = (
                ("transform", f"linear to {heads} x {hidden}", ("hidden_channels", "heads")),
                ("attention", f"{architecture[prefix + 'attention']} attention", ("attention",)),
                ("aggregation", f"{architecture[prefix + 'aggregation']} aggregation", ("aggregation",)),
                ("combine", f"{architecture[prefix + 'combine']} combine", ("combine",)),
                ("activation", f"{architecture[prefix + 'activation']} activation", ("activation",)),
            )
            for step, label, choices in steps:
                source = (operations[-1].name,)
                operations.append(Operation(prefix + step, label, source, tuple(prefix + choice for choice in choices)))
            if self.skip_connections and layer > 0:
                operations.append(Operation(prefix + "skip", "skip connection", (operations[-1].name, previous)))
        operations.append(Operation("output", "output", (operations[-1].name,)))
        return operations


def _layer_choices(layer: int) -> tuple[Choice, ...]:
    return (
        Choice(f"layer{layer}.hidden_channels", HIDDEN_CHANNELS),
        Choice(f"layer{layer}.attention", ATTENTIONS),
        Choice(f"layer{layer}.heads", HEADS),
        Choice(f"layer{layer}.aggregation", AGGREGATIONS),
        Choice(f"layer{layer}.combine", COMBINES),
        Choice(f"layer{layer}.activation", tuple(ACTIVATIONS)),
    )


class AGNNNetwork(nn.Module):
    """The network of one architecture of `AGNNSpace`.

    Shapes:
        x `[num_nodes, in_channels]`, dense or in CSR layout; edge_index `[2, num_edges]`; edge_attr
        `[num_edges, edge_channels]` where the task has edge channels; batch `[num_nodes]`, the
        graph of each node, None for a single graph; output
        `[num_nodes | num_edges | num_graphs, out_channels]` after the task's level.
    """

    def __init__(self, architecture: Architecture, task: Task, space: AGNNSpace) -> None:
        super().__init__()
        self.dropout = space.dropout
        self.encoder = InputEncoder(task, space.node_embedding, space.edge_embedding)
        self.layers = nn.ModuleList()
        self.norms = nn.ModuleList()
        self.activations = nn.ModuleList()
        self.skips = nn.ModuleList()
        channels = self.encoder.node_channels
        for layer in range(space.layers):
            values: dict[str, Any] = {choice.kind: architecture[choice.name] for choice in _layer_choices(layer)}
            activation = ACTIVATIONS[values.pop("activation")]()
            convolution = AttentionLayer(
                channels, edge_channels=self.encoder.edge_channels, dropout=space.dropout, **values
            )
            width = convolution.heads * convolution.hidden_channels
            self.layers.append(convolution)
            self.norms.append(batch_norm(width) if space.batch_norm else nn.Identity())
            self.activations.append(activation)
            if space.skip_connections and layer > 0:
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
    ) -> Tensor:
        x, edge_attr = self.encoder(x, edge_attr)
        loops, loop_attr = _with_self_loops(edge_index, edge_attr, x.size(0))
        for position, layer in enumerate(self.layers):
            state = feature_dropout(x, self.dropout, self.training)
            state = self.activations[position](self.norms[position](layer(state, loops, loop_attr)))
            x = state + self.skips[position - 1](x) if self.skips and position > 0 else state
        if self.head.level == "node":
            x = feature_dropout(x, self.dropout, self.training)
        return self.head(x, edge_index, edge_attr, batch, num_graphs)


def _with_self_loops(edge_index: Tensor, edge_attr: Tensor | None, num_nodes: int) -> tuple[Tensor, Tensor | None]:
    """Give every node without a self-loop one, without features: its edge term is zero.

    PyG's function keeps one loop of a node that has several, and which one is settled by their order.
    """
    missing = torch.ones(num_nodes, dtype=torch.bool, device=edge_index.device)
    missing[edge_index[0, edge_index[0] == edge_index[1]]] = False
    nodes = missing.nonzero().flatten()
    edge_index = torch.cat([edge_index, nodes.expand(2, -1)], dim=1)
    if edge_attr is None:
        return edge_index, None
    return edge_index, torch.cat([edge_attr, edge_attr.new_zeros(len(nodes), edge_attr.size(1))])
