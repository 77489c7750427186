"""GatedGCN: the hand-made network that updates edges as it updates nodes."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch_geometric.utils import scatter

from automl_plugins.spaces.task import Level, Task
from gnn_space.frame import Head, InputEncoder, TakesGraphs, batch_norm

_LAYERS = 4
_CHANNELS = 64
_EDGE_EMBEDDING = 16
_EPSILON = 1e-6


class GatedGCNLayer(nn.Module):
    r"""Gated graph convolution with edge states (Bresson and Laurent 2017; Dwivedi et al. 2023).

    .. math::
        \hat e_{ij} = A h_i + B h_j + C e_{ij}, \qquad
        h'_i = h_i + \mathrm{ReLU}\Big(\mathrm{BN}\Big(U h_i + \sum_j
            \frac{\sigma(\hat e_{ij})}{\sum_{j'} \sigma(\hat e_{ij'}) + \epsilon} * V h_j\Big)\Big), \qquad
        e'_{ij} = e_{ij} + \mathrm{ReLU}(\mathrm{BN}(\hat e_{ij})).

    Args:
        channels: of node and edge states.
        updates_edges: whether the new edge states are read by anybody.

    Shapes:
        x `[num_nodes, channels]`, edges `[num_edges, channels]`, edge_index `[2, num_edges]`; outputs as x and edges.
    """

    def __init__(self, channels: int, updates_edges: bool) -> None:
        super().__init__()
        self.target, self.source, self.edge, self.own, self.neighbour = (
            nn.Linear(channels, channels) for _ in range(5)
        )
        self.norm = batch_norm(channels)
        self.edge_norm = batch_norm(channels) if updates_edges else None

    def forward(self, x: Tensor, edges: Tensor, edge_index: Tensor) -> tuple[Tensor, Tensor]:
        source, target = edge_index[0], edge_index[1]
        updated = self.target(x).index_select(0, target) + self.source(x).index_select(0, source) + self.edge(edges)
        gate = updated.sigmoid()
        messages = gate * self.neighbour(x).index_select(0, source)
        total = scatter(gate, target, dim=0, dim_size=x.size(0), reduce="sum")
        received = scatter(messages, target, dim=0, dim_size=x.size(0), reduce="sum") / (total + _EPSILON)
        x = x + torch.relu(self.norm(self.own(x) + received))
        if self.edge_norm is None:
            return x, edges
        return x, edges + torch.relu(self.edge_norm(updated))


class GatedGCN(TakesGraphs):
    """Four gated layers of 64 channels with edge states; edges without features begin with a learned constant.

    Args:
        task: what the network must fit.
        channels: of node and edge states.
    """

    levels: ClassVar[frozenset[Level]] = frozenset(("node", "edge", "graph"))

    def __init__(self, task: Task, channels: int = _CHANNELS) -> None:
        super().__init__()
        if task.level not in self.levels:
            levels = ", ".join(sorted(self.levels))
            raise ValueError(f"GatedGCN is for the levels {levels}; the task's is {task.level!r}")
        self.encoder = InputEncoder(task, channels, _EDGE_EMBEDDING)
        self.nodes = nn.Linear(self.encoder.node_channels, channels)
        edge_channels = self.encoder.edge_channels
        self.edges = nn.Linear(edge_channels, channels) if edge_channels else nn.Parameter(torch.randn(channels))
        reads_edges = task.level == "edge"
        self.layers = nn.ModuleList(
            GatedGCNLayer(channels, updates_edges=reads_edges or layer < _LAYERS - 1) for layer in range(_LAYERS)
        )
        self.head = Head(task, channels, channels)

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
        x = self.nodes(x)
        if isinstance(self.edges, nn.Parameter):
            edges = self.edges.expand(edge_index.size(1), -1)
        else:
            edges = self.edges(edge_attr)
        for layer in self.layers:
            x, edges = layer(x, edges, edge_index)
        return self.head(x, edge_index, edges, batch, num_graphs, graph_attr)
