"""EGNAS's cell in a supernet: all operations, each times its gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from automl_plugins.supernets.gates import Gates
from gnn_space.egnas.catalogue import make_operation
from gnn_space.egnas.frame import States, make_merges, merged
from gnn_space.egnas.graph_index import GraphIndex
from gnn_space.egnas.plan import CellPlan, GatePlace, Kind, Step
from gnn_space.egnas.sizes import EGNASSizes


class MixedCell(nn.Module):
    """A cell with all operations, each times its gate; one whose gate is zero is not run.

    This is the plain form, operation by operation: the oracle of `JointCell`.

    Args:
        plan: every operation that there may be.
        places: of the operations' gates.
        sizes: the channels.
    """

    def __init__(self, plan: CellPlan, places: Mapping[Step, GatePlace], sizes: EGNASSizes) -> None:
        super().__init__()
        self.plan = plan
        self.sizes = sizes
        channels = sizes.node_channels, sizes.edge_channels
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
            new_nodes = self._incoming("node", target, nodes, edges, graph, gates)
            new_edges = self._incoming("edge", target, nodes, edges, graph, gates)
            nodes.append(new_nodes)
            edges.append(new_edges)
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
