"""EGNAS's supernet, in a joint form, which is fast and small, and in a plain one, operation by operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice
from automl_plugins.spaces.task import Task
from automl_plugins.supernets.derivatives import refuse_transforms
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.supernet import Supernet
from gnn_space.egnas.frame import Embedding, Readout, membership
from gnn_space.egnas.graph_index import GraphIndex
from gnn_space.egnas.joint_cell import JointCell
from gnn_space.egnas.mixed_cell import MixedCell
from gnn_space.egnas.plan import GatePlace, StackPlan, Step
from gnn_space.egnas.sizes import EGNASSizes
from gnn_space.frame import TakesGraphs


class EGNASSupernet(TakesGraphs, Supernet):
    """All architectures of an `EGNASSpace`; inputs and output as those of `EGNASNetwork`.

    Both forms compute the same with the same weights, which one seed gives to both, up to rounding, and can be
    differentiated any number of times. `torch.func` and forward mode reach through the plain form alone.

    In the joint form weights are stacked over the operations of one name that lead to a state. One whose gate is closed
    has a gradient of zeros where another of them is open: momentum and weight decay then move it, too.

    Args:
        plan: what its cells compute.
        places: for each cell, those of its operations' gates.
        choices: the gates.
        task: what the networks must fit.
        sizes: the channels.
        joint: whether it has the joint form.
        checkpointing: compute all operations again in the backward pass; of the joint form.
        partial_channels: operations of cells run on one channel in so many of nodes and of edges (PC-DARTS).
    """

    def __init__(
        self,
        plan: StackPlan,
        places: Sequence[Mapping[Step, GatePlace]],
        choices: Sequence[Choice],
        task: Task,
        sizes: EGNASSizes,
        joint: bool = True,
        checkpointing: bool = False,
        partial_channels: int = 1,
    ) -> None:
        super().__init__()
        self.partial_channels = partial_channels
        self.choices = tuple(choices)
        self.joint = joint
        self._make_plain = partial(EGNASSupernet, plan, places, choices, task, sizes, False, False, partial_channels)
        self.embedding = Embedding(task, sizes, plan.embedded)
        self.cells = nn.ModuleList()
        for cell_plan, cell_places in zip(plan.cells, places, strict=True):
            cell = MixedCell(cell_plan, cell_places, sizes, partial_channels)
            self.cells.append(JointCell(cell, checkpointing) if joint else cell)
        self.readout = Readout(task, sizes)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        batch: Tensor | None = None,
        num_graphs: int | None = None,
        graph_attr: Tensor | None = None,
        *,
        gates: Mapping[str, Tensor],
    ) -> Tensor:
        if self.joint:
            refuse_transforms()
        gates = Gates.of(self.choices, gates)
        batch, num_graphs = membership(x, batch, num_graphs)
        graph = GraphIndex(edge_index, x.size(0))
        states = [self.embedding(x, edge_index, edge_attr, batch, num_graphs)] * 2
        for cell in self.cells:
            states.append(cell(states[-2], states[-1], graph, gates))
        return self.readout(states[-1], edge_index, batch, num_graphs, graph_attr)

    def plain(self) -> EGNASSupernet:
        """The plain form, with copies of these weights, in the same training mode; of a plain one itself."""
        if not self.joint:
            return self
        with torch.random.fork_rng(devices=[]):
            plain = self._make_plain()
        like = next(self.parameters())
        plain.to(device=like.device, dtype=like.dtype).load_state_dict(self._plain_state())
        return plain.train(self.training)

    def inherit(self, network: nn.Module, architecture: Architecture) -> None:
        state = self._plain_state()
        # What the supernet lacks are the weights of normalisations, which start as ones and zeros.
        network.load_state_dict({name: state[name] for name in network.state_dict() if name in state}, strict=False)

    def _plain_state(self) -> dict[str, Tensor]:
        """The plain form's `state_dict`."""
        if not self.joint:
            return self.state_dict()
        state = {name: tensor for name, tensor in self.state_dict().items() if ".stacks." not in name}
        for position, cell in enumerate(self.cells):
            operations = cast(JointCell, cell).operation_state()
            state |= {f"cells.{position}.{name}": tensor for name, tensor in operations.items()}
        return state
