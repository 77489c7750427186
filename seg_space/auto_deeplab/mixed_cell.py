"""A supernet's cell in its plain form: operation by operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.partial_channels import Part
from seg_space.auto_deeplab.cell import CONVOLUTIONS, GATE_OPTIONS, IDENTITY, NONE, POOLS, Step, gate_name, readers
from seg_space.auto_deeplab.operations import pool
from seg_space.auto_deeplab.stacked import StackedConvolution, Statistics


class Input(NamedTuple):
    """A feature map that comes into a cell from the layer before.

    Args:
        features: `[batch, channels, height, width]`, at the cell's stride and channels.
        place: which of the cell's running statistics are its own.
        weight: what the cell's output for it is multiplied by; None: one.
    """

    features: Tensor
    place: int
    weight: Tensor | None


class StateOperations(nn.Module):
    """All operations that may read one state of a cell.

    Args:
        state: its position.
        blocks: of the cell.
        channels: of the state.
        num_inputs: feature maps that may come into the cell; one for the state that does not depend on them.
    """

    def __init__(self, state: int, blocks: int, channels: int, num_inputs: int) -> None:
        super().__init__()
        self.readers = readers(state, blocks)
        self.names = [gate_name(block, state) for block in self.readers]
        self.convolutions = nn.ModuleDict(
            {
                name: StackedConvolution(len(self.readers), channels, convolution, num_inputs)
                for name, convolution in CONVOLUTIONS.items()
            }
        )
        # What is pooled does not depend on who reads it, so it has statistics once for all.
        self.pools = nn.ModuleDict({name: Statistics(1, num_inputs, channels) for name in POOLS})

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

    The cell is run once for each feature map that comes in, with the same weights. The operations on its second input
    do not depend on them, so they are run once for all.

    Args:
        blocks: of the cell.
        channels: of each state.
        num_inputs: feature maps that may come in.
        partial_channels: operations run on one channel in so many; the others of a state pass by, weighed by the sum of
            the gates of an edge's operations, and all are shuffled where a block's sum is read.
    """

    def __init__(self, blocks: int, channels: int, num_inputs: int, partial_channels: int = 1) -> None:
        super().__init__()
        self.blocks = blocks
        self.num_inputs = num_inputs
        self.part = Part(channels, partial_channels)
        self.states = nn.ModuleList(
            StateOperations(state, blocks, self.part.mixed, 1 if state == 0 else num_inputs)
            for state in range(blocks + 1)
        )

    def state_of(self, step: Step, place: int) -> dict[str, Tensor]:
        """The weights and statistics of an operation, by their names in a network.

        Args:
            step: the operation.
            place: the place of the feature map that comes in.
        """
        return cast(StateOperations, self.states[step.source]).state_of(step, 0 if step.source == 0 else place)

    def forward(self, before: Tensor, inputs: Sequence[Input], gates: Gates) -> Tensor:
        """The sum of the cell's outputs for each input, each times its weight.

        Args:
            before: the second input, `[batch, channels, height, width]`.
            inputs: the feature maps that come in.
            gates: of all choices.

        Returns:
            `[batch, blocks * channels, height, width]`.
        """
        from_before = self._additions(0, before, 0, gates)
        total: Tensor | None = None
        for incoming in inputs:
            output = self._run(incoming, from_before, gates)
            if incoming.weight is not None:
                output = incoming.weight * output
            total = output if total is None else total + output
        return cast(Tensor, total)

    def _run(self, incoming: Input, from_before: dict[int, Tensor], gates: Gates) -> Tensor:
        totals = dict(from_before)
        outputs: list[Tensor] = []
        current = incoming.features
        for state in range(1, self.blocks + 2):
            if state > 1:
                current = totals[state - 2] if state - 2 in totals else torch.zeros_like(incoming.features)
                current = self.part.shuffled(current, 1)
                outputs.append(current)
            if state <= self.blocks:
                for block, part in self._additions(state, current, incoming.place, gates).items():
                    totals[block] = totals[block] + part if block in totals else part
        return torch.cat(outputs, dim=1)

    def _additions(self, state: int, x: Tensor, place: int, gates: Gates) -> dict[int, Tensor]:
        """The addition of a state, `[batch, channels, height, width]`, to each block that reads it."""
        mixed = self._operations(state)(self.part.of(x, 1), place, gates)
        return self._with_rest(state, mixed, x, gates, 1)

    def _with_rest(self, state: int, mixed: dict[int, Tensor], x: Tensor, gates: Gates, dim: int) -> dict[int, Tensor]:
        """The mixed channels of a state, by block, beside those of it that pass by."""
        if self.part.share == 1:
            return mixed
        operations, rest = self._operations(state), self.part.rest(x, dim)
        joined = {}
        for block, part in mixed.items():
            name = operations.names[operations.readers.index(block)]
            opened = [option for option in gates.open(name) if GATE_OPTIONS[option] != NONE]
            joined[block] = torch.cat([part, gates[name][opened].sum() * rest], dim)
        return joined

    def _operations(self, state: int) -> StateOperations:
        return cast(StateOperations, self.states[state])
