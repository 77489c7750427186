"""The parts around EGNAS's cells: first states, merged outputs and readout, the same in networks and supernets."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import global_max_pool, global_mean_pool

from automl_plugins.spaces.counting import part
from automl_plugins.spaces.task import Task
from gnn_space.egnas.operations import SLOPE
from gnn_space.egnas.plan import CellPlan, Kind
from gnn_space.egnas.sizes import EGNASSizes
from gnn_space.frame import (
    CategoricalEncoder,
    batch_norm,
    counted_sum,
    drops_much,
    feature_dropout,
    graph_features,
    has_wide_features,
    scale_rows,
)
from gnn_space.input_checks import check_features
from gnn_space.positional import laplacian_eigenvectors


class States(NamedTuple):
    """States of nodes `[num_nodes, node_channels]` and edges `[num_edges, edge_channels]`; None: nobody reads them."""

    nodes: Tensor | None
    edges: Tensor | None


class Merge(nn.Module):
    """A cell's output of one kind: all its states, rectified, concatenated and mapped back to one state's channels.

    Args:
        states: how many states there are.
        channels: of a state.
        hidden_channels: between the two linear maps.
        dropout: rate for the output.

    Shapes:
        states: `[num_rows, channels]` each; output `[num_rows, channels]`.
    """

    def __init__(self, states: int, channels: int, hidden_channels: int, dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(states * channels, hidden_channels)
        self.norm = batch_norm(hidden_channels)
        self.output = nn.Linear(hidden_channels, channels)
        self.dropout = dropout

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        joined = functional.leaky_relu(torch.cat(list(states), dim=1), SLOPE)
        hidden = functional.leaky_relu(self.norm(self.hidden(joined)), SLOPE)
        return functional.dropout(self.output(hidden), self.dropout, self.training)


class Sum(nn.Module):
    """A cell's output of one kind without maps: the sum of its new states, each rectified.

    Around a cell of one state it is the frame of hand-made layers: an operation, normalised, then the rectifier, and a
    residual connection around them.

    Args:
        dropout: rate for the output.

    Shapes:
        states: `[num_rows, channels]` each; output `[num_rows, channels]`.
    """

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        total = functools.reduce(torch.add, [state.relu() for state in states])
        return functional.dropout(total, self.dropout, self.training)


def make_merges(plan: CellPlan, sizes: EGNASSizes) -> nn.ModuleDict:
    """The merges of a cell's outputs, by kind."""
    if sizes.merge == "sum":
        return nn.ModuleDict({kind: Sum(sizes.dropout) for kind in ("node", "edge") if kind in plan.outputs})
    channels = {
        "node": (sizes.node_channels, sizes.merge_node_channels),
        "edge": (sizes.edge_channels, sizes.merge_edge_channels),
    }
    return nn.ModuleDict(
        {
            kind: part(Merge, plan.states, *channels[kind], sizes.dropout)
            for kind in ("node", "edge")
            if kind in plan.outputs
        }
    )


def merged(
    merges: nn.ModuleDict, sizes: EGNASSizes, nodes: Sequence[Tensor | None], edges: Sequence[Tensor | None]
) -> States:
    """A cell's outputs."""
    outputs: list[Tensor | None] = []
    for kind, states in (("node", nodes), ("edge", edges)):
        output = None
        if kind in merges:
            output = merges[kind]([states[state] for state in sizes.merged_states(len(states))])
            if sizes.residual:
                output = states[1] + output
        outputs.append(output)
    return States(*outputs)


class Embedding(nn.Module):
    """The first states: embedded categories, or linear maps of features.

    Rows of wide features are scaled, and in training dropped from by the cells' rate. Edges without features all have
    one learned state, as a linear map of a constant feature gives.
    Laplacian positional encodings, where the space has them, are mapped and added to the nodes.

    Args:
        task: what the inputs look like.
        sizes: the channels, and the number of positional encodings.
        kinds: which states are needed.
    """

    def __init__(self, task: Task, sizes: EGNASSizes, kinds: frozenset[Kind]) -> None:
        super().__init__()
        self.kinds = kinds
        self.task, self.edge_features = task, task.edge_channels
        self.scales = has_wide_features(task)
        self.dropout = sizes.dropout if drops_much(task) else 0.0
        self.positions = sizes.positional_encodings if "node" in kinds else 0
        if "node" in kinds:
            self.nodes = (
                CategoricalEncoder(task.node_categories, sizes.node_channels)
                if task.node_categories
                else nn.Linear(task.in_channels, sizes.node_channels, bias=False)
            )
        if self.positions:
            self.position = nn.Linear(self.positions, sizes.node_channels, bias=False)
        if "edge" in kinds:
            if task.edge_categories:
                self.edges: nn.Module = CategoricalEncoder(task.edge_categories, sizes.edge_channels)
            elif task.edge_channels:
                self.edges = nn.Linear(task.edge_channels, sizes.edge_channels)
            else:
                self.edge = nn.Parameter(torch.randn(sizes.edge_channels))

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None, batch: Tensor, num_graphs: int
    ) -> States:
        check_features(self.task, x, edge_attr)
        nodes = edges = None
        if "node" in self.kinds:
            x = scale_rows(x) if self.scales else x
            nodes = self.nodes(feature_dropout(x, self.dropout, self.training))
            if self.positions:
                vectors = laplacian_eigenvectors(edge_index, batch, num_graphs, self.positions, self.training)
                nodes = nodes + self.position(vectors.to(nodes.dtype))
        if "edge" in self.kinds:
            edges = self.edges(edge_attr) if self.edge_features else self.edge.expand(edge_index.size(1), -1)
        return States(nodes, edges)


class Readout(nn.Module):
    """From the last cell's states to the task's outputs, by a two-layer perceptron.

    Node level reads the nodes, edge level the edges, graph level mean and maximum of both (and the sum, where
    `sizes.sum_readout` says so), and features of the graph.

    Args:
        task: the level, and how many outputs.
        sizes: the channels.
    """

    def __init__(self, task: Task, sizes: EGNASSizes) -> None:
        super().__init__()
        self.level, self.graph_channels = task.level, task.graph_channels
        self.pools = [global_mean_pool, global_max_pool, *([counted_sum] if sizes.sum_readout else [])]
        channels = {
            "node": sizes.node_channels,
            "edge": sizes.edge_channels,
            "graph": len(self.pools) * (sizes.node_channels + sizes.edge_channels) + task.graph_channels,
        }[task.level]
        self.perceptron = nn.Sequential(
            nn.Linear(channels, sizes.node_channels),
            nn.LeakyReLU(SLOPE),
            nn.Linear(sizes.node_channels, task.out_channels),
        )

    def forward(
        self, states: States, edge_index: Tensor, batch: Tensor, num_graphs: int, graph_attr: Tensor | None = None
    ) -> Tensor:
        if self.level == "node":
            return self.perceptron(states.nodes)
        if self.level == "edge":
            return self.perceptron(states.edges)
        edge_batch = batch.index_select(0, edge_index[0])
        pooled = [
            pool(state, membership, num_graphs)
            for state, membership in ((states.nodes, batch), (states.edges, edge_batch))
            for pool in self.pools
        ]
        return self.perceptron(torch.cat([*pooled, *graph_features(graph_attr, self.graph_channels)], dim=1))


def membership(x: Tensor, batch: Tensor | None, num_graphs: int | None) -> tuple[Tensor, int]:
    """The graph of each node, and the number of graphs; a single graph where `batch` is None."""
    if batch is None:
        return torch.zeros(x.size(0), dtype=torch.long, device=x.device), 1
    if num_graphs is None:
        num_graphs = int(batch.max()) + 1 if len(batch) else 0
    return batch, num_graphs
