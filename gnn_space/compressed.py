"""The edges of a graph as compressed rows, made once for all layers of a network's forward pass."""

from __future__ import annotations

import warnings
from functools import cache, cached_property

import torch
from torch import Tensor


class Rows:
    """Edges ordered by one end: row i holds those of node i.

    Args:
        rows: the end that orders them, `[num_edges]`.
        columns: the other end, `[num_edges]`.
        num_rows: nodes at the end that orders.
        num_columns: nodes at the other.

    Attributes:
        shape: `(num_rows, num_columns)`.
        order: `[num_edges]`, the edge at each position; None: the edges came in this order.
        pointers: `[num_rows + 1]`, the position at which each row begins.
        columns: `[num_edges]`, the other end at each position.
    """

    def __init__(self, rows: Tensor, columns: Tensor, num_rows: int, num_columns: int) -> None:
        self.shape = (num_rows, num_columns)
        self.order: Tensor | None = None
        if not bool((rows[1:] >= rows[:-1]).all()):
            # Narrow integers are sorted in a fraction of the time.
            self.order = torch.argsort(rows.to(_narrowest(num_rows)), stable=True)
        # MKL copies indices of 64 bits.
        index = torch.int32 if max(rows.numel(), num_rows, num_columns) < 2**31 else torch.int64
        counts = torch.bincount(rows, minlength=num_rows)
        self.pointers = torch.zeros(num_rows + 1, dtype=index, device=rows.device)
        torch.cumsum(counts, 0, out=self.pointers[1:])
        self.columns = self.ordered(columns).to(index).contiguous()
        self._ones: dict[torch.dtype, Tensor] = {}

    def ordered(self, along: Tensor) -> Tensor:
        """A tensor along edges, `[num_edges, ...]`, in the order of the rows."""
        return along if self.order is None else along.index_select(0, self.order)

    def by_head(self, along: Tensor) -> Tensor:
        """Numbers of edges and heads, `[num_edges, heads]`, as `[heads, num_edges]` in the order of the rows."""
        heads = along.t().contiguous()
        return heads if self.order is None else heads.index_select(1, self.order)

    def as_given(self, heads: Tensor) -> Tensor:
        """The inverse of `by_head`; the result lies in memory head by head, so that `by_head` of it copies nothing."""
        return (heads if self.order is None else heads.index_select(1, self._place)).t()

    @cached_property
    def _place(self) -> Tensor:
        """The inverse of the order."""
        order = torch.arange(self.columns.numel(), device=self.columns.device) if self.order is None else self.order
        return torch.empty_like(order).scatter_(0, order, torch.arange(order.numel(), device=order.device))

    def matrix(self, values: Tensor) -> Tensor:
        """The sparse matrix with these values `[num_edges]`, in the order of the rows; parallel edges stay apart."""
        _without_warning()
        return torch.sparse_csr_tensor(self.pointers, self.columns, values, self.shape, check_invariants=False)

    def ones(self, dtype: torch.dtype) -> Tensor:
        """The sparse matrix of ones."""
        if dtype not in self._ones:
            self._ones[dtype] = self.matrix(torch.ones(self.columns.numel(), dtype=dtype, device=self.columns.device))
        return self._ones[dtype]


class CompressedEdges:
    """The edges of a graph, with what products on compressed rows need: made when first asked for, and kept.

    A network makes one in each forward pass and hands it to its layers in place of the `edge_index`; forward and
    backward passes of all layers, heads and steps of propagation then share the sorting. It is of the `edge_index` that
    it was made of, so nothing is looked up and nothing goes stale. All that belongs to edges (weights, features)
    keeps the order of that `edge_index`.

    Args:
        edge_index: `[2, num_edges]`, sources in row 0 and targets in row 1, in any order.
        num_nodes: nodes that receive.
        num_sources: nodes that send; None: the same.

    Raises:
        ValueError: `edge_index` is of another shape, or no integers; or (on the CPU: asking a GPU would wait for it) an
            edge leads from or to a node that is not there.
    """

    def __init__(self, edge_index: Tensor, num_nodes: int, num_sources: int | None = None) -> None:
        if edge_index.dim() != 2 or edge_index.size(0) != 2 or not _is_integral(edge_index):
            kind = str(edge_index.dtype).removeprefix("torch.")
            raise ValueError(f"edge_index is {kind} {list(edge_index.shape)}; it holds integers [2, num_edges]")
        self.edge_index = edge_index = widened(edge_index)
        self.num_nodes = num_nodes
        self.num_sources = num_nodes if num_sources is None else num_sources
        if not is_traced() and edge_index.device.type == "cpu" and edge_index.numel():
            _refuse_others("sources", edge_index[0], self.num_sources)
            _refuse_others("targets", edge_index[1], num_nodes)

    @property
    def source(self) -> Tensor:
        """Of each edge, `[num_edges]`."""
        return self.edge_index[0]

    @property
    def target(self) -> Tensor:
        """Of each edge, `[num_edges]`."""
        return self.edge_index[1]

    @property
    def num_edges(self) -> int:
        """Parallel edges counted each."""
        return self.edge_index.size(1)

    @cached_property
    def by_target(self) -> Rows:
        """Rows of the edges into each node."""
        return Rows(self.target, self.source, self.num_nodes, self.num_sources)

    @cached_property
    def by_source(self) -> Rows:
        """Rows of the edges out of each node."""
        return Rows(self.source, self.target, self.num_sources, self.num_nodes)

    @cached_property
    def in_degree(self) -> Tensor:
        """Edges into each node, `[num_nodes]`, integers."""
        if is_traced():
            return self.target.new_zeros(self.num_nodes).index_add(0, self.target, torch.ones_like(self.target))
        return torch.bincount(self.target, minlength=self.num_nodes)

    @cached_property
    def loops(self) -> Tensor:
        """True for an edge from a node to itself, `[num_edges]`."""
        return self.source == self.target

    @cached_property
    def without_loops(self) -> CompressedEdges:
        """The edges between different nodes, in their order; these edges themselves where no other are there."""
        if not is_traced() and not bool(self.loops.any()):
            return self
        return CompressedEdges(self.edge_index[:, ~self.loops], self.num_nodes, self.num_sources)

    @cached_property
    def looped(self) -> CompressedEdges:
        """The edges between different nodes and one from each node to itself, ordered by target; see `looped_order`."""
        return CompressedEdges(_columns(self._appended, self.looped_order), self.num_nodes)

    @cached_property
    def looped_order(self) -> Tensor:
        """Of each edge of `looped`, its place among `without_loops` with the nodes' edges to themselves behind."""
        # Once sorted here, weights and scores along these edges need no sorting in any layer.
        return torch.argsort(self._appended[1].to(_narrowest(self.num_nodes)), stable=True)

    @cached_property
    def sorted(self) -> CompressedEdges:
        """The same edges ordered by target, where weights and scores along them need no sorting in any layer."""
        order = self.by_target.order
        if order is None:
            return self
        return CompressedEdges(_columns(self.edge_index, order), self.num_nodes, self.num_sources)

    @cached_property
    def _appended(self) -> Tensor:
        nodes = torch.arange(self.num_nodes, device=self.edge_index.device)
        return torch.cat([self.without_loops.edge_index, nodes.expand(2, -1)], dim=1)


def is_traced() -> bool:
    """True while torch exports or compiles a network: whatever depends on the numbers in a graph is left out then.

    Sums along edges are plain gathers and scatters, which every runtime knows, and inputs are not checked.
    """
    return torch.compiler.is_compiling()


def widened(index: Tensor) -> Tensor:
    """An index of 64 bits; other tensors are given back.

    A narrower one that was expanded along channels makes torch's `gather` read wrong places, silently (2.14 is one).
    """
    return index.to(torch.int64) if _is_integral(index) else index


def compressed(edge_index: Tensor | CompressedEdges, num_nodes: int) -> CompressedEdges:
    """The edges among `num_nodes` nodes; what is compressed already is given back.

    Raises:
        ValueError: it is of another number of nodes, those that receive or those that send.
    """
    if not isinstance(edge_index, CompressedEdges):
        return CompressedEdges(edge_index, num_nodes)
    if not is_traced() and (edge_index.num_sources, edge_index.num_nodes) != (num_nodes, num_nodes):
        raise other_graph(edge_index, num_nodes)
    return edge_index


def other_graph(edges: CompressedEdges, num_nodes: int) -> ValueError:
    """The refusal of edges that are of another graph than `num_nodes` nodes are."""
    received = "" if edges.num_nodes == edges.num_sources else f" that send, {edges.num_nodes} that receive"
    return ValueError(
        f"x has {num_nodes} nodes and its CompressedEdges were made of {edges.num_sources}{received}; "
        "make them of this graph: CompressedEdges(edge_index, x.size(0))"
    )


@cache
def _without_warning() -> None:
    """Use up the warning that torch gives once, that its CSR tensors are in beta state: they have been for years."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        torch.zeros(1, 1).to_sparse_csr()


def _is_integral(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def _columns(edge_index: Tensor, chosen: Tensor) -> Tensor:
    """Some edges; row by row, which takes a third of the time of indexing both."""
    return torch.stack([row.index_select(0, chosen) for row in edge_index])


def _narrowest(count: int) -> torch.dtype:
    if is_traced():
        return torch.int64
    return torch.int16 if count <= 2**15 else torch.int32 if count <= 2**31 else torch.int64


def _refuse_others(ends: str, nodes: Tensor, count: int) -> None:
    least, most = (int(each) for each in nodes.aminmax())
    if least < 0 or most >= count:
        raise ValueError(f"edge_index has {ends} from {least} to {most}; the {count} nodes are 0 to {count - 1}")
