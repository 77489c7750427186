"""An order of a graph's nodes and edges in which sums and maxima over incoming edges are sums and maxima of slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

_SHORTEST_MEAN_SLICE = 32
"""With fewer edges a slice, calls cost more than scattering does: a few nodes have very many incoming edges."""


class EdgeOrder:
    """Nodes by falling in-degree, edges by their rank among a target's edges, then by target.

    The first incoming edges of all nodes come first, then the second ones, and so on: what is called
    jagged diagonals for sparse matrices. Within a rank the edges lead to nodes 0, 1, 2, ...; so a sum over
    incoming edges adds slices of edge rows to the first rows of the result, without indices, and
    what nodes give to their edges is read in slices too. If a few nodes have very many incoming
    edges, there would be too many slices, and indices are used.

    Args:
        edge_index: `[2, num_edges]`, sources and targets.
        num_nodes: of the graph.

    Attributes:
        nodes: `[num_nodes]`, which node stands at each position.
        edges: `[num_edges]`, which edge stands at each position.
        source: `[num_edges]`, the position of each ordered edge's source.
        target: `[num_edges]`, the position of each ordered edge's target.
        in_degree: `[num_nodes]`, of the ordered nodes.
    """

    def __init__(self, edge_index: Tensor, num_nodes: int) -> None:
        count = edge_index.size(1)
        in_degree = torch.bincount(edge_index[1], minlength=num_nodes)
        self.nodes = in_degree.argsort(descending=True, stable=True)
        self.in_degree = in_degree.index_select(0, self.nodes)
        self._position = torch.empty_like(self.nodes)
        self._position[self.nodes] = torch.arange(num_nodes, device=edge_index.device)
        source, target = self._position.index_select(0, edge_index.flatten()).view(2, count)

        by_target = target.argsort(stable=True)
        starts = self.in_degree.cumsum(0) - self.in_degree
        target = target.index_select(0, by_target)
        rank = torch.arange(count, device=edge_index.device) - starts.index_select(0, target)
        by_rank = (rank * num_nodes + target).argsort()
        self.edges = by_target.index_select(0, by_rank)
        self.source = source.index_select(0, self.edges)
        self.target = target.index_select(0, by_rank)
        lengths: list[int] = torch.bincount(rank).tolist()
        self._lengths = lengths if count >= _SHORTEST_MEAN_SLICE * len(lengths) or len(lengths) <= 8 else None

        self._by_source = self.source.argsort()
        out_degree = torch.bincount(self.source, minlength=num_nodes)
        self._source_starts = functional.pad(out_degree.cumsum(0), (1, 0))

    @property
    def edge_index(self) -> Tensor:
        """`[2, num_edges]`, of ordered nodes and edges."""
        return torch.stack([self.source, self.target])

    def original_nodes(self, rows: Tensor) -> Tensor:
        """Rows of ordered nodes `[num_nodes, channels]` in the order that the graph came in."""
        return rows.index_select(0, self._position)

    def original_edges(self, rows: Tensor) -> Tensor:
        """Rows of ordered edges `[num_edges, channels]` in the order that the graph came in."""
        position = torch.empty_like(self.edges)
        position[self.edges] = torch.arange(len(self.edges), device=self.edges.device)
        return rows.index_select(0, position)

    # Between rows of edges [num_edges, channels] and rows of nodes [num_nodes, channels]; without gradients.

    def _slices(self, lengths: list[int]) -> Iterator[tuple[slice, slice]]:
        """Rows of edges, and the rows of their targets."""
        start = 0
        for length in lengths:
            yield slice(start, start + length), slice(0, length)
            start += length

    def sum_over_targets(self, edges: Tensor) -> Tensor:
        """For each node, the sum over its incoming edges."""
        total = edges.new_zeros(len(self.nodes), edges.size(1))
        if self._lengths is None:
            return total.index_add_(0, self.target, edges)
        for rows, targets in self._slices(self._lengths):
            total[targets].add_(edges[rows])
        return total

    def sum_of_products(self, left: Tensor, right: Tensor) -> Tensor:
        """For each node, the sum of `left * right` over its incoming edges."""
        if self._lengths is None:
            return self.sum_over_targets(left * right)
        total = left.new_zeros(len(self.nodes), left.size(1))
        for rows, targets in self._slices(self._lengths):
            total[targets].addcmul_(left[rows], right[rows])
        return total

    def max_over_targets(self, edges: Tensor) -> Tensor:
        """For each node, the maximum over its incoming edges; zero without any."""
        most = edges.new_zeros(len(self.nodes), edges.size(1))
        if self._lengths is None:
            index = self.target.unsqueeze(1).expand_as(edges)
            return most.scatter_reduce_(0, index, edges, "amax", include_self=False)
        for rank, (rows, targets) in enumerate(self._slices(self._lengths)):
            if rank == 0:
                most[targets] = edges[rows]
            else:
                torch.maximum(most[targets], edges[rows], out=most[targets])
        return most

    def with_targets_(self, operation: Callable[[Tensor, Tensor], Tensor], edges: Tensor, nodes: Tensor) -> Tensor:
        """Change each edge's row by that of its target, in place.

        Args:
            operation: changes its first argument by its second, such as `Tensor.mul_`.
            edges: what is changed.
            nodes: what it is changed by.
        """
        if self._lengths is None:
            operation(edges, nodes.index_select(0, self.target))
        else:
            for rows, targets in self._slices(self._lengths):
                operation(edges[rows], nodes[targets])
        return edges

    def of_sources(self, nodes: Tensor) -> Tensor:
        """For each edge, the row of its source."""
        return nodes.index_select(0, self.source)

    def sum_over_sources(self, edges: Tensor) -> Tensor:
        """For each node, the sum over its outgoing edges."""
        if not len(edges):
            return edges.new_zeros(len(self.nodes), edges.size(1))
        return functional.embedding_bag(
            self._by_source, edges, self._source_starts, mode="sum", include_last_offset=True
        )
