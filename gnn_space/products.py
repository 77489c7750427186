"""Sums along edges as sparse products, without a message for each edge; differentiable any number of times."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from gnn_space.compressed import CompressedEdges, Rows

# A product reads a row of features for each edge: so many columns at a time stay in a core's cache.
_COLUMNS = 128
COMPUTED: dict[torch.dtype, torch.dtype] = {torch.bfloat16: torch.float32, torch.float16: torch.float32}


def product(x: Tensor, weights: Tensor | None, edges: CompressedEdges, transposed: bool = False) -> Tensor:
    """The weighted sums that nodes receive; transposed: along reversed edges.

    Half precisions are computed in float32 and rounded once.

    Args:
        x: `[num_sources, heads, channels]`, transposed `[num_nodes, heads, channels]`.
        weights: `[num_edges, heads]` or `[num_edges, 1]`; None: all are one.
        edges: of the graph.
        transposed: whether features go from targets to sources.
    """
    return _Product.apply(x, weights, edges, transposed)


def dots(a: Tensor, b: Tensor, edges: CompressedEdges) -> Tensor:
    """The inner products of the ends of each edge, `[num_edges, heads]`.

    Args:
        a: of targets, `[num_nodes, heads, channels]`.
        b: of sources, `[num_sources, heads, channels]`.
        edges: of the graph.
    """
    return _Dots.apply(a, b, edges)


def sums(along: Tensor, edges: CompressedEdges, transposed: bool = False) -> Tensor:
    """The sums of what lies along the incoming edges of each node, `[num_nodes, heads]`; transposed: the outgoing.

    Args:
        along: `[num_edges, heads]`.
        edges: of the graph.
        transposed: whether sums are of sources.
    """
    ones = along.new_ones(edges.num_nodes if transposed else edges.num_sources, along.size(1), 1)
    return product(ones, along, edges, transposed).squeeze(-1)


def ends(of_target: Tensor, of_source: Tensor, edges: CompressedEdges) -> Tensor:
    """The sums of the numbers of both ends of each edge, `[num_edges, heads]`, in memory head by head.

    Args:
        of_target: `[num_nodes, heads]`.
        of_source: `[num_sources, heads]`.
        edges: of the graph.
    """
    return _Ends.apply(of_target, of_source, edges)


class _Product(Function):
    """`product`. Its gradient is a transposed product for the features, and `dots` for the weights."""

    @staticmethod
    def forward(x: Tensor, weights: Tensor | None, edges: CompressedEdges, transposed: bool) -> Tensor:
        return _multiply(x, weights, edges.by_source if transposed else edges.by_target)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weights, ctx.edges, ctx.transposed = inputs
        # Without weights the product is linear in the features: they are not needed again.
        ctx.save_for_backward(*(() if weights is None else (x, weights)))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weights = ctx.saved_tensors or (gradient, None)
        of_x = of_weights = None
        if ctx.needs_input_grad[0]:
            of_x = product(gradient, weights, ctx.edges, not ctx.transposed).to(x.dtype)
        if weights is not None and ctx.needs_input_grad[1]:
            a, b = (x, gradient) if ctx.transposed else (gradient, x)
            if weights.size(1) == 1:
                a, b = a.flatten(1).unsqueeze(1), b.flatten(1).unsqueeze(1)
            of_weights = dots(a, b, ctx.edges).to(weights.dtype)
        return of_x, of_weights, None, None


class _Dots(Function):
    """`dots`. Its gradients are products with the gradient as the weights."""

    @staticmethod
    def forward(a: Tensor, b: Tensor, edges: CompressedEdges) -> Tensor:
        return _sample(a, b, edges.by_target)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        a, b, ctx.edges = inputs
        ctx.save_for_backward(a, b)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        a, b = ctx.saved_tensors
        of_a = product(b, gradient, ctx.edges).to(a.dtype) if ctx.needs_input_grad[0] else None
        of_b = product(a, gradient, ctx.edges, transposed=True).to(b.dtype) if ctx.needs_input_grad[1] else None
        return of_a, of_b, None


class _Ends(Function):
    """`ends`. Its gradients are `sums`."""

    @staticmethod
    def forward(of_target: Tensor, of_source: Tensor, edges: CompressedEdges) -> Tensor:
        shape = edges.num_edges, of_target.size(1)
        # No view, so that the activation that follows may be in place.
        result = of_target.new_empty_strided(shape, (1, max(edges.num_edges, 1)))
        torch.index_select(of_target.t().contiguous(), 1, edges.target, out=result.t())
        return result.add_(of_source.t().contiguous().index_select(1, edges.source).t())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, _, ctx.edges = inputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        of_target = sums(gradient, ctx.edges) if ctx.needs_input_grad[0] else None
        of_source = sums(gradient, ctx.edges, transposed=True) if ctx.needs_input_grad[1] else None
        return of_target, of_source, None


def _multiply(x: Tensor, weights: Tensor | None, rows: Rows) -> Tensor:
    dtype = x.dtype if weights is None else torch.promote_types(x.dtype, weights.dtype)
    computed = COMPUTED.get(dtype, dtype)
    x = x.to(computed)
    shape = (rows.shape[0], x.size(1), x.size(2))
    if 0 in shape or rows.columns.numel() == 0:
        return x.new_zeros(shape, dtype=dtype)
    # Autocast would round the operands of a product of matrices.
    with torch.autocast(x.device.type, enabled=False):
        if weights is None or weights.size(1) == 1:
            matrix = rows.ones(computed) if weights is None else rows.matrix(rows.by_head(weights.to(computed))[0])
            result = x.new_empty(shape)
            for out, columns in zip(result.flatten(1).split(_COLUMNS, 1), x.flatten(1).split(_COLUMNS, 1), strict=True):
                torch.mm(matrix, columns, out=out)
            return result.to(dtype)
        heads = x.transpose(0, 1).contiguous()
        result = x.new_empty(shape[1], shape[0], shape[2])
        for values, columns, out in zip(rows.by_head(weights.to(computed)), heads, result, strict=True):
            if shape[2] == 1:
                torch.mv(rows.matrix(values), columns[:, 0], out=out[:, 0])
            else:
                torch.mm(rows.matrix(values), columns, out=out)
    return result.transpose(0, 1).to(dtype)


def _sample(a: Tensor, b: Tensor, rows: Rows) -> Tensor:
    dtype = torch.promote_types(a.dtype, b.dtype)
    computed = COMPUTED.get(dtype, dtype)
    a, b = a.to(computed), b.to(computed)
    count = rows.columns.numel()
    if count == 0 or a.size(2) == 0:
        return a.new_zeros(count, a.size(1), dtype=dtype)
    if count > rows.shape[0] * rows.shape[1]:
        # Of more parallel edges than it has entries torch cuts the matrix off, and the rows' own columns with it.
        target = torch.repeat_interleave(rows.pointers.diff().long(), output_size=count)
        heads = zip(a.unbind(1), b.unbind(1), strict=True)
        along = [(of_a[target] * of_b.index_select(0, rows.columns)).sum(-1) for of_a, of_b in heads]
        return rows.as_given(torch.stack(along)).to(dtype)
    result = a.new_zeros(a.size(1), count)
    with torch.autocast(a.device.type, enabled=False):
        for head, values in enumerate(result):
            matrix = rows.matrix(values)
            torch.sparse.sampled_addmm(matrix, a[:, head], b[:, head].t(), beta=0.0, out=matrix)
    return rows.as_given(result).to(dtype)
