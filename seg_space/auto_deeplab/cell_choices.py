"""The choices of a cell, the gates of its supernet, and the way from one to the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.supernets.gates import Closed
from automl_plugins.supernets.rules import strongest_inputs
from seg_space.auto_deeplab.cell import (
    GATE_OPTIONS,
    OPERATIONS,
    SLOTS,
    gate_name,
    input_options,
    inputs_name,
    number_of_cells,
    operation_name,
    states_before,
)
from seg_space.auto_deeplab.layout import cell_steps


class CellChoices:
    """A cell's choices: the pair of states that each block reads, and the operation on each of them.

    The gates are others: one for every operation on every state that a block may read, `none` among them. Decoding
    keeps the two states whose best operation other than `none` scores highest (Liu et al. 2019, section 3.3).

    Args:
        blocks: of the cell.
    """

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks
        self.count = number_of_cells(blocks)
        """The number of cells, exactly."""
        # The block of each choice, and its operation's slot; None: the choice is of the block's inputs.
        self._places: dict[str, tuple[int, int | None]] = {}
        choices: list[Choice] = []
        for block in range(blocks):
            choices.append(Choice(inputs_name(block), input_options(block)))
            choices += (Choice(operation_name(block, slot), OPERATIONS) for slot in SLOTS)
            self._places |= {inputs_name(block): (block, None)}
            self._places |= {operation_name(block, slot): (block, slot) for slot in SLOTS}
        self.choices = tuple(choices)
        self.gate_choices = tuple(
            Choice(gate_name(block, state), GATE_OPTIONS)
            for block in range(blocks)
            for state in range(states_before(block))
        )

    @property
    def gate_groups(self) -> tuple[tuple[str, ...], ...]:
        """The gates of the operations that lead to each block."""
        return tuple(
            tuple(gate_name(block, state) for state in range(states_before(block))) for block in range(self.blocks)
        )

    def __contains__(self, choice: Choice) -> bool:
        return choice.name in self._places

    def gate_values(self, architecture: Mapping[str, Value]) -> Mapping[str, Value]:
        """The option that each open gate is one-hot at, in an architecture."""
        steps = cell_steps(architecture, self.blocks)
        return {gate_name(step.block, step.source): step.operation for step in steps}

    def open_options(self, choice: Choice, values: Mapping[str, Value], closed: Closed) -> Sequence[Value]:
        """The options that a choice has left; see `SupernetSpace.open_options`."""
        block, slot = self._places[choice.name]

        def operations(source: str) -> list[str]:
            without = closed.get(gate_name(block, int(source)), frozenset())
            return [operation for operation in OPERATIONS if operation not in without]

        if slot is not None:
            return operations(str(values[inputs_name(block)]).split("+")[slot])
        return [option for option in choice.options if all(map(operations, str(option).split("+")))]

    def decode(self, scores: Mapping[str, Tensor]) -> dict[str, Value]:
        """The values of the choices that scores of the gates stand for."""
        values: dict[str, Value] = {}
        for block in range(self.blocks):
            # Without the first option, which is `none`.
            rows = torch.stack([scores[gate_name(block, state)][1:] for state in range(states_before(block))])
            strongest = strongest_inputs(rows, len(SLOTS))
            values[inputs_name(block)] = "+".join(str(state) for state, _ in strongest)
            for slot, (_, operation) in enumerate(strongest):
                values[operation_name(block, slot)] = OPERATIONS[operation]
        return values
