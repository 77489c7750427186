"""Functions with derivatives by hand: many operations side by side, with little kept for the backward pass.

Rows `[num_rows, num_operations * channels]` hold the channels of several operations side by side. All
functions run in the dtype of their inputs and can be differentiated once.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from automl_plugins.supernets.derivatives import HandWritten, first_order
from gnn_space.egnas.edge_order import EdgeOrder
from gnn_space.egnas.operations import SLOPE


def blocks(rows: Tensor, weights: Tensor) -> Tensor:
    """Each operation's own linear map, without gradients.

    Args:
        rows: `[num_rows, num_operations * inputs]`.
        weights: `[num_operations, inputs, outputs]`.

    Returns:
        `[num_rows, num_operations * outputs]`.
    """
    count, inputs, outputs = weights.shape
    if count == 1:
        return rows @ weights[0]
    mapped = rows.new_empty(len(rows), count * outputs)
    by_operation = mapped.unflatten(1, (count, outputs)).transpose(0, 1)
    torch.bmm(rows.unflatten(1, (count, inputs)).transpose(0, 1), weights, out=by_operation)
    return mapped


def block_products(left: Tensor, right: Tensor, count: int) -> Tensor:
    """Each operation's `left.T @ right`, `[num_operations, left_channels, right_channels]`: gradients of weights."""
    left, right = left.unflatten(1, (count, -1)), right.unflatten(1, (count, -1))
    return torch.bmm(left.permute(1, 2, 0), right.transpose(0, 1))


class BlockLinear(HandWritten):
    """Each operation's own linear map.

    Args:
        rows: `[num_rows, num_operations * inputs]`.
        weight: `[num_operations, outputs, inputs]`.
        bias: `[num_operations, outputs]`, or None.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows if ctx.needs_input_grad[1] else None, weight)
        mapped = blocks(rows, weight.mT)
        return mapped if bias is None else mapped.add_(bias.flatten())

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        for_rows, for_weight, for_bias = ctx.needs_input_grad
        return (
            blocks(gradient, weight) if for_rows else None,
            block_products(gradient, rows, len(weight)) if for_weight else None,
            gradient.sum(0).view(weight.shape[:2]) if for_bias else None,
        )


def block_linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """See `BlockLinear`."""
    return cast(Tensor, BlockLinear.apply(rows, weight, bias))


class Relation(HandWritten):
    """`leaky_relu(of_targets[i] + of_sources[j])` for each edge from j to i.

    Args:
        nodes: `[num_nodes, 2 * channels]`, the targets' channels before the sources'.
        order: of the edges.

    Returns:
        `[num_edges, channels]`.
    """

    @staticmethod
    def forward(ctx: Any, nodes: Tensor, order: EdgeOrder) -> Tensor:
        targets, sources = (half.contiguous() for half in nodes.chunk(2, dim=1))
        edges = order.with_targets_(Tensor.add_, order.of_sources(sources), targets)
        edges = functional.leaky_relu_(edges, SLOPE)
        ctx.order = order
        ctx.save_for_backward(edges)
        return edges

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (edges,) = ctx.saved_tensors
        gradient = leaky_backward(gradient, edges)
        order: EdgeOrder = ctx.order
        return torch.cat([order.sum_over_targets(gradient), order.sum_over_sources(gradient)], dim=1), None


def leaky_backward(gradient: Tensor, result: Tensor) -> Tensor:
    """The gradient of a leaky rectifier's input, from its result."""
    return torch.ops.aten.leaky_relu_backward(gradient, result, SLOPE, True)


class GRU(HandWritten):
    """A gated recurrent cell after its linear maps, for several operations with the same state.

    Args:
        reset, update: before the sigmoid, `[num_rows, num_operations * channels]`.
        of_input, of_state: the two terms of the candidate, the second to be times the reset gate; like `reset`.
        state: `[num_rows, channels]`.

    Returns:
        `[num_rows, num_operations * channels]`.
    """

    @staticmethod
    def forward(ctx: Any, reset: Tensor, update: Tensor, of_input: Tensor, of_state: Tensor, state: Tensor) -> Tensor:
        reset, update = reset.sigmoid(), update.sigmoid()
        # tanh(x) = 2 sigmoid(2 x) - 1: torch's own tanh takes six times as long on a CPU.
        candidate = torch.addcmul(of_input, reset, of_state).mul_(2.0).sigmoid_().mul_(2.0).sub_(1.0)
        ctx.save_for_backward(reset, update, candidate, of_state, state)
        return _repeat(state, update).sub_(candidate).mul_(update).add_(candidate)

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        reset, update, candidate, of_state, state = ctx.saved_tensors
        kept = gradient * update
        for_state = kept.unflatten(1, (-1, state.size(1))).sum(1) if ctx.needs_input_grad[4] else None
        for_update = sigmoid_backward(_repeat(state, update).sub_(candidate).mul_(gradient), update)
        for_input = tanh_backward(gradient - kept, candidate)
        for_reset = sigmoid_backward(for_input * of_state, reset)
        return for_reset, for_update, for_input, for_input * reset, for_state


def _repeat(rows: Tensor, like: Tensor) -> Tensor:
    return rows.repeat(1, like.size(1) // rows.size(1))


def sigmoid_backward(gradient: Tensor, result: Tensor) -> Tensor:
    """The gradient of a sigmoid's input, from its result."""
    return torch.ops.aten.sigmoid_backward(gradient, result)


def tanh_backward(gradient: Tensor, result: Tensor) -> Tensor:
    """The gradient of a hyperbolic tangent's input, from its result."""
    return torch.ops.aten.tanh_backward(gradient, result)
