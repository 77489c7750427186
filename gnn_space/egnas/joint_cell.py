"""EGNAS's mixed cell in its joint form: the operations of one name that lead to a state are computed side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.partial_channels import Part
from automl_plugins.supernets.recomputation import recomputed
from gnn_space.egnas.catalogue import Form, joint_form
from gnn_space.egnas.frame import States, merged
from gnn_space.egnas.graph_index import GraphIndex
from gnn_space.egnas.mixed_cell import MixedCell, mixed_part, with_rest
from gnn_space.egnas.operation_stack import OperationStack
from gnn_space.egnas.operations import SLOPE
from gnn_space.egnas.plan import KINDS, Kind, Step
from gnn_space.egnas.updates import with_one


class _Sources:
    """The states of a cell in the forms in which its operations read them."""

    def __init__(self, parts: Mapping[Kind, Part]) -> None:
        self.parts = parts
        self.states: list[States] = []
        self._read: list[dict[Form, tuple[Tensor, Tensor]]] = []
        self._stacked: dict[tuple[Form, Sequence[int]], tuple[Tensor, Tensor]] = {}

    def append(self, state: States) -> None:
        """Add a state, which operations read if it has both nodes and edges."""
        nodes, edges = (mixed_part(self.parts[kind], rows) for kind, rows in zip(KINDS, state, strict=True))
        self.states.append(state)
        self._read.append({})
        if nodes is not None and edges is not None:
            plain = with_one(nodes), with_one(edges)
            self._read[-1]["both"] = plain
            self._read[-1]["node"] = with_one(functional.leaky_relu(nodes, SLOPE)), plain[1]
            self._read[-1]["edge"] = plain[0], functional.leaky_relu(edges, SLOPE)

    def stacked(self, form: Form, sources: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Nodes and edges as operations of a form read them, `[num_sources, num_rows, channels]`."""
        if (form, sources) not in self._stacked:
            nodes, edges = zip(*(self._read[source][form] for source in sources), strict=True)
            self._stacked[form, sources] = torch.stack(nodes), torch.stack(edges)
        return self._stacked[form, sources]

    def needs_gradient(self, source: int) -> bool:
        """True where anything before a state is trained."""
        return any(state is not None and state.requires_grad for state in self.states[source])


class JointCell(nn.Module):
    """A cell that computes what a `MixedCell` computes, up to rounding, in fewer calls and less memory.

    Args:
        cell: the mixed cell, whose weights are copied.
        checkpointing: compute all operations again in the backward pass, not only their largest parts.
    """

    def __init__(self, cell: MixedCell, checkpointing: bool) -> None:
        super().__init__()
        self.plan = cell.plan
        self.sizes = cell.sizes
        self.places = cell.places
        self.parts = cell.parts
        self.merges = cell.merges
        self.checkpointing = checkpointing
        self.steps: dict[str, list[Step]] = {}
        for step in self.plan.steps:
            if step.has_weights:
                self.steps.setdefault(_stack_name(step), []).append(step)
        self.stacks = nn.ModuleDict(
            {
                name: OperationStack({step: cell.operations[step.key] for step in steps})
                for name, steps in self.steps.items()
            }
        )

    def operation_state(self) -> dict[str, Tensor]:
        """The operations' weights, by their names in the mixed cell."""
        return {
            f"operations.{step.key}.{name}": tensor
            for key, steps in self.steps.items()
            for step in steps
            for name, tensor in cast(OperationStack, self.stacks[key]).state_of(step).items()
        }

    def forward(self, first: States, second: States, graph: GraphIndex, gates: Gates) -> States:
        like = next(self.parameters())
        sources = _Sources(self.parts)
        # In the weights' precision: most of the work is not matrix products, and composed maps need the digits.
        with torch.autocast(like.device.type, enabled=False):
            for state in (first, second):
                sources.append(States(*(None if rows is None else rows.to(like.dtype) for rows in state)))
            for target in range(2, self.plan.states):
                sources.append(States(*(self._state(kind, target, sources, graph, gates) for kind in KINDS)))
        return merged(self.merges, self.sizes, *zip(*sources.states, strict=True))

    def _state(self, kind: Kind, target: int, sources: _Sources, graph: GraphIndex, gates: Gates) -> Tensor | None:
        mixed = self._incoming(kind, target, sources, graph, gates)
        before = [state[KINDS.index(kind)] for state in sources.states]
        return with_rest(self.parts[kind], mixed, before, self.plan.into(kind, target), self.places, gates)

    def _incoming(self, kind: Kind, target: int, sources: _Sources, graph: GraphIndex, gates: Gates) -> Tensor | None:
        steps = self.plan.into(kind, target)
        if not steps:
            return None
        total: Tensor | None = None
        for group in _groups(self._open(steps, gates), sources):
            part = self._sum(group, sources, graph, gates)
            total = part if total is None else total.add_(part)
        if total is None:
            return torch.zeros_like(self.parts[kind].of(cast(Tensor, sources.states[0][KINDS.index(kind)]), 1))
        return total

    def _open(self, steps: Sequence[Step], gates: Gates) -> list[Step]:
        return [step for step in steps if self.places[step].option in gates.open(self.places[step].gate)]

    def _sum(self, steps: Sequence[Step], sources: _Sources, graph: GraphIndex, gates: Gates) -> Tensor:
        """The sum of operations of one name, each times its gate."""
        kind, _, source, operation = steps[0]
        weights = [gates[name][option] for name, option in (self.places[step] for step in steps)]
        if not steps[0].has_weights:
            state = cast(Tensor, sources.states[source][KINDS.index(kind)])
            return weights[0] * self.parts[kind].of(state, 1)
        stack = cast(OperationStack, self.stacks[_stack_name(steps[0])])
        form, update = joint_form(kind, operation)
        nodes, edges = sources.stacked(form, tuple(step.source for step in steps))

        def run() -> Tensor:
            results = update(stack.select(steps), nodes, edges, graph)
            return stack.normalise(steps, results, weights)

        return recomputed(stack, run) if self.checkpointing else run()


def _stack_name(step: Step) -> str:
    return f"{step.kind}{step.target}-{step.operation}"


def _groups(steps: Sequence[Step], sources: _Sources) -> list[list[Step]]:
    """Steps that are computed side by side.

    A part that reads untrained states alone, as the first cell in a step of the gates, needs no backward pass.
    """
    groups: dict[tuple[str, int], list[Step]] = {}
    for step in steps:
        which = sources.needs_gradient(step.source) if step.has_weights else step.source
        groups.setdefault((step.operation, which), []).append(step)
    return list(groups.values())
