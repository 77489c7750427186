"""A graph as messages read it: compressed edges, and what their features come to at nodes."""

from __future__ import annotations

from functools import cached_property

from torch import Tensor
from torch_geometric.utils import scatter

from gnn_space.compressed import CompressedEdges
from gnn_space.dmpnn import reverse_edges
from gnn_space.layers import looped_features, normalised_sum


class Neighbourhood:
    """The edges of a batch during one forward pass; what several layers need is computed once.

    Args:
        edge_index: `[2, num_edges]`.
        edge_attr: encoded features, `[num_edges, edge_channels]`, or None.
        num_nodes: how many nodes there are.
    """

    def __init__(self, edge_index: Tensor, edge_attr: Tensor | None, num_nodes: int) -> None:
        self.edges = CompressedEdges(edge_index, num_nodes)
        self.edge_attr = edge_attr
        self.num_nodes = num_nodes

    @cached_property
    def reverse(self) -> Tensor:
        """The place of the edge that leads back, for each edge; see `gnn_space.dmpnn.reverse_edges`."""
        return reverse_edges(self.edges.edge_index, self.num_nodes)

    @cached_property
    def looped_attr(self) -> Tensor | None:
        """Features of `edges.looped`: a self-loop's are the mean of those of the edges that lead to its node."""
        return None if self.edge_attr is None else looped_features(self.edge_attr, self.edges)

    def convolve(self, x: Tensor) -> Tensor:
        """Propagate states `[num_nodes, channels]` by the symmetrically normalised adjacency with self-loops."""
        return normalised_sum(x, self.edges)

    @cached_property
    def convolved_attr(self) -> Tensor | None:
        """The sum of the features of `edges.looped` that each node receives under a graph convolution's weights."""
        if self.looped_attr is None:
            return None
        edges = self.edges.looped
        scale = edges.in_degree.to(self.looped_attr.dtype).rsqrt().unsqueeze(1)
        weighted = self.looped_attr * scale.index_select(0, edges.source)
        return scale * scatter(weighted, edges.target, 0, self.num_nodes, reduce="sum")

    def settle(self) -> None:
        """Compute what messages read of the features of edges, so that none of them does it for all others."""
        _ = self.looped_attr, self.convolved_attr, self.mean_attr

    @cached_property
    def mean_attr(self) -> Tensor | None:
        """The mean of the features of the edges that lead to each node."""
        if self.edge_attr is None:
            return None
        return scatter(self.edge_attr, self.edges.target, 0, self.num_nodes, reduce="mean")
