"""Batch normalisation of several operations' results, times their gates, added up for the states they lead to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from automl_plugins.supernets.derivatives import HandWritten, first_order
from gnn_space.egnas.plan import Step
from gnn_space.egnas.weight_stack import WeightStack

_EPSILON = 1e-5
_MOMENTUM = 0.1


class _GatedNorm(HandWritten):
    """`sum_o gate_o * (rows_o - mean_o) * inverse_o` for each target.

    Args:
        gates: `[num_operations]`.
        mean, inverse: what to normalise by, `[num_operations, channels]`; None: by the batch's own.
        destinations: for each operation, the position of its result in the output.
        results: `[num_rows, operations * channels]` each, together those of all operations.

    Returns:
        `[num_rows, channels]` for each destination; then the batch's means and variances, `[num_operations,
        channels]`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        gates: Tensor,
        mean: Tensor | None,
        variance: Tensor | None,
        destinations: Sequence[int],
        *results: Tensor,
    ) -> tuple[Tensor, ...]:
        channels = sum(rows.size(1) for rows in results) // len(gates)
        outputs: list[Tensor | None] = [None] * (max(destinations) + 1)
        means, variances, inverses, centred = [], [], [], []
        first = 0
        for rows in results:
            count = rows.size(1) // channels
            own = slice(first, first + count)
            centre = rows.mean(0) if mean is None else mean[own].flatten()
            rows = rows - centre
            spread = (rows * rows).mean(0) if variance is None else variance[own].flatten()
            inverse = (spread + _EPSILON).rsqrt_().view(count, channels)
            factors = gates[own].unsqueeze(1) * inverse
            for position in range(count):
                part = rows[:, position * channels : (position + 1) * channels]
                destination = destinations[first + position]
                output = outputs[destination]
                if output is None:
                    outputs[destination] = part * factors[position]
                else:
                    output.addcmul_(part, factors[position])
            means.append(centre.view(count, channels))
            variances.append(spread.view(count, channels))
            inverses.append(inverse)
            centred.append(rows)
            first += count
        ctx.destinations = destinations
        ctx.by_batch = mean is None
        ctx.save_for_backward(gates, torch.cat(inverses), *centred)
        statistics = torch.cat(means), torch.cat(variances)
        ctx.mark_non_differentiable(*statistics)
        return (*cast(list[Tensor], outputs), *statistics)

    @staticmethod
    @first_order
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        gates, inverses, *centred = ctx.saved_tensors
        channels = inverses.size(1)
        outputs = list(gradients[:-2])
        means = [gradient.mean(0) for gradient in outputs]
        for_gates, for_results = [], []
        first = 0
        for rows in centred:
            own = slice(first, first + rows.size(1) // channels)
            into = ctx.destinations[own]
            first = own.stop
            gradient = torch.cat([outputs[destination] for destination in into], dim=1)
            if ctx.by_batch:
                gradient -= torch.cat([means[destination] for destination in into])
            inverse = inverses[own]
            products = (gradient * rows).sum(0).view_as(inverse)
            for_gates.append((products * inverse).sum(1))
            factors = gates[own].unsqueeze(1) * inverse
            gradient *= factors.flatten()
            if ctx.by_batch:
                gradient.addcmul_(rows, (factors * inverse.square() * products / -max(len(rows), 1)).flatten())
            for_results.append(gradient)
        return torch.cat(for_gates), None, None, None, *for_results


def gated_norm(
    weights: WeightStack, steps: Sequence[Step], gates: Tensor, results: Sequence[Tensor], training: bool
) -> dict[int, Tensor]:
    """Normalise each operation's result, multiply it by its gate, and add up what leads to one state.

    As `gnn_space.frame.batch_norm`: a single row is normalised by the running statistics.

    Args:
        weights: the operations' running statistics, which are updated in training.
        steps: the operations.
        gates: `[num_operations]`.
        results: `[num_rows, operations * channels]` each, together those of all operations, in order.
        training: whether to normalise by the batch's statistics.

    Returns:
        For each target, `[num_rows, channels]`.
    """
    targets = list(dict.fromkeys(step.target for step in steps))
    destinations = [targets.index(step.target) for step in steps]
    num_rows = len(results[0])
    by_batch = training and num_rows > 1
    running = [weights.select(f"norm.module.running_{name}", steps) for name in ("mean", "var")]
    *outputs, mean, variance = _GatedNorm.apply(gates, *([None, None] if by_batch else running), destinations, *results)
    if by_batch:
        _update(weights, steps, mean, variance * (num_rows / (num_rows - 1)))
    return dict(zip(targets, outputs, strict=True))


@torch.no_grad()
def _update(weights: WeightStack, steps: Sequence[Step], mean: Tensor, variance: Tensor) -> None:
    for name, batch in (("running_mean", mean), ("running_var", variance)):
        name = f"norm.module.{name}"
        running = weights.tensor(name)
        rows = torch.tensor(weights.positions(name, steps), device=running.device)
        running.index_copy_(0, rows, running.index_select(0, rows).lerp_(batch.to(running.dtype), _MOMENTUM))
    weights.tensor("norm.module.num_batches_tracked").index_add_(0, rows, torch.ones_like(rows))
