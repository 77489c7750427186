"""Aggregation: what the nodes of a graph receive along its edges, summed, averaged or maximised."""

from __future__ import annotations

from torch import Tensor
from torch_geometric.utils import degree, scatter

REDUCTIONS = ("sum", "mean", "max")


def aggregate(
    x: Tensor, edge_index: Tensor, weights: Tensor | None = None, reduce: str = "sum", num_nodes: int | None = None
) -> Tensor:
    r"""The features that each node receives along its incoming edges, each edge's times its weight.

    .. math::
        y_i = \mathrm{reduce}_{e = (j \to i)}\, w_e\, x_j

    A mean divides by the number of incoming edges, not by the sum of their weights. A node without incoming edges
    receives 0, under `max` too.

    Args:
        x: `[num_nodes, heads, channels]` or `[num_nodes, channels]`.
        edge_index: `[2, num_edges]`, sources in row 0 and targets in row 1.
        weights: `[num_edges, heads]`, or one for all heads, `[num_edges, 1]` or `[num_edges]`; None: all are one.
        reduce: `sum`, `mean` or `max`.
        num_nodes: rows of the result; None: as many as `x` has.

    Returns:
        `[num_nodes, heads, channels]` or `[num_nodes, channels]`, as `x`.

    Raises:
        ValueError: another `reduce`, or weights that fit neither the edges nor the heads.
    """
    if reduce not in REDUCTIONS:
        raise ValueError(f"reduce={reduce!r} is none of {', '.join(REDUCTIONS)}")
    num_nodes = x.size(0) if num_nodes is None else num_nodes
    by_head = x if x.dim() == 3 else x.unsqueeze(1)
    factors = None if weights is None else _one_a_head(weights, edge_index.size(1), by_head.size(1))
    received = _by_messages(by_head, edge_index, factors, reduce, num_nodes)
    return received if x.dim() == 3 else received.squeeze(1)


def _one_a_head(weights: Tensor, num_edges: int, heads: int) -> Tensor:
    """The weights as `[num_edges, heads]` or `[num_edges, 1]`."""
    columns = weights.unsqueeze(-1) if weights.dim() == 1 else weights
    if columns.dim() != 2 or columns.size(0) != num_edges or columns.size(1) not in (1, heads):
        raise ValueError(
            f"weights have the shape {list(weights.shape)}; {num_edges} edges and {heads} heads need "
            f"[{num_edges}, {heads}], [{num_edges}, 1] or [{num_edges}]"
        )
    return columns


def _by_messages(x: Tensor, edge_index: Tensor, weights: Tensor | None, reduce: str, num_nodes: int) -> Tensor:
    """The plain form: a message for each edge, `[num_edges, heads, channels]`."""
    message = x.index_select(0, edge_index[0])
    if weights is not None:
        message = message * weights.unsqueeze(-1)
    if reduce == "max":
        return scatter(message, edge_index[1], 0, num_nodes, reduce="max")
    received = scatter(message, edge_index[1], 0, num_nodes, reduce="sum")
    if reduce == "mean":
        received = received / degree(edge_index[1], num_nodes, x.dtype).clamp(min=1).view(-1, 1, 1)
    return received
