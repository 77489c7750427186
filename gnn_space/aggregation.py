"""Aggregation: what the nodes of a graph receive along its edges, summed, averaged or maximised."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch_geometric.utils import scatter, softmax

from gnn_space.compressed import CompressedEdges, is_traced, other_graph
from gnn_space.input_checks import check_dense_or_sparse, check_edges_of
from gnn_space.maxima import maximum
from gnn_space.products import COMPUTED, dots, ends, product, sums

REDUCTIONS = ("sum", "mean", "max")

MESSAGES_BELOW = 2**19
"""Elements of messages, `num_edges * heads * channels`, below which they are made, because sorting edges costs more.

Measured, forward and backward in float32 on one core, on graphs of 2 to 35 edges a node: one layer alone breaks even
between 2^19 and 2^20, three that share their `CompressedEdges` at 2^18; a batch of 64 small molecules stays below, a
batch of 16 graphs of 110 nodes is above."""
_SCORES_BELOW = 2**16
_SPREAD = 60.0
"""Between scores that one shift is enough for: the smallest exponential is far from the smallest float32."""


def aggregate(
    x: Tensor,
    edge_index: Tensor | CompressedEdges,
    weights: Tensor | None = None,
    reduce: str = "sum",
    num_nodes: int | None = None,
) -> Tensor:
    r"""The features that each node receives along its incoming edges, each edge's times its weight.

    .. math::
        y_i = \mathrm{reduce}_{e = (j \to i)}\, w_e\, x_j

    A mean divides by the number of incoming edges, not by the sum of their weights. A node without incoming edges
    receives 0, under `max` too.

    From `MESSAGES_BELOW` elements of messages on none is made: sums and means are sparse products on compressed rows,
    which differ from the plain form by rounding alone, and a maximum finds the edge that each number comes from (its
    gradient goes to one of several equals, where the plain form shares it among them). Both can be differentiated any
    number of times. Half precisions are then added up in float32.

    Args:
        x: `[num_nodes, heads, channels]` or `[num_nodes, channels]`.
        edge_index: `[2, num_edges]`, sources in row 0 and targets in row 1; or `CompressedEdges` of it, which a
            network makes once for all layers.
        weights: `[num_edges, heads]`, or one for all heads, `[num_edges, 1]` or `[num_edges]`; None: all are one.
        reduce: `sum`, `mean` or `max`.
        num_nodes: rows of the result; None: as many as `x` has.

    Returns:
        `[num_nodes, heads, channels]` or `[num_nodes, channels]`, as `x`.

    Raises:
        ValueError: another `reduce`, sparse features, features of another number of dimensions, edges of another number
            of nodes or on another device, weights that fit neither the edges nor the heads, or (on the CPU) edges that
            lead from or to nodes that are not there.
    """
    if reduce not in REDUCTIONS:
        raise ValueError(f"reduce={reduce!r} is none of {', '.join(REDUCTIONS)}")
    if not is_traced():
        check_dense_or_sparse("x", x, (2, 3))
        check_edges_of(x, edge_index)
    if x.layout != torch.strided:
        layout = str(x.layout).removeprefix("torch.")
        raise ValueError(f"aggregate takes dense features; got {layout} {list(x.shape)}: map them, or x.to_dense()")
    edges = edge_index
    if not isinstance(edges, CompressedEdges):
        edges = CompressedEdges(edges, x.size(0) if num_nodes is None else num_nodes, x.size(0))
    if not is_traced() and edges.num_sources != x.size(0):
        raise other_graph(edges, x.size(0))
    if num_nodes is not None and num_nodes != edges.num_nodes:
        raise ValueError(f"num_nodes={num_nodes}, but the CompressedEdges lead to {edges.num_nodes} nodes")
    by_head = x if x.dim() == 3 else x.unsqueeze(1)
    factors = None if weights is None else _one_a_head(weights, edges.num_edges, by_head.size(1))
    form = by_messages if few_messages(edges, by_head) else by_products
    received = form(by_head, edges, factors, reduce)
    return received if x.dim() == 3 else received.squeeze(1)


def by_messages(x: Tensor, edges: CompressedEdges, weights: Tensor | None, reduce: str) -> Tensor:
    """The plain form: a message for each edge, `[num_edges, heads, channels]`."""
    message = x.index_select(0, edges.source)
    if weights is not None:
        message = message * weights.unsqueeze(-1)
    return reduced(message, edges, reduce)


def reduced(message: Tensor, edges: CompressedEdges, reduce: str) -> Tensor:
    """The messages `[num_edges, heads, channels]` of each node's incoming edges, summed, averaged or maximised."""
    if reduce == "max":
        return scatter(message, edges.target, 0, edges.num_nodes, reduce="max")
    received = scatter(message, edges.target, 0, edges.num_nodes, reduce="sum")
    return _averaged(received, edges) if reduce == "mean" else received


def by_products(x: Tensor, edges: CompressedEdges, weights: Tensor | None, reduce: str) -> Tensor:
    """The form without messages: sparse products on compressed rows, and for a maximum the edges that it comes from."""
    if reduce == "max" and edges.num_edges:
        return maximum(x, weights, edges)
    received = product(x, weights, edges)
    return _averaged(received, edges) if reduce == "mean" else received


def edge_dots(a: Tensor, b: Tensor, edges: CompressedEdges) -> Tensor:
    """The inner product of each edge's ends, `[num_edges, heads]`.

    Args:
        a: of targets, `[num_nodes, heads, channels]`.
        b: of sources, likewise.
        edges: of the graph.
    """
    if few_messages(edges, a):
        return (a.index_select(0, edges.target) * b.index_select(0, edges.source)).sum(-1)
    return dots(a, b, edges)


def edge_ends(of_target: Tensor, of_source: Tensor, edges: CompressedEdges) -> Tensor:
    """The sums of the numbers of both ends of each edge, `[num_edges, heads]`.

    Args:
        of_target: `[num_nodes, heads]`.
        of_source: likewise.
        edges: of the graph.
    """
    if is_traced() or edges.num_edges * of_target.size(1) < _SCORES_BELOW:
        return of_target.index_select(0, edges.target) + of_source.index_select(0, edges.source)
    return ends(of_target, of_source, edges)


def edge_softmax(scores: Tensor, edges: CompressedEdges) -> Tensor:
    """The softmax of scores `[num_edges, heads]` over the incoming edges of each node.

    Args:
        scores: in the order of the edges.
        edges: of the graph.
    """
    if is_traced() or scores.numel() < _SCORES_BELOW:
        return softmax(scores, edges.target, num_nodes=edges.num_nodes)
    return _Softmax.apply(scores, edges)


class _Softmax(Function):
    """`edge_softmax` on compressed rows; its gradient is made of torch's operations."""

    @staticmethod
    def forward(scores: Tensor, edges: CompressedEdges) -> Tensor:
        # Head by head, as products want weights.
        heads = scores.to(COMPUTED.get(scores.dtype, scores.dtype)).t().contiguous()
        shares = heads.sub(shift_of(heads, edges)).exp_().t()
        return shares.div_(_on_edges(sums(shares, edges), edges)).to(scores.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.edges = inputs
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (shares,) = ctx.saved_tensors
        weighted = shares * gradient
        return torch.addcmul(weighted, shares, _on_edges(sums(weighted, ctx.edges), ctx.edges), value=-1), None


def shift_of(heads: Tensor, edges: CompressedEdges) -> Tensor:
    """The numbers that scores `[heads, num_edges]` are lowered by, so that no exponential is too large or too small.

    The greatest of all where the smallest is not far from it; otherwise, and on a GPU, which asking would wait for,
    each node's own.
    """
    if heads.device.type == "cpu" and heads.numel():
        least, most = heads.aminmax()
        if float(most - least) < _SPREAD:
            return most
    rows = edges.by_target
    # Sorted rows find their maxima in a fraction of the time that scattering takes.
    greatest = torch.segment_reduce(rows.ordered(heads.t().contiguous()), "max", offsets=rows.pointers.long(), axis=0)
    return _on_edges(greatest, edges).t()


def few_messages(edges: CompressedEdges, x: Tensor) -> bool:
    """True where messages of features `[num_nodes, heads, channels]` have fewer than `MESSAGES_BELOW` elements.

    A network that is exported makes all of its messages, see `gnn_space.compressed.is_traced`.
    """
    return is_traced() or edges.num_edges * x.size(1) * x.size(2) < MESSAGES_BELOW


def _on_edges(of_target: Tensor, edges: CompressedEdges) -> Tensor:
    """Numbers of nodes `[num_nodes, heads]` for each edge into them, `[num_edges, heads]`, head by head."""
    return of_target.t().contiguous().index_select(1, edges.target).t()


def _averaged(received: Tensor, edges: CompressedEdges) -> Tensor:
    return received / edges.in_degree.clamp(min=1).to(received.dtype).view(-1, 1, 1)


def _one_a_head(weights: Tensor, num_edges: int, heads: int) -> Tensor:
    """The weights as `[num_edges, heads]` or `[num_edges, 1]`."""
    columns = weights.unsqueeze(-1) if weights.dim() == 1 else weights
    if columns.dim() != 2 or columns.size(0) != num_edges or columns.size(1) not in (1, heads):
        raise ValueError(
            f"weights have the shape {list(weights.shape)}; {num_edges} edges and {heads} heads need "
            f"[{num_edges}, {heads}], [{num_edges}, 1] or [{num_edges}]"
        )
    return columns
