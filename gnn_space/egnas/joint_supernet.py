"""EGNAS's supernet in its joint form: what operations have in common is computed once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice
from automl_plugins.spaces.task import Task
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.supernet import Supernet
from gnn_space.egnas.edge_order import EdgeOrder
from gnn_space.egnas.frame import States, membership, merged
from gnn_space.egnas.plain_supernet import EGNASPlainSupernet, MixedCell
from gnn_space.egnas.plan import GatePlace, Kind, StackPlan, Step
from gnn_space.egnas.sizes import EGNASSizes
from gnn_space.egnas.updates import EdgeUpdates, NodeUpdates
from gnn_space.egnas.weight_stack import WeightStack
from gnn_space.frame import TakesGraphs

# How operations that read one state stand side by side: sums and means before maxima, edge operations by form.
_PLACES = {"mean": 0, "sum": 0, "max": 1, "concat": 0, "gru": 1, "film": 2}
_KINDS: tuple[Kind, ...] = ("node", "edge")


class JointCell(nn.Module):
    """A cell with all operations, those that read one state together; what its closed gates lead to is not computed.

    Args:
        cell: the plain cell, whose weights are copied.
    """

    def __init__(self, cell: MixedCell) -> None:
        super().__init__()
        self.plan = cell.plan
        self.places = cell.places
        self.merges = cell.merges
        self.updates = nn.ModuleDict()
        self.steps: dict[str, list[Step]] = {}
        self.identities: dict[tuple[Kind, int], list[Step]] = {}
        for step in sorted(self.plan.steps, key=lambda step: _PLACES.get(step.operation, -1)):
            if step.has_weights:
                self.steps.setdefault(f"{step.kind}{step.source}", []).append(step)
            else:
                self.identities.setdefault((step.kind, step.source), []).append(step)
        for key, steps in self.steps.items():
            stack = NodeUpdates if steps[0].kind == "node" else EdgeUpdates
            self.updates[key] = stack({step: cell.operations[step.key] for step in steps})

    def operation_state(self) -> dict[str, Tensor]:
        """The operations' weights, by their names in the plain cell."""
        return {
            f"operations.{step.key}.{name}": tensor
            for key, steps in self.steps.items()
            for step in steps
            for name, tensor in cast(WeightStack, self.updates[key]).state_of(step).items()
        }

    def forward(self, first: States, second: States, order: EdgeOrder, gates: Gates) -> States:
        states: dict[Kind, list[Tensor | None]] = {
            "node": [first.nodes, second.nodes],
            "edge": [first.edges, second.edges],
        }
        totals: dict[tuple[Kind, int], Tensor] = {}
        for source in range(self.plan.states):
            for kind in _KINDS:
                own = states[kind]
                if source >= 2:
                    own.append(self._total(totals, kind, source, own[0]))
            for kind in _KINDS:
                for target, part in self._updates_from(kind, source, states, order, gates):
                    total = totals.get((kind, target))
                    totals[kind, target] = part if total is None else total + part
        return merged(self.merges, states["node"], states["edge"])

    def _total(
        self, totals: Mapping[tuple[Kind, int], Tensor], kind: Kind, state: int, like: Tensor | None
    ) -> Tensor | None:
        if (kind, state) in totals:
            return totals[kind, state]
        # All its gates are closed; where the plan has no step, nobody reads it.
        return torch.zeros_like(cast(Tensor, like)) if self.plan.into(kind, state) else None

    def _is_open(self, step: Step, gates: Gates) -> bool:
        name, option = self.places[step]
        return option in gates.open(name)

    def _updates_from(
        self, kind: Kind, source: int, states: Mapping[Kind, Sequence[Tensor | None]], order: EdgeOrder, gates: Gates
    ) -> Iterator[tuple[int, Tensor]]:
        """What operations of a kind add to later states, with the target of each part."""
        for step in self.identities.get((kind, source), ()):
            if self._is_open(step, gates):
                name, option = self.places[step]
                yield step.target, gates[name][option] * cast(Tensor, states[kind][source])
        key = f"{kind}{source}"
        steps = [step for step in self.steps.get(key, ()) if self._is_open(step, gates)]
        if not steps:
            return
        nodes, edges = cast(Tensor, states["node"][source]), cast(Tensor, states["edge"][source])
        update = self.updates[key]
        dtype = next(update.parameters()).dtype
        # In the weights' precision: most of the work is not matrix products, and what is folded needs the digits.
        with torch.autocast(nodes.device.type, enabled=False):
            weights = torch.stack([gates[name][option] for name, option in (self.places[step] for step in steps)])
            yield from update(nodes.to(dtype), edges.to(dtype), order, steps, weights.to(dtype)).items()


class EGNASSupernet(TakesGraphs, Supernet):
    """All architectures of an `EGNASSpace`; inputs and output as those of `EGNASNetwork`.

    It computes what `EGNASPlainSupernet` computes, with the same weights from the same seed, up to
    rounding. Dropout draws for nodes and edges in another order.

    Weights are stacked over operations, so an operation whose gate is closed has a gradient of zeros
    where any other that reads its state is open: momentum and weight decay then move it, too. Gradients of
    gradients are refused; the plain form (`plain`, or `space.supernet(task, joint=False)`) has them.

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
        self._make_plain = partial(EGNASPlainSupernet, plan, places, choices, task, sizes)
        plain = self._make_plain()
        self.embedding = plain.embedding
        self.cells = nn.ModuleList(JointCell(cast(MixedCell, cell)) for cell in plain.cells)
        self.readout = plain.readout

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
        order = EdgeOrder(edge_index, x.size(0))
        nodes, edges = self.embedding(x, edge_index, edge_attr, batch, num_graphs)
        first = States(
            None if nodes is None else nodes.index_select(0, order.nodes),
            None if edges is None else edges.index_select(0, order.edges),
        )
        states = [first] * 2
        for cell in self.cells:
            states.append(cell(states[-2], states[-1], order, gates))
        output: Tensor = self.readout(states[-1], order.edge_index, batch.index_select(0, order.nodes), num_graphs)
        if self.readout.level == "graph":
            return output
        return order.original_nodes(output) if self.readout.level == "node" else order.original_edges(output)

    def plain(self) -> EGNASPlainSupernet:
        """The plain form, with copies of these weights, in the same training mode."""
        with torch.random.fork_rng(devices=[]):
            plain = self._make_plain()
        like = next(self.parameters())
        plain.to(device=like.device, dtype=like.dtype).load_state_dict(self._plain_state())
        return plain.train(self.training)

    def inherit(self, network: nn.Module, architecture: Architecture) -> None:
        own = self._plain_state()
        # What the supernet lacks are the weights of normalisations, which start as ones and zeros.
        network.load_state_dict({name: own[name] for name in network.state_dict() if name in own}, strict=False)

    def _plain_state(self) -> dict[str, Tensor]:
        state = {name: tensor for name, tensor in self.state_dict().items() if ".updates." not in name}
        for position, cell in enumerate(self.cells):
            found = cast(JointCell, cell).operation_state()
            state |= {f"cells.{position}.{name}": tensor for name, tensor in found.items()}
        return state
