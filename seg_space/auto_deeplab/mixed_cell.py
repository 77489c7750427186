"""The weights of a supernet's cell, and the cell in its plain form: operation by operation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins.supernets.gates import Gates
from seg_space.auto_deeplab.cell import (
    CONVOLUTIONS,
    GATE_OPTIONS,
    IDENTITY,
    NONE,
    POOLS,
    Convolution,
    Step,
    gate_name,
    readers,
)
from seg_space.auto_deeplab.operations import pool

MOMENTUM = 0.1
EPSILON = 1e-5


class Input(NamedTuple):
    """A map that comes into a cell from the layer before.

    Args:
        map: `[batch, channels, height, width]`, at the cell's stride and channels.
        place: which of the cell's running statistics are its own.
        weight: what the cell's output for it is multiplied by; None: one.
    """

    map: Tensor
    place: int
    weight: Tensor | None


class Statistics(nn.Module):
    """The running statistics of normalisations without weights, which would undo what the gates say.

    A cell has one set of weights for all maps that come into it, but each map has statistics of its own. A single value
    per channel is normalised by them in training too, as `operations.BatchNorm` does.

    Args:
        edges: how many operations have them.
        maps: how many maps may come in.
        channels: of each.
    """

    keeps_running_statistics = True
    """As `automl_plugins.supernets.supernet.Supernet` says."""

    mean: Tensor
    variance: Tensor

    def __init__(self, edges: int, maps: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(edges, maps, channels))
        self.register_buffer("variance", torch.ones(edges, maps, channels))

    def normalise(self, x: Tensor, edge: int, place: int) -> Tensor:
        """Normalise `[batch, channels, height, width]` as `nn.BatchNorm2d(affine=False)` does, in either mode.

        Args:
            x: what to normalise.
            edge: the operation.
            place: of the map that comes in.
        """
        return self._batch_norm(x, self.mean[edge, place], self.variance[edge, place], None)

    def normalise_together(
        self, x: Tensor, edges: Sequence[int], places: Sequence[int], weight: Tensor | None
    ) -> Tensor:
        """Normalise several operations and maps at once, and multiply.

        Args:
            x: `[batch, len(edges) * len(places) * channels, height, width]`.
            edges: the operations, in order.
            places: of the maps that come in, in order.
            weight: what the channels of x are multiplied by; None: one.
        """
        if len(edges) == self.mean.size(0) and len(places) == self.mean.size(1):
            return self._batch_norm(x, self.mean.view(-1), self.variance.view(-1), weight)
        own = torch.tensor(edges, device=x.device).unsqueeze(1), torch.tensor(places, device=x.device)
        mean, variance = self.mean[own], self.variance[own]
        result = self._batch_norm(x, mean.view(-1), variance.view(-1), weight)
        if self.training:
            self.mean[own], self.variance[own] = mean, variance
        return result

    def _batch_norm(self, x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor | None) -> Tensor:
        training = self.uses_batch(x.numel() // x.size(1))
        return functional.batch_norm(x, mean, variance, weight, training=training, momentum=MOMENTUM, eps=EPSILON)

    def uses_batch(self, values: int) -> bool:
        """True where so many values per channel are normalised by their own mean and variance."""
        return self.training and values > 1

    def state_of(self, edge: int, place: int) -> dict[str, Tensor]:
        """The buffers of a `nn.BatchNorm2d` with these statistics."""
        return {"running_mean": self.mean[edge, place], "running_var": self.variance[edge, place]}


class StackedStage(nn.Module):
    """`operations.Stage` for all edges that leave one state.

    Args:
        edges: how many.
        channels: of the state.
        kernel: width of the depthwise kernel.
        dilation: its atrous rate.
        maps: how many maps may come into the cell.
    """

    def __init__(self, edges: int, channels: int, kernel: int, dilation: int, maps: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.padding = dilation * (kernel // 2)
        # The bounds are those of `nn.Conv2d`.
        self.depthwise = nn.Parameter(torch.empty(edges, channels, 1, kernel, kernel).uniform_(-1, 1) / kernel)
        self.pointwise = nn.Parameter(
            torch.empty(edges, channels, channels, 1, 1).uniform_(-1, 1) / math.sqrt(channels)
        )
        self.statistics = Statistics(edges, maps, channels)

    def forward(self, x: Tensor, edge: int, place: int) -> Tensor:
        x = functional.relu(x)
        x = functional.conv2d(x, self.depthwise[edge], padding=self.padding, dilation=self.dilation, groups=x.size(1))
        return self.statistics.normalise(functional.conv2d(x, self.pointwise[edge]), edge, place)

    def state_of(self, edge: int, place: int) -> dict[str, Tensor]:
        norm = {f"norm.{name}": tensor for name, tensor in self.statistics.state_of(edge, place).items()}
        return {"depthwise.weight": self.depthwise[edge], "pointwise.weight": self.pointwise[edge], **norm}


class StackedConvolution(nn.Module):
    """`operations.SeparableConvolution` for all edges that leave one state."""

    def __init__(self, edges: int, channels: int, convolution: Convolution, maps: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            StackedStage(edges, channels, convolution.kernel, convolution.dilation, maps)
            for _ in range(convolution.stages)
        )

    def forward(self, x: Tensor, edge: int, place: int) -> Tensor:
        for stage in self.stages:
            x = stage(x, edge, place)
        return x

    def state_of(self, edge: int, place: int) -> dict[str, Tensor]:
        return {
            f"stages.{number}.{name}": tensor
            for number, stage in enumerate(self.stages)
            for name, tensor in cast(StackedStage, stage).state_of(edge, place).items()
        }


class StateOperations(nn.Module):
    """All operations that may read one state of a cell.

    Args:
        state: its position.
        blocks: of the cell.
        channels: of the state.
        maps: how many maps may come into the cell; one for the state that does not depend on them.
    """

    def __init__(self, state: int, blocks: int, channels: int, maps: int) -> None:
        super().__init__()
        self.readers = readers(state, blocks)
        self.names = [gate_name(block, state) for block in self.readers]
        self.convolutions = nn.ModuleDict(
            {
                name: StackedConvolution(len(self.readers), channels, convolution, maps)
                for name, convolution in CONVOLUTIONS.items()
            }
        )
        # What is pooled does not depend on who reads it, so it has statistics once for all.
        self.pools = nn.ModuleDict({name: Statistics(1, maps, channels) for name in POOLS})

    def state_of(self, step: Step, place: int) -> dict[str, Tensor]:
        """The weights and statistics of an operation that reads this state, by their names in a network."""
        if step.operation in CONVOLUTIONS:
            convolution = cast(StackedConvolution, self.convolutions[step.operation])
            return convolution.state_of(self.readers.index(step.block), place)
        if step.operation in POOLS:
            statistics = cast(Statistics, self.pools[step.operation])
            return {f"norm.{name}": tensor for name, tensor in statistics.state_of(0, place).items()}
        return {}

    def forward(self, x: Tensor, place: int, gates: Gates) -> dict[int, Tensor]:
        """The addition of the state to each block that reads it, where a gate is open.

        Args:
            x: the state, `[batch, channels, height, width]`.
            place: which of the running statistics are its own.
            gates: of the cell.
        """
        totals: dict[int, Tensor] = {}
        pooled: dict[str, Tensor] = {}
        for edge, (block, name) in enumerate(zip(self.readers, self.names, strict=True)):
            for option in gates.open(name):
                operation = GATE_OPTIONS[option]
                if operation == NONE:
                    continue
                if operation == IDENTITY:
                    result = x
                elif operation in POOLS:
                    if operation not in pooled:
                        statistics = cast(Statistics, self.pools[operation])
                        pooled[operation] = statistics.normalise(pool(x, operation), 0, place)
                    result = pooled[operation]
                else:
                    result = self.convolutions[operation](x, edge, place)
                weighted = gates[name][option] * result
                totals[block] = totals[block] + weighted if block in totals else weighted
        return totals


class MixedCell(nn.Module):
    """A cell with all operations, each times its gate; one whose gate is zero is not run.

    The cell is run once for each map that comes in, with the same weights. The operations on its second input do
    not depend on them, so they are run once for all.

    Args:
        blocks: of the cell.
        channels: of each state.
        maps: how many maps may come in.
    """

    def __init__(self, blocks: int, channels: int, maps: int) -> None:
        super().__init__()
        self.blocks = blocks
        self.maps = maps
        self.states = nn.ModuleList(
            StateOperations(state, blocks, channels, 1 if state == 0 else maps) for state in range(blocks + 1)
        )

    def state_of(self, step: Step, place: int) -> dict[str, Tensor]:
        """The weights and statistics of an operation, by their names in a network.

        Args:
            step: the operation.
            place: the place of the map that comes in.
        """
        return cast(StateOperations, self.states[step.source]).state_of(step, 0 if step.source == 0 else place)

    def forward(self, before: Tensor, inputs: Sequence[Input], gates: Gates) -> Tensor:
        """The sum of the cell's outputs for each map, each times its weight.

        Args:
            before: the second input, `[batch, channels, height, width]`.
            inputs: the maps that come in.
            gates: of all choices.

        Returns:
            `[batch, blocks * channels, height, width]`.
        """
        from_before = self.states[0](before, 0, gates)
        total: Tensor | None = None
        for each in inputs:
            output = self._run(each, from_before, gates)
            if each.weight is not None:
                output = each.weight * output
            total = output if total is None else total + output
        return cast(Tensor, total)

    def _run(self, incoming: Input, from_before: dict[int, Tensor], gates: Gates) -> Tensor:
        totals = dict(from_before)
        outputs: list[Tensor] = []
        current = incoming.map
        for state in range(1, self.blocks + 2):
            if state > 1:
                current = totals[state - 2] if state - 2 in totals else torch.zeros_like(incoming.map)
                outputs.append(current)
            if state <= self.blocks:
                for block, part in self.states[state](current, incoming.place, gates).items():
                    totals[block] = totals[block] + part if block in totals else part
        return torch.cat(outputs, dim=1)
