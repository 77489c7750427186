"""D-MPNN: the hand-made network of chemists, whose messages go from edge to edge."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch_geometric.nn import global_mean_pool
from torch_geometric.utils import scatter

from automl_plugins.spaces.task import Level, Task
from gnn_space.frame import InputEncoder, TakesGraphs, graph_features

_CHANNELS = 300
_STEPS = 3


def reverse_edges(edge_index: Tensor, num_nodes: int) -> Tensor:
    """The place of an edge that leads back, for each edge; `num_edges` where none does.

    Args:
        edge_index: `[2, num_edges]`.
        num_nodes: how many nodes there are.

    Returns:
        Integers `[num_edges]`. Of several edges between the same two nodes, the k-th each way belong together.
    """
    source, target = edge_index[0], edge_index[1]
    count = edge_index.size(1)
    if count == 0:
        return source
    # Numbered within their ends, edges that run side by side are told apart.
    forward, order = (source * num_nodes + target).sort(stable=True)
    rank = torch.arange(count, device=source.device) - torch.searchsorted(forward, forward)
    twin = torch.searchsorted(forward, (target * num_nodes + source)[order]) + rank
    wanted = (target * num_nodes + source)[order]
    found = (twin < count) & (forward[twin.clamp(max=count - 1)] == wanted)
    places = torch.where(found, order[twin.clamp(max=count - 1)], count)
    return torch.empty_like(places).scatter_(0, order, places)


class DirectedEdgeLayer(nn.Module):
    r"""Messages from edge to edge, never straight back (Yang et al. 2019, equations 4 and 5).

    .. math::
        h'_{vw} = \mathrm{ReLU}\Big(h^0_{vw} + W \sum_{k \in N(v) \setminus w} h_{kv}\Big)

    An edge that has no edge leading back leaves nothing out.

    Args:
        channels: of edge states.

    Shapes:
        states and first `[num_edges, channels]`; edge_index `[2, num_edges]`; reverse `[num_edges]`, see
        `reverse_edges`; output as states.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.message = nn.Linear(channels, channels, bias=False)

    def forward(self, states: Tensor, first: Tensor, edge_index: Tensor, reverse: Tensor, num_nodes: int) -> Tensor:
        received = scatter(states, edge_index[1], dim=0, dim_size=num_nodes, reduce="sum")
        back = torch.cat([states, states.new_zeros(1, states.size(1))]).index_select(0, reverse)
        return torch.relu(first + self.message(received.index_select(0, edge_index[0]) - back))


class DMPNN(TakesGraphs):
    """The directed message passing network (Yang et al. 2019), with the sizes that chemprop gives it.

    Three steps of 300 channels, the mean of a graph's nodes, and a perceptron with one hidden layer, which reads the
    graph's own features too. On node level the nodes' states go through the perceptron as they are.

    Args:
        task: what the network must fit.
        channels: of edge and node states.
    """

    levels: ClassVar[frozenset[Level]] = frozenset(("node", "graph"))

    def __init__(self, task: Task, channels: int = _CHANNELS) -> None:
        super().__init__()
        if task.level not in self.levels:
            levels = ", ".join(sorted(self.levels))
            raise ValueError(f"DMPNN is for the levels {levels}; the task's is {task.level!r}")
        self.level, self.graph_channels = task.level, task.graph_channels
        self.encoder = InputEncoder(task, channels, channels)
        nodes, edges = self.encoder.node_channels, self.encoder.edge_channels
        self.edge_states = nn.Linear(nodes + edges, channels, bias=False)
        # One map for all steps, as published.
        self.layer = DirectedEdgeLayer(channels)
        self.node_states = nn.Linear(nodes + channels, channels)
        self.output = nn.Sequential(
            nn.Linear(channels + task.graph_channels, channels), nn.ReLU(), nn.Linear(channels, task.out_channels)
        )

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        batch: Tensor | None = None,
        num_graphs: int | None = None,
        graph_attr: Tensor | None = None,
    ) -> Tensor:
        x, edge_attr = self.encoder(x, edge_attr)
        if x.layout == torch.sparse_csr:
            x = x.to_dense()
        num_nodes = x.size(0)
        begun = x.index_select(0, edge_index[0])
        first = torch.relu(self.edge_states(begun if edge_attr is None else torch.cat([begun, edge_attr], dim=1)))
        reverse = reverse_edges(edge_index, num_nodes)
        states = first
        for _ in range(_STEPS - 1):
            states = self.layer(states, first, edge_index, reverse, num_nodes)
        received = scatter(states, edge_index[1], dim=0, dim_size=num_nodes, reduce="sum")
        nodes = torch.relu(self.node_states(torch.cat([x, received], dim=1)))
        if self.level == "node":
            return self.output(nodes)
        if batch is None:
            batch, num_graphs = edge_index.new_zeros(num_nodes), 1
        pooled = global_mean_pool(nodes, batch, num_graphs)
        return self.output(torch.cat([pooled, *graph_features(graph_attr, self.graph_channels)], dim=1))
