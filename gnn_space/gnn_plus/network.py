"""The network of an architecture of `GNNPlusSpace`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from automl_plugins.spaces.plain_source import PlainSource
from automl_plugins.spaces.task import Task
from gnn_space.frame import Head, InputEncoder, TakesGraphs, batch_norm, feature_dropout, has_wide_features, scale_rows
from gnn_space.gnn_plus.messages import Drop, Ends, linear, make_message, with_edge_states
from gnn_space.gnn_plus.neighbourhood import Neighbourhood
from gnn_space.gnn_plus.sizes import GNNPlusSizes, NetworkOptions
from gnn_space.gnn_plus.source import gnn_plus_source
from gnn_space.positional import return_probabilities


class GNNPlusNetwork(TakesGraphs):
    """The network of one architecture of `GNNPlusSpace`.

    Args:
        options: of the network.
        task: what it must fit.
        sizes: of what is the same in every network.

    Shapes:
        x `[num_nodes, in_channels]`, dense or in CSR layout; edge_index `[2, num_edges]`; edge_attr
        `[num_edges, edge_channels]` where the task has edge channels; batch `[num_nodes]`, the
        graph of each node, None for a single graph; output
        `[num_nodes | num_edges | num_graphs, out_channels]` after the task's level.
    """

    def __init__(self, options: NetworkOptions, task: Task, sizes: GNNPlusSizes) -> None:
        super().__init__()
        self.options, self.sizes, self.task, self.level = options, sizes, task, task.level
        self.scales = options.scaling == "rows" and has_wide_features(task)
        channels, has_edge_states = options.channels, bool(with_edge_states(options.messages))
        by_message = options.output == "message" and task.level == "node"
        if task.level != "edge" and set(options.messages) == {"none"}:
            task = without_edges(task)
        if options.graph_features == "none":
            task = replace(task, graph_channels=0)
        self.encoder = InputEncoder(task, sizes.node_embedding, sizes.edge_embedding)
        edge_channels = self.encoder.edge_channels
        self.project = linear(self.encoder.node_channels, channels) if options.input == "linear" else None
        self.position = None
        if options.positional == "random-walk" and self.project is not None:
            self.position = linear(sizes.walk_length, channels, bias=False)
        self.edge_states = EdgeStates(edge_channels, channels) if has_edge_states else None
        *hidden, last = options.messages
        names = hidden if by_message else options.messages
        self.layers = nn.ModuleList()
        inputs = self.encoder.node_channels if self.project is None else channels
        for position, name in enumerate(names):
            is_read = task.level == "edge" or bool(with_edge_states(options.messages[position + 1 :]))
            updates = is_read and bool(with_edge_states([name]))
            ends = Ends(inputs, channels, channels, edge_channels, sizes.heads)
            # No residual leads round a change from features to states.
            residual = options.residual and (position > 0 or self.project is not None)
            self.layers.append(Layer(name, ends, options, residual, updates))
            inputs = channels
        if by_message:
            self.output: nn.Module = make_message(last, Ends(channels, task.out_channels, channels, edge_channels, 1))
        else:
            width = channels * len(names) if options.jumping == "concat" else channels
            self.output = Head(task, width, channels if has_edge_states else edge_channels, readout=options.readout)

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
        x = scale_rows(x) if self.scales else x
        # Torch's own draws: seeds of version 1 give the networks that they gave.
        drop = partial(
            feature_dropout, rate=self.options.dropout, training=self.training, draw=torch.nn.functional.dropout
        )
        graph = Neighbourhood(edge_index, edge_attr, x.size(0))
        if self.project is not None:
            x = self.project(x)
            if self.position is not None:
                x = x + self.position(walk_positions(x, edge_index, batch, num_graphs, self.sizes.walk_length))
        edges = None if self.edge_states is None else self.edge_states(edge_attr, edge_index)
        states = []
        for layer in cast(Iterable[Layer], self.layers):
            x, edges = layer(x, graph, edges, drop)
            states.append(x)
        if isinstance(self.output, Head):
            read = edge_attr if edges is None else edges
            outputs = self.output(drop(self._jump(states)), edge_index, read, batch, num_graphs, graph_attr)
        else:
            outputs = self.output(drop(x), graph, edges, drop)[0]
        if self.level == "node" and self.options.propagation:
            (outputs,) = propagated(outputs, graph, self.options.teleport, (self.options.propagation,))
        return outputs

    def plain_source(self) -> PlainSource:
        """See `automl_plugins.spaces.plain_source.HasPlainSource`."""
        return gnn_plus_source(self.options, self.task, self.sizes, self.scales)

    def _jump(self, states: Sequence[Tensor]) -> Tensor:
        if self.options.jumping == "concat":
            return torch.cat(list(states), dim=1)
        if self.options.jumping == "max":
            return torch.stack(list(states)).amax(dim=0)
        return states[-1]


class Layer(nn.Module):
    """A message, its normalisation, activation and residual, and a feed-forward block where there is one.

    Args:
        name: of the message.
        ends: its sizes.
        options: of the network.
        residual: whether the input is added to the output.
        updates_edges: whether the new edge states are read by anybody.
    """

    def __init__(self, name: str, ends: Ends, options: NetworkOptions, residual: bool, updates_edges: bool) -> None:
        super().__init__()
        channels = options.channels
        self.message = make_message(name, ends)
        self.norm = make_norm(options.norm, channels)
        self.edge_norm = make_norm(options.norm, channels) if updates_edges else None
        self.activation = make_activation(options.activation)
        self.residual = residual
        self.feed_forward = FeedForward(channels, options.norm) if options.feed_forward else None

    def forward(
        self, x: Tensor, graph: Neighbourhood, edges: Tensor | None, drop: Drop
    ) -> tuple[Tensor, Tensor | None]:
        received, updated = self.message(drop(x), graph, edges, drop)
        state = self.activation(self.norm(received))
        if self.residual:
            state = x + state
        if self.feed_forward is not None:
            state = self.feed_forward(state, drop)
        if self.edge_norm is not None and edges is not None:
            edges = edges + self.activation(self.edge_norm(updated))
        return state, edges


class FeedForward(nn.Module):
    """A perceptron twice as wide round which states are added, then a normalisation, as in GNN+ (Luo et al. 2025)."""

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.first = linear(channels, 2 * channels)
        self.second = linear(2 * channels, channels)
        self.norm = make_norm(norm, channels)

    def forward(self, x: Tensor, drop: Drop) -> Tensor:
        return self.norm(x + self.second(drop(torch.relu(self.first(x)))))


class EdgeStates(nn.Module):
    """The first edge states: a map of encoded features, or a learned constant where the task has none.

    Args:
        inputs: channels of encoded features; 0: there are none.
        channels: of edge states.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.features = linear(inputs, channels) if inputs else None
        self.constant = None if inputs else nn.Parameter(torch.randn(channels))

    def forward(self, edge_attr: Tensor | None, edge_index: Tensor) -> Tensor:
        if self.features is not None:
            return self.features(edge_attr)
        return cast(Tensor, self.constant).expand(edge_index.size(1), -1)


def without_edges(task: Task) -> Task:
    """The task of a network that reads no edge features: it embeds none, so it has no weights without a gradient."""
    return replace(task, edge_channels=0, edge_categories=())


def make_norm(name: str, channels: int) -> nn.Module:
    """The normalisation of states `[num_rows, channels]`: `none`, `batch` or `layer` (over a row's channels)."""
    if name == "batch":
        return batch_norm(channels)
    return nn.LayerNorm(channels) if name == "layer" else nn.Identity()


def make_activation(name: str) -> nn.Module:
    """An activation by its name."""
    return {"relu": nn.ReLU, "elu": nn.ELU}[name]()


def walk_positions(x: Tensor, edge_index: Tensor, batch: Tensor | None, num_graphs: int | None, steps: int) -> Tensor:
    """The return probabilities of random walks, for a batch or a single graph."""
    if batch is None:
        batch, num_graphs = edge_index.new_zeros(x.size(0)), 1
    count = int(batch.max()) + 1 if num_graphs is None else num_graphs
    return return_probabilities(edge_index, batch, count, steps, x.dtype)


def propagated(outputs: Tensor, graph: Neighbourhood, teleport: float, steps: Iterable[int]) -> list[Tensor]:
    """Outputs after some numbers of steps of personalised PageRank (APPNP, Gasteiger et al. 2019, equation 5)."""
    wanted, found, state = set(steps), [], outputs
    for step in range(1, max(wanted) + 1):
        state = (1 - teleport) * graph.convolve(state) + teleport * outputs
        if step in wanted:
            found.append(state)
    return found
