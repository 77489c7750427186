"""Messages of several node operations, modulated by edges and aggregated, with little kept for the backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from automl_plugins.supernets.derivatives import HandWritten, first_order
from gnn_space.egnas.edge_order import EdgeOrder
from gnn_space.egnas.functions import block_products, blocks, sigmoid_backward

_TOGETHER = 3
"""Operations at a time: what they need on the way stays in a processor's cache."""


class Messages(HandWritten):
    r"""Sums and maxima of :math:`\sigma(S_o u_{ij}) * h_j + C_o u_{ij}` over the edges into i, for each operation o.

    If the sum is asked for, the sums of :math:`\sigma(S_o u_{ij}) * h_j` and of :math:`u_{ij}` are returned:
    it takes fewer multiplications to map a sum than to sum what was mapped. The features that edges carry are
    computed again in the backward pass.

    Args:
        hidden: of nodes, `[num_nodes, num_operations * node_channels]`; h is a linear map of it.
        modulation: u, of edges, `[num_edges, num_operations * edge_channels]`.
        message_weight, message_bias: of h, `[num_operations, node_channels, node_channels]`.
        scale_weight, scale_bias: S, `[num_operations, node_channels, edge_channels]`.
        shift_weight, shift_bias: C of the last operations, which ask for the maximum.
        order: of the edges.

    Returns:
        Sums of the products, `[num_nodes, num_sums * node_channels]`; sums of u, `[num_nodes, num_sums *
        edge_channels]`; maxima, `[num_nodes, num_maxima * node_channels]`, zero for a node without edges.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        modulation: Tensor,
        message_weight: Tensor,
        message_bias: Tensor,
        scale_weight: Tensor,
        scale_bias: Tensor,
        shift_weight: Tensor,
        shift_bias: Tensor,
        order: EdgeOrder,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.order = order
        ctx.groups = _groups(len(message_weight) - len(shift_weight), len(shift_weight))
        sums, modulation_sums, maxima, kept = [], [], [], []
        for group in ctx.groups:
            own = slice(group.first, group.first + group.size)
            u = group.columns(modulation, len(message_weight))
            h = blocks(group.columns(hidden, len(message_weight)), message_weight[own].mT)
            h.add_(message_bias[own].flatten())
            kept.append(h)
            scale = _scale(u, scale_weight[own], scale_bias[own])
            if group.takes_maximum:
                first = group.first - len(message_weight) + len(shift_weight)
                own = slice(first, first + group.size)
                messages = blocks(u, shift_weight[own].mT).add_(shift_bias[own].flatten())
                maxima.append(order.max_over_targets(messages.addcmul_(scale, order.of_sources(h))))
            else:
                sums.append(order.sum_of_products(scale, order.of_sources(h)))
                modulation_sums.append(order.sum_over_targets(u))
        ctx.save_for_backward(
            hidden, modulation, message_weight, scale_weight, scale_bias, shift_weight, shift_bias, *kept
        )
        empty = hidden.new_empty(len(hidden), 0)
        return _side_by_side(sums, empty), _side_by_side(modulation_sums, empty), _side_by_side(maxima, empty)

    @staticmethod
    @first_order
    def backward(ctx: Any, for_sums: Tensor, for_modulation_sums: Tensor, for_maxima: Tensor) -> tuple[Any, ...]:
        (
            hidden,
            modulation,
            message_weight,
            scale_weight,
            scale_bias,
            shift_weight,
            shift_bias,
            *kept,
        ) = ctx.saved_tensors
        order: EdgeOrder = ctx.order
        for_rows = any(ctx.needs_input_grad[:2])
        for_weights = any(ctx.needs_input_grad[2:8])
        total, maxima = len(message_weight), len(shift_weight)
        grads: dict[str, list[Tensor]] = {}

        def give(**found: Tensor) -> None:
            for name, gradient in found.items():
                grads.setdefault(name, []).append(gradient)

        for group, h in zip(ctx.groups, kept, strict=True):
            own = slice(group.first, group.first + group.size)
            u = group.columns(modulation, total)
            scale = _scale(u, scale_weight[own], scale_bias[own])
            of_sources = order.of_sources(h)
            if group.takes_maximum:
                first = group.first - total + maxima
                shift = slice(first, first + group.size)
                messages = blocks(u, shift_weight[shift].mT).add_(shift_bias[shift].flatten())
                messages.addcmul_(scale, of_sources)
                # Those that tie for the maximum share its gradient evenly.
                order.with_targets_(Tensor.eq_, messages, order.max_over_targets(messages))
                share = for_maxima.unflatten(1, (maxima, -1))[:, shift].flatten(1) / order.sum_over_targets(
                    messages
                ).clamp_(min=1.0)
                for_messages = order.with_targets_(Tensor.mul_, messages, share)
                of_sources.mul_(for_messages)
                for_scale = sigmoid_backward(of_sources, scale)
                for_h = order.sum_over_sources(scale.mul_(for_messages))
                if for_rows:
                    for_u = blocks(for_messages, shift_weight[shift])
                    for_u += blocks(for_scale, scale_weight[own])
                if for_weights:
                    give(
                        shift_weight=block_products(for_messages, u, group.size),
                        shift_bias=for_messages.sum(0).view(group.size, -1),
                    )
            else:
                sums = total - maxima
                received = group.columns(for_sums, sums).contiguous()
                order.with_targets_(Tensor.mul_, of_sources, received)
                for_scale = sigmoid_backward(of_sources, scale)
                for_h = order.sum_over_sources(order.with_targets_(Tensor.mul_, scale, received))
                if for_rows:
                    for_u = blocks(for_scale, scale_weight[own])
                    order.with_targets_(Tensor.add_, for_u, group.columns(for_modulation_sums, sums).contiguous())
            if for_rows:
                give(hidden=blocks(for_h, message_weight[own]), modulation=for_u)
            if for_weights:
                give(
                    message_weight=block_products(for_h, group.columns(hidden, total), group.size),
                    message_bias=for_h.sum(0).view(group.size, -1),
                    scale_weight=block_products(for_scale, u, group.size),
                    scale_bias=for_scale.sum(0).view(group.size, -1),
                )
        names = ("message_weight", "message_bias", "scale_weight", "scale_bias", "shift_weight", "shift_bias")
        return (
            *(torch.cat(grads[name], dim=1) if for_rows else None for name in ("hidden", "modulation")),
            *(torch.cat(grads[name]) if name in grads else None for name in names),
            None,
        )


class _Group(NamedTuple):
    """Operations that are computed together."""

    first: int
    size: int
    takes_maximum: bool

    def columns(self, rows: Tensor, total: int) -> Tensor:
        """Their columns of rows that `total` operations share."""
        channels = rows.size(1) // total
        return rows[:, self.first * channels : (self.first + self.size) * channels]


def _groups(sums: int, maxima: int) -> list[_Group]:
    def of(first: int, end: int, takes_maximum: bool) -> Iterator[_Group]:
        for start in range(first, end, _TOGETHER):
            yield _Group(start, min(_TOGETHER, end - start), takes_maximum)

    return [*of(0, sums, False), *of(sums, sums + maxima, True)]


def _scale(modulation: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return blocks(modulation, weight.mT).add_(bias.flatten()).sigmoid_()


def _side_by_side(parts: list[Tensor], empty: Tensor) -> Tensor:
    return torch.cat(parts, dim=1) if parts else empty
