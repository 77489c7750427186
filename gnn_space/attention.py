"""Attention along edges without a number for each edge and head that outlives one head, but the draws of dropout."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from gnn_space.aggregation import aggregate, edge_softmax, few_messages, shift_of
from gnn_space.compressed import CompressedEdges
from gnn_space.dropout import Draws, dropout


def attended(
    hidden: Tensor, scores: Tensor, edges: CompressedEdges, rate: float, training: bool, reduce: str = "sum"
) -> Tensor:
    """The states of each node's sources, weighted by the softmax of scores over its incoming edges, under dropout.

    It is `aggregate(hidden, edges, dropout(edge_softmax(scores, edges)))`. On the CPU, from `MESSAGES_BELOW` elements
    of messages on, along edges that are ordered by target, the three are one pass, head by head: states are divided by
    the sums of exponentials behind the product, the softmax's gradient needs no sum along edges (it is the gradient
    times the result), and exponentials are computed again in the backward pass. Second derivatives are those of the
    three.

    Args:
        hidden: `[num_nodes, heads, channels]`.
        scores: `[num_edges, heads]`.
        edges: of the graph.
        rate: of dropout.
        training: whether anything is dropped.
        reduce: of what is received.

    Returns:
        `[num_nodes, heads, channels]`.
    """
    if few_messages(edges, hidden):
        return aggregate(hidden, edges, dropout(edge_softmax(scores, edges), rate, training), reduce)
    is_plain = hidden.dtype == scores.dtype and hidden.dtype in (torch.float32, torch.float64)
    # Of more parallel edges than pairs of nodes torch samples no products.
    fits = is_plain and edges.num_edges <= edges.num_nodes * edges.num_sources
    fits = fits and hidden.device.type == "cpu" and reduce != "max"
    if not fits or edges.by_target.order is not None:
        return aggregate(hidden, edges, dropout(edge_softmax(scores, edges), rate, training), reduce)
    draws = Draws(scores.numel(), rate if training else 0.0)
    # Autocast would round the operands of a product of matrices.
    with torch.autocast("cpu", enabled=False):
        received: Tensor = _Attended.apply(hidden, scores, edges, draws)
    return received / edges.in_degree.clamp(min=1).to(received.dtype).view(-1, 1, 1) if reduce == "mean" else received


class _Attended(Function):
    """`attended`'s one pass; edges are ordered by target."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, scores: Tensor, edges: CompressedEdges, draws: Draws) -> Tensor:
        rows = edges.by_target
        states, by_head = hidden.transpose(0, 1).contiguous(), scores.t().contiguous()
        shift = shift_of(by_head, edges).expand_as(by_head)
        received, sums = torch.empty_like(states), states.new_empty(states.shape[:2])
        ones = states.new_ones(states.size(1))
        shares, mask = torch.empty_like(by_head[0]), torch.empty_like(by_head[0])
        for head, values in enumerate(by_head):
            torch.sub(values, shift[head], out=shares).exp_()
            torch.mv(rows.matrix(shares), ones, out=sums[head])
            torch.mm(rows.matrix(draws.keep(shares, head, mask)), states[head], out=received[head])
        # A node without incoming edges has a sum of zero.
        received *= (draws.scale / sums.masked_fill_(sums == 0, 1)).unsqueeze(-1)
        ctx.edges, ctx.draws = edges, draws
        result = received.transpose(0, 1)
        ctx.save_for_backward(hidden, scores, shift, sums, result)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        hidden, scores, shift, sums, received = ctx.saved_tensors
        edges, draws = ctx.edges, ctx.draws
        if torch.is_grad_enabled():
            # Views: scores are often made of the same states, and a gradient must not reach these by way of the scores.
            hidden, scores = hidden.view_as(hidden), scores.view_as(scores)
            # Draws were dealt out head by head, however the scores lie in memory.
            factors = draws.factors(scores.detach().t().contiguous()).t()
            plain = aggregate(hidden, edges, edge_softmax(scores, edges) * factors)
            asked = [each for each, needed in zip((hidden, scores), ctx.needs_input_grad, strict=False) if needed]
            found = iter(torch.autograd.grad(plain, asked, gradient, create_graph=True))
            return *(next(found) if needed else None for needed in ctx.needs_input_grad[:2]), None, None
        target, order = edges.target, edges.by_source.order
        states, by_head = hidden.transpose(0, 1).contiguous(), scores.t().contiguous()
        along = gradient.transpose(0, 1) / sums.unsqueeze(-1)
        whole = (along * received.transpose(0, 1)).sum(-1)
        along = along * draws.scale
        of_states, of_scores = torch.empty_like(states), torch.zeros_like(by_head)
        shares, mask = torch.empty_like(by_head[0]), torch.empty_like(by_head[0])
        for head, values in enumerate(by_head):
            torch.sub(values, shift[head], out=shares).exp_()
            of_score = of_scores[head]
            matrix = edges.by_target.matrix(of_score)
            torch.sparse.sampled_addmm(matrix, along[head], states[head].t(), beta=0.0, out=matrix)
            draws.keep(of_score, head, mask, out=of_score)
            of_score.sub_(whole[head : head + 1].index_select(1, target)[0]).mul_(shares)
            kept = draws.keep(shares, head, mask)
            kept = kept if order is None else kept.unsqueeze(0).index_select(1, order)[0]
            torch.mm(edges.by_source.matrix(kept), along[head], out=of_states[head])
        return of_states.transpose(0, 1), of_scores.t(), None, None
