"""The network of one architecture of EGNAS's space, and what surrounds the cells of its supernet too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import global_max_pool, global_mean_pool

from automl_plugins.spaces.counting import part
from automl_plugins.spaces.task import Task
from gnn_space.egnas.operations import SLOPE, make_operation
from gnn_space.egnas.plan import CellPlan, Kind, StackPlan
from gnn_space.frame import CategoricalEncoder, TakesGraphs, batch_norm
from gnn_space.positional import laplacian_eigenvectors

if TYPE_CHECKING:
    from gnn_space.egnas import EGNASSpace


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


def make_merges(plan: CellPlan, space: EGNASSpace) -> nn.ModuleDict:
    """The merges of a cell's outputs, by kind."""
    sizes = {
        "node": (space.node_channels, space.merge_node_channels),
        "edge": (space.edge_channels, space.merge_edge_channels),
    }
    return nn.ModuleDict(
        {
            kind: part(Merge, plan.states, *sizes[kind], space.dropout)
            for kind in ("node", "edge")
            if kind in plan.outputs
        }
    )


class Cell(nn.Module):
    """A cell of an architecture: each state is the sum of a few operations on earlier ones.

    Args:
        plan: its operations.
        space: the channels.
    """

    def __init__(self, plan: CellPlan, space: EGNASSpace) -> None:
        super().__init__()
        self.plan = plan
        self.operations = nn.ModuleDict(
            {
                step.key: part(make_operation, step.operation, space.node_channels, space.edge_channels, affine=True)
                for step in plan.steps
                if step.has_weights
            }
        )
        self.merges = make_merges(plan, space)

    def forward(self, first: States, second: States, edge_index: Tensor) -> States:
        nodes, edges = [first.nodes, second.nodes], [first.edges, second.edges]
        for target in range(2, self.plan.states):
            new_nodes = self._incoming("node", target, nodes, edges, edge_index)
            new_edges = self._incoming("edge", target, nodes, edges, edge_index)
            nodes.append(new_nodes)
            edges.append(new_edges)
        return merged(self.merges, nodes, edges)

    def _incoming(
        self, kind: Kind, target: int, nodes: list[Tensor | None], edges: list[Tensor | None], edge_index: Tensor
    ) -> Tensor | None:
        total: Tensor | None = None
        for step in self.plan.into(kind, target):
            if step.has_weights:
                result = self.operations[step.key](nodes[step.source], edges[step.source], edge_index)
            else:
                result = (nodes if kind == "node" else edges)[step.source]
            total = result if total is None else total + result
        return total


def merged(merges: nn.ModuleDict, nodes: Sequence[Tensor | None], edges: Sequence[Tensor | None]) -> States:
    """A cell's outputs."""
    return States(
        merges["node"](nodes) if "node" in merges else None, merges["edge"](edges) if "edge" in merges else None
    )


class Embedding(nn.Module):
    """The first states: embedded categories, or linear maps of features.

    Edges without features all have one learned state, as a linear map of a constant feature gives.
    Laplacian positional encodings, where the space has them, are mapped and added to the nodes.

    Args:
        task: what the inputs look like.
        space: the channels, and the number of positional encodings.
        kinds: which states are needed.
    """

    def __init__(self, task: Task, space: EGNASSpace, kinds: frozenset[Kind]) -> None:
        super().__init__()
        self.kinds = kinds
        self.edge_features = task.edge_channels
        self.positions = space.positional_encodings if "node" in kinds else 0
        if "node" in kinds:
            self.nodes = (
                CategoricalEncoder(task.node_categories, space.node_channels)
                if task.node_categories
                else nn.Linear(task.in_channels, space.node_channels, bias=False)
            )
        if self.positions:
            self.position = nn.Linear(self.positions, space.node_channels, bias=False)
        if "edge" in kinds:
            if task.edge_categories:
                self.edges: nn.Module = CategoricalEncoder(task.edge_categories, space.edge_channels)
            elif task.edge_channels:
                self.edges = nn.Linear(task.edge_channels, space.edge_channels)
            else:
                self.edge = nn.Parameter(torch.randn(space.edge_channels))

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None, batch: Tensor, num_graphs: int
    ) -> States:
        if self.edge_features and edge_attr is None:
            raise ValueError(f"the network's task has {self.edge_features} edge channels, but edge_attr is None")
        nodes = edges = None
        if "node" in self.kinds:
            nodes = self.nodes(x)
            if self.positions:
                vectors = laplacian_eigenvectors(edge_index, batch, num_graphs, self.positions, self.training)
                nodes = nodes + self.position(vectors.to(nodes.dtype))
        if "edge" in self.kinds:
            edges = self.edges(edge_attr) if self.edge_features else self.edge.expand(edge_index.size(1), -1)
        return States(nodes, edges)


class Readout(nn.Module):
    """From the last cell's states to the task's outputs, by a two-layer perceptron.

    Node level reads the nodes, edge level the edges, graph level mean and maximum of both.

    Args:
        task: the level, and how many outputs.
        space: the channels.
    """

    def __init__(self, task: Task, space: EGNASSpace) -> None:
        super().__init__()
        self.level = task.level
        channels = {
            "node": space.node_channels,
            "edge": space.edge_channels,
            "graph": 2 * (space.node_channels + space.edge_channels),
        }[task.level]
        self.perceptron = nn.Sequential(
            nn.Linear(channels, space.node_channels),
            nn.LeakyReLU(SLOPE),
            nn.Linear(space.node_channels, task.out_channels),
        )

    def forward(self, states: States, edge_index: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        if self.level == "node":
            return self.perceptron(states.nodes)
        if self.level == "edge":
            return self.perceptron(states.edges)
        edge_batch = batch.index_select(0, edge_index[0])
        pooled = [
            pool(state, membership, num_graphs)
            for state, membership in ((states.nodes, batch), (states.edges, edge_batch))
            for pool in (global_mean_pool, global_max_pool)
        ]
        return self.perceptron(torch.cat(pooled, dim=1))


class EGNASNetwork(TakesGraphs):
    """The network of one architecture of `EGNASSpace`.

    Args:
        plan: what its cells compute.
        task: what it must fit.
        space: the channels.

    Shapes:
        x `[num_nodes, in_channels]`; edge_index `[2, num_edges]`; edge_attr `[num_edges,
        edge_channels]` where the task has edge channels; batch `[num_nodes]`, the graph of each
        node, None for a single graph; output `[num_nodes | num_edges | num_graphs, out_channels]`
        after the task's level.
    """

    def __init__(self, plan: StackPlan, task: Task, space: EGNASSpace) -> None:
        super().__init__()
        self.embedding = Embedding(task, space, plan.embedded)
        self.cells = nn.ModuleList(Cell(cell, space) for cell in plan.cells)
        self.readout = Readout(task, space)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        batch: Tensor | None = None,
        num_graphs: int | None = None,
    ) -> Tensor:
        batch, num_graphs = membership(x, batch, num_graphs)
        states = [self.embedding(x, edge_index, edge_attr, batch, num_graphs)] * 2
        for cell in self.cells:
            states.append(cell(states[-2], states[-1], edge_index))
        return self.readout(states[-1], edge_index, batch, num_graphs)


def membership(x: Tensor, batch: Tensor | None, num_graphs: int | None) -> tuple[Tensor, int]:
    """The graph of each node, and the number of graphs; a single graph where `batch` is None."""
    if batch is None:
        return torch.zeros(x.size(0), dtype=torch.long, device=x.device), 1
    if num_graphs is None:
        num_graphs = int(batch.max()) + 1 if len(batch) else 0
    return batch, num_graphs
