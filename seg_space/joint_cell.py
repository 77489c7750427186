"""A supernet's cell in its joint form: what operations and incoming maps have in common is computed once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from automl_plugins.gates import Gates
from seg_space.cell import CONVOLUTIONS, GATE_OPTIONS, IDENTITY, POOLS
from seg_space.depthwise import depthwise
from seg_space.mixed_cell import Input, MixedCell, StackedConvolution, StackedStage, StateOperations, Statistics
from seg_space.operations import pool

# Maps are kept as [batch, height, width, ..., channels] in this file: with the channels innermost, a depthwise
# convolution of many channels is several times as quick on a CPU.


class JointCell(MixedCell):
    """It computes what `MixedCell` computes, up to rounding, in few calls on wide maps.

    The maps that come in, and the operations that read one state, lie side by side as channels:
    rectifying, pooling and their normalisation are done once per state, depthwise convolutions once per kind for
    all edges that leave it, 1x1 convolutions as one batched matrix product, and gates are the scales of
    normalisations. Gradients of gradients are not available on a CPU.
    """

    def forward(self, before: Tensor, inputs: Sequence[Input], gates: Gates) -> Tensor:
        places = [each.place for each in inputs]
        current = torch.stack([each.map.permute(0, 2, 3, 1) for each in inputs], dim=3)
        totals = run_state(self._operations(0), before.permute(0, 2, 3, 1).unsqueeze(3), [0], gates)
        empty = torch.zeros_like(current)
        outputs: list[Tensor] = []
        for state in range(1, self.blocks + 2):
            if state > 1:
                # What comes from the second input alone is the same for all maps.
                current = totals[state - 2].expand_as(empty) if state - 2 in totals else empty
                outputs.append(current)
            if state <= self.blocks:
                for block, part in run_state(self._operations(state), current, places, gates).items():
                    totals[block] = totals[block] + part if block in totals else part
        weights = [each.weight for each in inputs]
        blocks = torch.stack(outputs, dim=3)
        if any(weight is not None for weight in weights):
            # [batch, height, width, blocks, maps, channels] -> the weighted sum over the maps.
            blocks = blocks * torch.stack(cast("list[Tensor]", weights)).view(-1, 1)
        return blocks.sum(dim=4).flatten(3).permute(0, 3, 1, 2)

    def _operations(self, state: int) -> StateOperations:
        return cast(StateOperations, self.states[state])


def run_state(operations: StateOperations, x: Tensor, places: Sequence[int], gates: Gates) -> dict[int, Tensor]:
    """What a state adds to each block that reads it, `[batch, height, width, maps, channels]`, where a gate is open.

    Args:
        operations: that read the state.
        x: the state, `[batch, height, width, maps, channels]`.
        places: which of the running statistics are those of the maps.
        gates: of the cell.
    """
    totals: dict[int, Tensor] = {}
    opened: dict[str, list[int]] = {}
    for edge, name in enumerate(operations.names):
        for option in gates.open(name):
            opened.setdefault(GATE_OPTIONS[option], []).append(edge)
    rows = torch.tensor([gates.row(name) for name in operations.names], device=x.device)
    weights = gates.matrix.index_select(0, rows)
    parts = [_convolutions(operations, x, places, opened, weights), _poolings(operations, x, places, opened, weights)]
    for edges, part in itertools.chain.from_iterable(parts):
        for edge, tensor in zip(edges, part, strict=True):
            block = operations.readers[edge]
            totals[block] = totals[block] + tensor if block in totals else tensor
    return totals


Part = tuple[Sequence[int], Sequence[Tensor]]


def _poolings(
    operations: StateOperations, x: Tensor, places: Sequence[int], opened: dict[str, list[int]], weights: Tensor
) -> list[Part]:
    """Identity and pooling: the same maps for every edge, with other weights."""
    kinds = [name for name in (*POOLS, IDENTITY) if name in opened]
    if not kinds:
        return []
    maps = []
    for name in kinds:
        if name == IDENTITY:
            maps.append(x)
        else:
            statistics = cast(Statistics, operations.pools[name])
            pooled = pool(_image(x), name)
            maps.append(statistics.normalise_together(pooled, [0], places, None).permute(0, 2, 3, 1).view_as(x))
    edges = sorted({edge for name in kinds for edge in opened[name]})
    columns = torch.tensor([GATE_OPTIONS.index(name) for name in kinds], device=x.device)
    shares = weights[torch.tensor(edges, device=x.device).unsqueeze(1), columns]
    # A closed gate lets no gradient through, here as elsewhere.
    shares = torch.where(shares == 0, 0.0, shares)
    mixed = shares.to(x.dtype) @ torch.stack(maps).flatten(1)
    return [(edges, mixed.view(len(edges), *x.shape).unbind())]


def _convolutions(
    operations: StateOperations, x: Tensor, places: Sequence[int], opened: dict[str, list[int]], weights: Tensor
) -> list[Part]:
    kinds = [name for name in CONVOLUTIONS if name in opened]
    if not kinds:
        return []
    rectified = functional.relu(x)
    copies: dict[int, Tensor] = {}
    sums: dict[tuple[int, ...], Tensor] = {}
    for name in kinds:
        edges = opened[name]
        if len(edges) not in copies:
            copies[len(edges)] = rectified.unsqueeze(3).expand(-1, -1, -1, len(edges), -1, -1).contiguous()
        result = copies[len(edges)]
        stages = cast(StackedConvolution, operations.convolutions[name]).stages
        for number, stage in enumerate(stages):
            if number > 0:
                result = functional.relu(result)
            scale = weights[edges, GATE_OPTIONS.index(name)] if number == len(stages) - 1 else None
            result = _stage(cast(StackedStage, stage), result, edges, places, scale)
        key = tuple(edges)
        sums[key] = sums[key] + result if key in sums else result
    return [(edges, total.unbind(dim=3)) for edges, total in sums.items()]


def _stage(stage: StackedStage, x: Tensor, edges: Sequence[int], places: Sequence[int], scale: Tensor | None) -> Tensor:
    """Depthwise and 1x1 convolution and normalisation, times `scale`.

    Args:
        stage: the weights.
        x: rectified, `[batch, height, width, edges, maps, channels]`.
        edges: which of the stage's edges they are.
        places: which of the running statistics are those of the maps.
        scale: `[edges]`; None: one.

    Returns:
        Like x.
    """
    every = len(edges) == len(stage.depthwise)
    kernels = stage.depthwise if every else stage.depthwise[edges]
    matrices = stage.pointwise if every else stage.pointwise[edges]
    kernels = kernels.unsqueeze(1).expand(-1, len(places), -1, -1, -1, -1).flatten(0, 2)
    convolved = depthwise(_image(x), kernels, stage.dilation).permute(0, 2, 3, 1).reshape(x.shape)
    mixed: Tensor = _Pointwise.apply(convolved, matrices.flatten(2))
    if scale is not None:
        scale = scale.to(x.dtype).repeat_interleave(x.size(-1) * x.size(-2))
    normalised = stage.statistics.normalise_together(_image(mixed), edges, places, scale)
    return normalised.permute(0, 2, 3, 1).view_as(x)


def _image(x: Tensor) -> Tensor:
    """The same map as `[batch, channels, height, width]` in `channels_last`."""
    return x.flatten(3).permute(0, 3, 1, 2)


class _Pointwise(torch.autograd.Function):
    """Multiply the channels of each edge by its matrix; results lie like the input, so nothing is copied.

    Inputs are `[batch, height, width, edges, maps, channels]` and matrices `[edges, out, in]`.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrices: Tensor) -> Tensor:
        ctx.save_for_backward(x, matrices)
        return _products(x, matrices.transpose(1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, matrices = ctx.saved_tensors
        of_x = of_matrices = None
        gradient = gradient.contiguous()
        if ctx.needs_input_grad[0]:
            of_x = _products(gradient, matrices)
        if ctx.needs_input_grad[1]:
            products = torch.bmm(_rows(gradient).transpose(1, 2), _rows(x))
            of_matrices = products.view(x.size(3), x.size(4), *matrices.shape[1:]).sum(dim=1)
        return of_x, of_matrices


def _rows(x: Tensor) -> Tensor:
    """`[edges * maps, pixels, channels]`, without a copy."""
    pixels = x.size(0) * x.size(1) * x.size(2)
    return x.view(pixels, -1, x.size(-1)).transpose(0, 1)


def _products(x: Tensor, matrices: Tensor) -> Tensor:
    result = torch.empty_like(x)
    each = matrices.unsqueeze(1).expand(-1, x.size(4), -1, -1).flatten(0, 1)
    torch.bmm(_rows(x), each, out=_rows(result))
    return result
