"""The operations of EGNAS's cells, and those of them that reach the output.

A cell is two coupled graphs of states, one of nodes and one of edges: states 0 and 1 are the
outputs of the two cells before it, states 2, 3, ... are sums of operations on earlier states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from automl_plugins.spaces.task import Level

Kind = Literal["node", "edge"]
KINDS: tuple[Kind, Kind] = ("node", "edge")
NONE = "none"
"""The operation that gives zero: an option of the supernet's gates, not of an architecture."""
IDENTITY = "identity"


class Step(NamedTuple):
    """One operation between two states of a cell.

    Args:
        kind: whether it updates nodes or edges.
        target: the state that it adds to.
        source: the state that it reads, of nodes and of edges.
        operation: what it does.
    """

    kind: Kind
    target: int
    source: int
    operation: str

    @property
    def key(self) -> str:
        """The name of its module."""
        return f"{self.kind}{self.target}-from{self.source}-{self.operation}"

    @property
    def has_weights(self) -> bool:
        """True where it has a module."""
        return self.operation not in (IDENTITY, NONE)

    @property
    def reads(self) -> tuple[tuple[Kind, int], ...]:
        """The states that it reads."""
        if not self.has_weights:
            return ((self.kind, self.source),)
        return (("node", self.source), ("edge", self.source))


class GatePlace(NamedTuple):
    """The place of an operation's gate: a gate choice, by its name, and the position of an option."""

    gate: str
    option: int


class CellPlan(NamedTuple):
    """The plan of a cell: steps that reach the network's output, and which of its two outputs do.

    Args:
        steps: in order of their targets, node states before edge states.
        states: the number of states of a kind, inputs included.
        outputs: the kinds whose merged states are read by a later cell or by the head.
    """

    steps: tuple[Step, ...]
    states: int
    outputs: frozenset[Kind]

    def into(self, kind: Kind, target: int) -> list[Step]:
        """The steps that add to a state."""
        return [step for step in self.steps if (step.kind, step.target) == (kind, target)]


class StackPlan(NamedTuple):
    """The plan of a stack of cells.

    Args:
        cells: from the first to the last.
        embedded: the kinds of embedded inputs that are read.
    """

    cells: tuple[CellPlan, ...]
    embedded: frozenset[Kind]


def plan_stack(
    cells: Sequence[Sequence[Step]], states: int, level: Level, read: Sequence[int] | None = None
) -> StackPlan:
    """Leave out what does not reach the output: its weights would never have a gradient.

    On node level, say, nothing reads the edges that the last cell gives.

    Args:
        cells: each cell's steps.
        states: the number of states of a kind in a cell, inputs included.
        level: what the head reads: nodes, edges, or (level `graph`) both.
        read: the states that a cell's output is made of, see `EGNASSizes.read_states`; all of them where left out.
    """
    read = range(states) if read is None else read
    read_by_head: Mapping[str, tuple[Kind, ...]] = {"node": ("node",), "edge": ("edge",), "graph": ("node", "edge")}
    # Position 0 and 1 are the embedded input; cell c gives position c + 2 and reads c and c + 1.
    needed: list[set[Kind]] = [set() for _ in range(len(cells) + 2)]
    needed[-1].update(read_by_head[level])
    plans: list[CellPlan] = []
    for position in reversed(range(len(cells))):
        outputs = frozenset(needed[position + 2])
        live: set[tuple[Kind, int]] = {(kind, state) for kind in outputs for state in read}
        kept: list[Step] = []
        for target in reversed(range(2, states)):
            for step in cells[position]:
                if step.target == target and (step.kind, target) in live:
                    kept.append(step)
                    live.update(step.reads)
        for state in (0, 1):
            needed[position + state].update(kind for kind, read in live if read == state)
        order = [step for step in cells[position] if step in set(kept)]
        plans.append(CellPlan(tuple(order), states, outputs))
    return StackPlan(tuple(reversed(plans)), frozenset(needed[0] | needed[1]))
