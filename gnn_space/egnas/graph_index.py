"""Rows of nodes and edges, gathered and reduced along the edges of a graph, for several operations side by side."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from automl_plugins.supernets.derivatives import HandWritten


def _copies(positions: Tensor, count: int, size: int) -> Tensor:
    """Positions in `count` copies, one after the other, of what has `size` rows."""
    copies = torch.arange(count, device=positions.device).unsqueeze(1)
    return (positions + copies * size).flatten()


class _Ends:
    """The nodes at one end of the edges.

    Args:
        nodes: `[num_edges]`, the node of each edge.
        num_nodes: of the graph.
    """

    def __init__(self, nodes: Tensor, num_nodes: int) -> None:
        self.nodes = nodes
        self.num_nodes = num_nodes
        self.degree = torch.bincount(nodes, minlength=num_nodes)
        self._order = nodes.argsort()
        self._repeated: dict[int, tuple[Tensor, Tensor]] = {}

    def repeated(self, count: int) -> tuple[Tensor, Tensor]:
        """The edges of `count` copies of the graph by their nodes, and where those of each node begin."""
        if count not in self._repeated:
            starts = functional.pad(self.degree.repeat(count).cumsum(0), (1, 0))
            self._repeated[count] = _copies(self._order, count, len(self.nodes)), starts
        return self._repeated[count]


# Two linear maps, each the transpose of the other: their derivatives of every order are they themselves.
# torch's own gather is transposed by an addition in random order, which takes twice the time of sums by node.


class _Gather(HandWritten):
    """The row of each edge's node, from `[count, num_nodes, channels]` to `[count, num_edges, channels]`."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, ends: _Ends) -> Tensor:
        ctx.ends = ends
        return rows.index_select(1, ends.nodes)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Sum.apply(gradient, ctx.ends), None


class _Sum(HandWritten):
    """The sum over each node's edges, from `[count, num_edges, channels]` to `[count, num_nodes, channels]`."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, ends: _Ends) -> Tensor:
        ctx.ends = ends
        count, num_edges, channels = rows.shape
        if num_edges == 0:
            return rows.new_zeros(count, ends.num_nodes, channels)
        order, starts = ends.repeated(count)
        rows = rows.reshape(-1, channels)
        total = functional.embedding_bag(order, rows, starts, mode="sum", include_last_offset=True)
        return total.view(count, ends.num_nodes, channels)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Gather.apply(gradient, ctx.ends), None


class GraphIndex:
    """The edges of a graph. Rows of nodes are `[count, num_nodes, channels]`, of edges `[count, num_edges, channels]`.

    Args:
        edge_index: `[2, num_edges]`, sources and targets.
        num_nodes: of the graph.
    """

    def __init__(self, edge_index: Tensor, num_nodes: int) -> None:
        self.edge_index = edge_index
        self._sources, self._targets = (_Ends(nodes, num_nodes) for nodes in edge_index)

    @property
    def in_degree(self) -> Tensor:
        """The number of incoming edges, `[num_nodes]`."""
        return self._targets.degree

    def of_sources(self, nodes: Tensor) -> Tensor:
        """The row of each edge's source."""
        return cast(Tensor, _Gather.apply(nodes, self._sources))

    def of_targets(self, nodes: Tensor) -> Tensor:
        """The row of each edge's target."""
        return cast(Tensor, _Gather.apply(nodes, self._targets))

    def sum(self, edges: Tensor) -> Tensor:
        """The sum over each node's incoming edges."""
        return cast(Tensor, _Sum.apply(edges, self._targets))

    def max(self, edges: Tensor) -> Tensor:
        """The maximum over each node's incoming edges, zero without any; edges that tie share its gradient evenly."""
        with torch.no_grad():
            largest = self.of_targets(self._max(edges))
            largest = torch.eq(edges, largest, out=largest)
            count = self.sum(largest).clamp_(min=1.0)
        return self.sum(edges * largest) / count

    def _max(self, edges: Tensor) -> Tensor:
        rows = edges.flatten(0, 1)
        most = rows.new_zeros(len(edges) * self._targets.num_nodes, rows.size(1))
        index = _copies(self._targets.nodes, len(edges), self._targets.num_nodes).unsqueeze(1).expand_as(rows)
        return most.scatter_reduce_(0, index, rows, "amax", include_self=False).unflatten(0, (len(edges), -1))
