"""A supernet's cell in its joint form: what operations and inputs have in common is computed once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from automl_plugins.supernets.gates import Gates
from seg_space.auto_deeplab.cell import CONVOLUTIONS, GATE_OPTIONS, IDENTITY, NONE, POOLS
from seg_space.auto_deeplab.joint_stage import Member, run_stage
from seg_space.auto_deeplab.mixed_cell import Input, MixedCell, StateOperations
from seg_space.auto_deeplab.operations import pool
from seg_space.auto_deeplab.stacked import StackedConvolution, StackedStage, Statistics

# Feature maps are laid out as [batch, height, width, ..., channels] in this file: with the channels innermost, a
# depthwise convolution of many channels is several times as quick on a CPU.

# Convolutions that are computed side by side: those of one atrous rate, with kernels of 3x3 and 5x5.
_BANKS = (("separable_3x3", "separable_5x5"), ("atrous_3x3", "atrous_5x5"))


class JointCell(MixedCell):
    """It computes what `MixedCell` computes, up to rounding, in few calls on wide feature maps.

    The feature maps that come in, and the operations that read one state, lie side by side as channels:
    rectifying, pooling and their normalisation are done once per state, depthwise convolutions once per kind for
    all edges that leave it, 1x1 convolutions as one batched matrix product, and gates are the scales of
    normalisations. Gradients of gradients are refused;
    the plain form (`AutoDeepLabSupernet.plain`) has them.

    If no more is run than in a network's cell, there is little to share, and operation by operation is quicker.
    """

    def forward(self, before: Tensor, inputs: Sequence[Input], gates: Gates) -> Tensor:
        if self._runs_no_more_than_a_network(inputs, gates):
            return super().forward(before, inputs, gates)
        places = [incoming.place for incoming in inputs]
        current = torch.stack([incoming.features.permute(0, 2, 3, 1) for incoming in inputs], dim=3)
        totals = self._together(0, before.permute(0, 2, 3, 1).unsqueeze(3), [0], gates)
        empty = torch.zeros_like(current)
        outputs: list[Tensor] = []
        for state in range(1, self.blocks + 2):
            if state > 1:
                # What comes from the second input alone is the same for all inputs.
                current = totals[state - 2].expand_as(empty) if state - 2 in totals else empty
                current = self.part.shuffled(current, 4)
                outputs.append(current)
            if state <= self.blocks:
                for block, part in self._together(state, current, places, gates).items():
                    totals[block] = totals[block] + part if block in totals else part
        weights = [incoming.weight for incoming in inputs]
        blocks = torch.stack(outputs, dim=3)
        if any(weight is not None for weight in weights):
            # [batch, height, width, blocks, inputs, channels] -> the weighted sum over the inputs.
            blocks = blocks * torch.stack(cast("list[Tensor]", weights)).view(-1, 1)
        return blocks.sum(dim=4).flatten(3).permute(0, 3, 1, 2)

    def _runs_no_more_than_a_network(self, inputs: Sequence[Input], gates: Gates) -> bool:
        """True where there are at most two operations for each block, counted for each input that they are run on."""
        runs = 0
        for state in range(self.blocks + 1):
            opened = [GATE_OPTIONS[option] for name in self._operations(state).names for option in gates.open(name)]
            runs += (1 if state == 0 else len(inputs)) * sum(operation != NONE for operation in opened)
        return runs <= 2 * self.blocks

    def _together(self, state: int, x: Tensor, places: Sequence[int], gates: Gates) -> dict[int, Tensor]:
        """`run_state` of a state's mixed channels, beside those that pass by."""
        mixed = x if self.part.share == 1 else self.part.of(x, 4).contiguous()
        return self._with_rest(state, run_state(self._operations(state), mixed, places, gates), x, gates, 4)


def run_state(operations: StateOperations, x: Tensor, places: Sequence[int], gates: Gates) -> dict[int, Tensor]:
    """A state's addition to each block that reads it, `[batch, height, width, inputs, channels]`, where a gate is open.

    Args:
        operations: that read the state.
        x: the state, `[batch, height, width, inputs, channels]`.
        places: which of the running statistics are those of the inputs.
        gates: of the cell.
    """
    totals: dict[int, Tensor] = {}
    opened: dict[str, list[int]] = {}
    for edge, name in enumerate(operations.names):
        for option in gates.open(name):
            opened.setdefault(GATE_OPTIONS[option], []).append(edge)
    rows = torch.tensor([gates.row(name) for name in operations.names], device=x.device)
    weights = gates.matrix.index_select(0, rows)
    arguments = operations, x, places, opened, weights
    for edges, part in itertools.chain(_convolutions(*arguments), _poolings(*arguments)):
        for edge, tensor in zip(edges, part, strict=True):
            block = operations.readers[edge]
            totals[block] = totals[block] + tensor if block in totals else tensor
    return totals


Part = tuple[Sequence[int], Sequence[Tensor]]


def _poolings(
    operations: StateOperations, x: Tensor, places: Sequence[int], opened: dict[str, list[int]], weights: Tensor
) -> Iterator[Part]:
    """Identity and pooling: the same results for every edge, with other weights."""
    kinds = [name for name in (*POOLS, IDENTITY) if name in opened]
    if not kinds:
        return
    results = []
    for name in kinds:
        if name == IDENTITY:
            results.append(x)
        else:
            statistics = cast(Statistics, operations.pools[name])
            pooled = pool(_image(x), name)
            results.append(statistics.normalise_together(pooled, [0], places, None).permute(0, 2, 3, 1).view_as(x))
    edges = sorted({edge for name in kinds for edge in opened[name]})
    columns = torch.tensor([GATE_OPTIONS.index(name) for name in kinds], device=x.device)
    shares = weights[torch.tensor(edges, device=x.device).unsqueeze(1), columns]
    # A closed gate lets no gradient through, here as elsewhere.
    shares = torch.where(shares == 0, 0.0, shares)
    mixed = shares.to(x.dtype) @ torch.stack(results).flatten(1)
    yield edges, mixed.view(len(edges), *x.shape).unbind()


def _convolutions(
    operations: StateOperations, x: Tensor, places: Sequence[int], opened: dict[str, list[int]], weights: Tensor
) -> Iterator[Part]:
    rectified = functional.relu(x)
    copies: dict[int, Tensor] = {}
    for names in _BANKS:
        run = [
            (cast(StackedConvolution, operations.convolutions[name]), opened[name]) for name in names if name in opened
        ]
        if not run:
            continue
        edges = [edge for _, open_edges in run for edge in open_edges]
        if len(edges) not in copies:
            copies[len(edges)] = rectified.unsqueeze(3).expand(-1, -1, -1, len(edges), -1, -1).contiguous()
        result = copies[len(edges)]
        options = [GATE_OPTIONS.index(name) for name in names if name in opened for _ in opened[name]]
        scale = weights[torch.tensor(edges, device=x.device), torch.tensor(options, device=x.device)]
        stages = CONVOLUTIONS[names[0]].stages
        for number in range(stages):
            if number > 0:
                result = functional.relu(result)
            members = [
                Member(cast(StackedStage, convolution.stages[number]), open_edges) for convolution, open_edges in run
            ]
            result = run_stage(result, members, places, scale if number == stages - 1 else None)
        if all(open_edges == run[0][1] for _, open_edges in run):
            # The same edges for each operation: added at once.
            edges, result = run[0][1], result.unflatten(3, (len(run), -1)).sum(dim=3)
        yield edges, result.unbind(dim=3)


def _image(x: Tensor) -> Tensor:
    """The same feature map as `[batch, channels, height, width]` in `channels_last`."""
    return x.flatten(3).permute(0, 3, 1, 2)
