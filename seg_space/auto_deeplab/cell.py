"""The cell of Auto-DeepLab: blocks of two operations on earlier states, and the names of its choices and gates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

NONE = "none"
"""The operation that gives zero: an option of the supernet's gates, not of an architecture."""
IDENTITY = "identity"
POOLS = ("average_pool", "max_pool")


class Convolution(NamedTuple):
    """A depthwise convolution and a 1x1 convolution, as often as there are stages.

    Args:
        kernel: width of the depthwise kernel.
        dilation: its atrous rate.
        stages: how often both are applied; separable convolutions are applied twice, as in NASNet and DARTS.
    """

    kernel: int
    dilation: int
    stages: int


CONVOLUTIONS = {
    "separable_3x3": Convolution(3, 1, 2),
    "separable_5x5": Convolution(5, 1, 2),
    "atrous_3x3": Convolution(3, 2, 1),
    "atrous_5x5": Convolution(5, 2, 1),
}
OPERATIONS = (*CONVOLUTIONS, *POOLS, IDENTITY)
GATE_OPTIONS = (NONE, *OPERATIONS)


SLOTS = (0, 1)
"""The two operations of a block."""


def inputs_name(block: int) -> str:
    """The choice of the two states that a block reads."""
    return f"cell.block{block}.inputs"


def operation_name(block: int, slot: int) -> str:
    """The choice of one of a block's two operations."""
    return f"cell.block{block}.input{slot}.operation"


def gate_name(block: int, state: int) -> str:
    """The gate of a block's operation on a state."""
    return f"cell.block{block}.from{state}.operation"


class Step(NamedTuple):
    """One of the two operations of a block.

    Args:
        block: from 0.
        slot: 0 or 1.
        source: the state that is read: 0 is the output of two layers before, 1 that of the layer before,
            2 and on are the blocks of this cell.
        operation: one of `OPERATIONS`.
    """

    block: int
    slot: int
    source: int
    operation: str

    @property
    def key(self) -> str:
        """The name of its module."""
        return f"block{self.block}_input{self.slot}"


def states_before(block: int) -> int:
    """The number of states that a block may read."""
    return block + 2


def readers(state: int, blocks: int) -> Sequence[int]:
    """The blocks that may read a state."""
    return range(max(0, state - 1), blocks)


def input_options(block: int) -> tuple[str, ...]:
    """The pairs of different states that a block may read, as text (`0+1`)."""
    return tuple(f"{first}+{second}" for first, second in combinations(range(states_before(block)), 2))


def number_of_cells(blocks: int) -> int:
    """The number of cells of the space: two different predecessors for each block, in no order, and no `none`."""
    return math.prod(math.comb(states_before(block), 2) * len(OPERATIONS) ** 2 for block in range(blocks))
