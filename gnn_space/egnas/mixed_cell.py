"""EGNAS's cell in a supernet: all operations, each times its gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.partial_channels import Part
from gnn_space.egnas.catalogue import make_operation
from gnn_space.egnas.frame import States, make_merges, merged
from gnn_space.egnas.graph_index import GraphIndex
from gnn_space.egnas.plan import KINDS, CellPlan, GatePlace, Kind, Step
from gnn_space.egnas.sizes import EGNASSizes


class MixedCell(nn.Module):
    """A cell with all operations, each times its gate; one whose gate is zero is not run.

    This is the plain form, operation by operation: the oracle of `JointCell`.

    Args:
        plan: every operation that there may be.
        places: of the operations' gates.
        sizes: the channels.
        partial_channels: operations run on one channel in so many of nodes and of edges; the others pass by, weighed by
            the sum of the gates of a step's operations, and all are shuffled in the sum.
    """

    def __init__(
        self, plan: CellPlan, places: Mapping[Step, GatePlace], sizes: EGNASSizes, partial_channels: int = 1
    ) -> None:
        super().__init__()
        self.plan = plan
        self.sizes = sizes
        self.parts: dict[Kind, Part] = {
            "node": Part(sizes.node_channels, partial_channels),
            "edge": Part(sizes.edge_channels, partial_channels),
        }
        channels = self.parts["node"].mixed, self.parts["edge"].mixed
        self.operations = nn.ModuleDict(
            {
                # Without weights in the normalisation: they would undo what the gates say.
                step.key: make_operation(step.kind, step.operation, *channels, affine=False)
                for step in plan.steps
                if step.has_weights
            }
        )
        self.merges = make_merges(plan, sizes)
        self.places = {step: places[step] for step in plan.steps}

    def forward(self, first: States, second: States, graph: GraphIndex, gates: Gates) -> States:
        nodes, edges = [first.nodes, second.nodes], [first.edges, second.edges]
        for target in range(2, self.plan.states):
            read = (
                [mixed_part(self.parts["node"], x) for x in nodes],
                [mixed_part(self.parts["edge"], x) for x in edges],
            )
            new = [self._incoming(kind, target, *read, graph, gates) for kind in KINDS]
            for kind, mixed, states in zip(KINDS, new, (nodes, edges), strict=True):
                steps = self.plan.into(kind, target)
                states.append(with_rest(self.parts[kind], mixed, states, steps, self.places, gates))
        return merged(self.merges, self.sizes, nodes, edges)

    def _incoming(
        self,
        kind: Kind,
        target: int,
        nodes: list[Tensor | None],
        edges: list[Tensor | None],
        graph: GraphIndex,
        gates: Gates,
    ) -> Tensor | None:
        steps = self.plan.into(kind, target)
        own = nodes if kind == "node" else edges
        if not steps:
            return None
        total: Tensor | None = None
        for step in steps:
            name, option = self.places[step]
            if option in gates.open(name):
                run = self.operations[step.key] if step.has_weights else None
                source = step.source
                result = own[source] if run is None else run(nodes[source], edges[source], graph.edge_index)
                weighted = gates[name][option] * cast(Tensor, result)
                total = weighted if total is None else total + weighted
        return torch.zeros_like(cast(Tensor, own[0])) if total is None else total


def mixed_part(part: Part, state: Tensor | None) -> Tensor | None:
    """The channels of a state that operations run on; None: nobody reads the state."""
    return None if state is None else part.of(state, 1)


def with_rest(
    part: Part,
    mixed: Tensor | None,
    states: Sequence[Tensor | None],
    steps: Sequence[Step],
    places: Mapping[Step, GatePlace],
    gates: Gates,
) -> Tensor | None:
    """The channels that are mixed into a state, beside those of its sources that pass by, shuffled.

    Args:
        part: the channels that are mixed.
        mixed: `[num_rows, channels]`, the sum of operations on them; None: nobody reads the state.
        states: before it, of its kind.
        steps: that lead to it.
        places: of their gates.
        gates: of all cells.
    """
    if mixed is None or part.share == 1:
        return mixed
    weights: dict[int, Tensor] = {}
    for step in steps:
        name, option = places[step]
        if option in gates.open(name):
            gate = gates[name][option]
            weights[step.source] = weights[step.source] + gate if step.source in weights else gate
    rest = torch.zeros_like(part.rest(cast(Tensor, states[0]), 1))
    for source, weight in weights.items():
        rest = rest + weight * part.rest(cast(Tensor, states[source]), 1)
    return part.shuffled(torch.cat([mixed, rest], dim=1), 1)
