"""The network of one architecture of EGNAS's space."""

from __future__ import annotations

from torch import Tensor, nn

from automl_plugins.spaces.counting import part
from automl_plugins.spaces.plain_source import PlainSource
from automl_plugins.spaces.task import Task
from gnn_space.egnas.catalogue import make_operation
from gnn_space.egnas.frame import Embedding, Readout, States, make_merges, membership, merged
from gnn_space.egnas.plan import CellPlan, Kind, StackPlan
from gnn_space.egnas.sizes import EGNASSizes
from gnn_space.egnas.source import egnas_source
from gnn_space.frame import TakesGraphs


class Cell(nn.Module):
    """A cell of an architecture: each state is the sum of a few operations on earlier ones.

    Args:
        plan: its operations.
        sizes: the channels.
    """

    def __init__(self, plan: CellPlan, sizes: EGNASSizes) -> None:
        super().__init__()
        self.plan = plan
        self.sizes = sizes
        channels = sizes.node_channels, sizes.edge_channels
        self.operations = nn.ModuleDict(
            {
                step.key: part(make_operation, step.kind, step.operation, *channels, affine=True)
                for step in plan.steps
                if step.has_weights
            }
        )
        self.merges = make_merges(plan, sizes)

    def forward(self, first: States, second: States, edge_index: Tensor) -> States:
        nodes, edges = [first.nodes, second.nodes], [first.edges, second.edges]
        for target in range(2, self.plan.states):
            new_nodes = self._incoming("node", target, nodes, edges, edge_index)
            new_edges = self._incoming("edge", target, nodes, edges, edge_index)
            nodes.append(new_nodes)
            edges.append(new_edges)
        return merged(self.merges, self.sizes, nodes, edges)

    def _incoming(
        self, kind: Kind, target: int, nodes: list[Tensor | None], edges: list[Tensor | None], edge_index: Tensor
    ) -> Tensor | None:
        total: Tensor | None = None
        for step in self.plan.into(kind, target):
            if step.has_weights:
                result = self.operations[step.key](nodes[step.source], edges[step.source], edge_index)
            else:
                result = (nodes if kind == "node" else edges)[step.source]
            total = result if total is None else total + result
        return total


class EGNASNetwork(TakesGraphs):
    """The network of one architecture of `EGNASSpace`.

    Args:
        plan: what its cells compute.
        task: what it must fit.
        sizes: the channels.

    Shapes:
        x `[num_nodes, in_channels]`; edge_index `[2, num_edges]`; edge_attr `[num_edges,
        edge_channels]` where the task has edge channels; batch `[num_nodes]`, the graph of each
        node, None for a single graph; output `[num_nodes | num_edges | num_graphs, out_channels]`
        after the task's level.
    """

    def __init__(self, plan: StackPlan, task: Task, sizes: EGNASSizes) -> None:
        super().__init__()
        self.plan, self.task, self.sizes = plan, task, sizes
        self.embedding = Embedding(task, sizes, plan.embedded)
        self.cells = nn.ModuleList(Cell(cell, sizes) for cell in plan.cells)
        self.readout = Readout(task, sizes)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        batch: Tensor | None = None,
        num_graphs: int | None = None,
        graph_attr: Tensor | None = None,
    ) -> Tensor:
        batch, num_graphs = membership(x, batch, num_graphs)
        states = [self.embedding(x, edge_index, edge_attr, batch, num_graphs)] * 2
        for cell in self.cells:
            states.append(cell(states[-2], states[-1], edge_index))
        return self.readout(states[-1], edge_index, batch, num_graphs, graph_attr)

    def plain_source(self) -> PlainSource:
        """See `automl_plugins.spaces.plain_source.HasPlainSource`."""
        return egnas_source(self.plan, self.task, self.sizes)
