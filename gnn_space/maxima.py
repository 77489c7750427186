"""Maxima along edges: the edge that each number comes from is found first, so no message outlives a chunk."""

from __future__ import annotations

import torch
from torch import Tensor

from gnn_space.compressed import CompressedEdges, Rows

_CHUNK = 2**24
"""Elements of messages that are there at a time, where torch has no kernel that needs none."""


def maximum(x: Tensor, weights: Tensor | None, edges: CompressedEdges) -> Tensor:
    """The greatest weighted features that nodes receive, 0 where they receive none.

    Only tensors of the result's shape are kept for the gradient, which goes to one edge where several are equally
    great. All derivatives are torch's.

    Args:
        x: `[num_sources, heads, channels]`.
        weights: `[num_edges, heads]` or `[num_edges, 1]`; None: all are one.
        edges: of the graph, one at least.
    """
    rows = edges.by_target
    winner = _winners(x.detach(), None if weights is None else rows.ordered(weights.detach()), rows)
    received = x.gather(0, rows.columns.long()[winner])
    if weights is not None:
        position = winner
        if weights.size(1) > 1:
            position = winner * weights.size(1) + torch.arange(weights.size(1), device=x.device).unsqueeze(-1)
        received = received * rows.ordered(weights).flatten()[position]
    return received.masked_fill((rows.pointers.diff() == 0).view(-1, 1, 1), 0)


@torch.no_grad()
def _winners(x: Tensor, weights: Tensor | None, rows: Rows) -> Tensor:
    """The position among the rows' edges that each maximum comes from, `[num_nodes, heads, channels]`.

    Args:
        x: `[num_sources, heads, channels]`.
        weights: in the order of the rows; None: all are one.
        rows: with edges. In a row without any the position is one of another row.
    """
    find = _by_kernel if x.device.type == "cpu" else _by_chunks
    one_for_all = weights is None or weights.size(1) == 1
    heads = x.flatten(1).unsqueeze(1) if one_for_all else x
    found = torch.stack(
        [find(heads[:, head], None if weights is None else weights[:, head], rows) for head in range(heads.size(1))], 1
    )
    # No number is greater than minus infinity, so a row of nothing else has no winner yet: it is its first.
    found = torch.where(found == rows.columns.numel(), rows.pointers[:-1].long().view(-1, 1, 1), found)
    return found.clamp(max=rows.columns.numel() - 1).view(-1, *x.shape[1:])


def _by_kernel(x: Tensor, weights: Tensor | None, rows: Rows) -> Tensor:
    dtype = x.dtype if weights is None else torch.promote_types(x.dtype, weights.dtype)
    matrix = rows.ones(dtype) if weights is None else rows.matrix(weights.to(dtype).contiguous())
    # The kernel behind `torch.sparse.mm(matrix, x, "amax")`; it says where maxima are if a gradient is asked for.
    with torch.enable_grad():
        _, found = torch.ops.aten._sparse_mm_reduce_impl(matrix.detach().requires_grad_(), x.to(dtype), "amax")
    positions: Tensor = found.long()
    return positions


def _by_chunks(x: Tensor, weights: Tensor | None, rows: Rows) -> Tensor:
    """The same by messages, some channels at a time."""
    count = rows.columns.numel()
    target = torch.repeat_interleave(rows.pointers.diff().long(), output_size=count)
    position = torch.arange(count, device=x.device).unsqueeze(-1)
    parts = []
    for columns in x.split(max(_CHUNK // count, 1), 1):
        messages = columns.index_select(0, rows.columns)
        if weights is not None:
            messages = messages * weights.unsqueeze(-1)
        index = target.unsqueeze(-1).expand_as(messages)
        greatest = messages.new_zeros(rows.shape[0], columns.size(1))
        greatest = greatest.scatter_reduce_(0, index, messages, "amax", include_self=False)
        found = greatest.index_select(0, target) == messages
        # Not a number is equal to nothing, and greater than all.
        found |= messages.isnan()
        first = torch.full_like(greatest, count, dtype=torch.long)
        parts.append(first.scatter_reduce_(0, index, torch.where(found, position, count), "amin"))
    return torch.cat(parts, dim=1)
