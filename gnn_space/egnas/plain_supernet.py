"""EGNAS's supernet in its plain form: operation by operation, the oracle of the joint one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice
from automl_plugins.spaces.task import Task
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.supernet import Supernet
from gnn_space.egnas.frame import Embedding, Readout, States, make_merges, membership, merged
from gnn_space.egnas.operations import make_operation
from gnn_space.egnas.plan import CellPlan, GatePlace, Kind, StackPlan, Step
from gnn_space.egnas.sizes import EGNASSizes
from gnn_space.frame import TakesGraphs


class MixedCell(nn.Module):
    """A cell with all operations, each times its gate; one whose gate is zero is not run.

    Args:
        plan: every operation that there may be.
        places: of the operations' gates.
        sizes: the channels.
    """

    def __init__(self, plan: CellPlan, places: Mapping[Step, GatePlace], sizes: EGNASSizes) -> None:
        super().__init__()
        self.plan = plan
        self.operations = nn.ModuleDict(
            {
                # Without weights in the normalisation: they would undo what the gates say.
                step.key: make_operation(step.operation, sizes.node_channels, sizes.edge_channels, affine=False)
                for step in plan.steps
                if step.has_weights
            }
        )
        self.merges = make_merges(plan, sizes)
        self.places = {step: places[step] for step in plan.steps}

    def forward(self, first: States, second: States, edge_index: Tensor, gates: Gates) -> States:
        nodes, edges = [first.nodes, second.nodes], [first.edges, second.edges]
        for target in range(2, self.plan.states):
            new_nodes = self._incoming("node", target, nodes, edges, edge_index, gates)
            new_edges = self._incoming("edge", target, nodes, edges, edge_index, gates)
            nodes.append(new_nodes)
            edges.append(new_edges)
        return merged(self.merges, nodes, edges)

    def _incoming(
        self,
        kind: Kind,
        target: int,
        nodes: list[Tensor | None],
        edges: list[Tensor | None],
        edge_index: Tensor,
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
                result = own[source] if run is None else run(nodes[source], edges[source], edge_index)
                weighted = gates[name][option] * cast(Tensor, result)
                total = weighted if total is None else total + weighted
        return torch.zeros_like(cast(Tensor, own[0])) if total is None else total


class EGNASPlainSupernet(TakesGraphs, Supernet):
    """All architectures of an `EGNASSpace`; inputs and output as those of `EGNASNetwork`.

    Args:
        plan: what its cells compute.
        places: for each cell, those of its operations' gates.
        choices: the gates.
        task: what the networks must fit.
        sizes: the channels.
    """

    def __init__(
        self,
        plan: StackPlan,
        places: Sequence[Mapping[Step, GatePlace]],
        choices: Sequence[Choice],
        task: Task,
        sizes: EGNASSizes,
    ) -> None:
        super().__init__()
        self.choices = tuple(choices)
        self.embedding = Embedding(task, sizes, plan.embedded)
        self.cells = nn.ModuleList(
            MixedCell(cell_plan, cell_places, sizes) for cell_plan, cell_places in zip(plan.cells, places, strict=True)
        )
        self.readout = Readout(task, sizes)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        batch: Tensor | None = None,
        num_graphs: int | None = None,
        *,
        gates: Mapping[str, Tensor],
    ) -> Tensor:
        gates = Gates.of(self.choices, gates)
        batch, num_graphs = membership(x, batch, num_graphs)
        states = [self.embedding(x, edge_index, edge_attr, batch, num_graphs)] * 2
        for cell in self.cells:
            states.append(cell(states[-2], states[-1], edge_index, gates))
        return self.readout(states[-1], edge_index, batch, num_graphs)

    def inherit(self, network: nn.Module, architecture: Architecture) -> None:
        own = self.state_dict()
        # What the supernet lacks are the weights of normalisations, which start as ones and zeros.
        network.load_state_dict({name: own[name] for name in network.state_dict() if name in own}, strict=False)
