"""A graph as messages read it: with self-loops, weights and what its edges' features come to at nodes."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor
from torch_geometric.utils import add_self_loops, degree, remove_self_loops, scatter

from gnn_space.aggregation import aggregate


class Neighbourhood:
    """The edges of a batch during one forward pass; what several layers need is computed once.

    Args:
        edge_index: `[2, num_edges]`.
        edge_attr: encoded features, `[num_edges, edge_channels]`, or None.
        num_nodes: how many nodes there are.
        dtype: of weights.
    """

    def __init__(self, edge_index: Tensor, edge_attr: Tensor | None, num_nodes: int, dtype: torch.dtype) -> None:
        self.edge_index = edge_index
        self.edge_attr = edge_attr
        self.num_nodes = num_nodes
        self.dtype = dtype

    @cached_property
    def _looped(self) -> tuple[Tensor, Tensor | None]:
        without = remove_self_loops(self.edge_index, self.edge_attr)
        fill = None if self.edge_attr is None else "mean"
        index, attr = add_self_loops(*without, fill_value=fill, num_nodes=self.num_nodes)
        return index, attr

    @property
    def loops(self) -> Tensor:
        """The edges with exactly one self-loop at each node, `[2, num_edges']`."""
        return self._looped[0]

    @property
    def loop_attr(self) -> Tensor | None:
        """Features of `loops`: a self-loop's are the mean of those of the edges that lead to its node."""
        return self._looped[1]

    @cached_property
    def symmetric(self) -> Tensor:
        """The weights of `loops` in a graph convolution, one over the root of both ends' degrees, `[num_edges']`."""
        source, target = self.loops[0], self.loops[1]
        root = degree(target, self.num_nodes, self.dtype).rsqrt()
        return root.index_select(0, source) * root.index_select(0, target)

    def convolve(self, x: Tensor) -> Tensor:
        """Propagate states `[num_nodes, channels]` by the symmetrically normalised adjacency with self-loops."""
        return aggregate(x, self.loops, self.symmetric)

    @cached_property
    def convolved_attr(self) -> Tensor | None:
        """The sum of edge features that each node receives under the weights `symmetric`."""
        if self.loop_attr is None:
            return None
        weighted = self.loop_attr * self.symmetric.unsqueeze(1)
        return scatter(weighted, self.loops[1], 0, self.num_nodes, reduce="sum")

    @cached_property
    def mean_attr(self) -> Tensor | None:
        """The mean of the features of the edges that lead to each node."""
        if self.edge_attr is None:
            return None
        return scatter(self.edge_attr, self.edge_index[1], 0, self.num_nodes, reduce="mean")
