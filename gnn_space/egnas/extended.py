"""Operations of hand-made networks as operations of EGNAS's cells: normalised gates, GINE's message, attention.

They read states as they are, where the paper's rectify them first: the frame `merge="sum"` rectifies what a cell gives.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.utils import scatter, softmax

from gnn_space.egnas.operations import SLOPE
from gnn_space.frame import batch_norm

EPSILON = 1e-6
"""Added to the sum of the gates of a node, as in `gnn_space.gated_gcn`."""


class _Gates(nn.Module):
    """The scores of edges from both ends and their own states, before the sigmoid."""

    def __init__(self, node_channels: int, edge_channels: int, channels: int) -> None:
        super().__init__()
        self.target = nn.Linear(node_channels, channels)
        self.source = nn.Linear(node_channels, channels)
        self.edge = nn.Linear(edge_channels, channels)

    def _scores(self, nodes: Tensor, edges: Tensor, edge_index: Tensor) -> Tensor:
        ends = self.source(nodes).index_select(0, edge_index[0]) + self.target(nodes).index_select(0, edge_index[1])
        return ends + self.edge(edges)


class GatedNodes(_Gates):
    r"""The node update of GatedGCN (Bresson and Laurent 2017), the operation `gated`.

    .. math::
        V'_i = \mathrm{BN}\Big(U V_i + \sum_j \frac{\sigma(\hat e_{ij})}{\sum_{j'} \sigma(\hat e_{ij'}) + \epsilon}
            * W V_j\Big), \qquad \hat e_{ij} = A V_i + B V_j + C E_{ij}.

    Args:
        node_channels: of node states.
        edge_channels: of edge states.
        affine: whether the normalisation has weights.

    Shapes:
        nodes `[num_nodes, node_channels]`, edges `[num_edges, edge_channels]`, edge_index
        `[2, num_edges]`; output `[num_nodes, node_channels]`.
    """

    def __init__(self, node_channels: int, edge_channels: int, affine: bool) -> None:
        super().__init__(node_channels, edge_channels, node_channels)
        self.own = nn.Linear(node_channels, node_channels)
        self.neighbour = nn.Linear(node_channels, node_channels)
        self.norm = batch_norm(node_channels, affine)

    def forward(self, nodes: Tensor, edges: Tensor, edge_index: Tensor) -> Tensor:
        gates = self._scores(nodes, edges, edge_index).sigmoid()
        messages = gates * self.neighbour(nodes).index_select(0, edge_index[0])
        total, received = (
            scatter(each, edge_index[1], dim=0, dim_size=nodes.size(0), reduce="sum") for each in (gates, messages)
        )
        return self.norm(self.own(nodes) + received / (total + EPSILON))


class GatedEdges(_Gates):
    r"""The edge update of GatedGCN, :math:`E'_{ij} = \mathrm{BN}(\hat e_{ij})`, the operation `gated`.

    In GatedGCN a layer's nodes and edges share the maps of :math:`\hat e`; here each operation has its own.

    Args:
        node_channels: of node states.
        edge_channels: of edge states.
        affine: whether the normalisation has weights.

    Shapes:
        as those of `GatedNodes`; output `[num_edges, edge_channels]`.
    """

    def __init__(self, node_channels: int, edge_channels: int, affine: bool) -> None:
        super().__init__(node_channels, edge_channels, edge_channels)
        self.norm = batch_norm(edge_channels, affine)

    def forward(self, nodes: Tensor, edges: Tensor, edge_index: Tensor) -> Tensor:
        return self.norm(self._scores(nodes, edges, edge_index))


class GINENodes(nn.Module):
    r"""The node update of GINE (Hu et al. 2020), the operation `gine`.

    .. math::
        V'_i = \mathrm{BN}\Big(\mathrm{MLP}\big((1 + \epsilon) V_i + \sum_j \mathrm{ReLU}(V_j + C E_{ij})\big)\Big).

    Args:
        node_channels: of node states.
        edge_channels: of edge states.
        affine: whether the normalisation has weights.

    Shapes:
        as those of `GatedNodes`.
    """

    def __init__(self, node_channels: int, edge_channels: int, affine: bool) -> None:
        super().__init__()
        self.edge = nn.Linear(edge_channels, node_channels)
        self.epsilon = nn.Parameter(torch.zeros(1))
        self.hidden = nn.Linear(node_channels, node_channels)
        self.output = nn.Linear(node_channels, node_channels)
        self.norm = batch_norm(node_channels, affine)

    def forward(self, nodes: Tensor, edges: Tensor, edge_index: Tensor) -> Tensor:
        messages = (nodes.index_select(0, edge_index[0]) + self.edge(edges)).relu()
        received = scatter(messages, edge_index[1], dim=0, dim_size=nodes.size(0), reduce="sum")
        return self.norm(self.output(self.hidden((1 + self.epsilon) * nodes + received).relu()))


class AttentionNodes(nn.Module):
    r"""Attention of one head whose scores read the edge (GATv2, Brody et al. 2022), the operation `attention`.

    .. math::
        V'_i = \mathrm{BN}\Big(U V_i + \sum_j \mathrm{softmax}_j\big(a^\top \phi(A V_i + B V_j + C E_{ij})\big)
            B V_j\Big),

    with :math:`\phi` a leaky rectifier of slope 0.2. The node itself has a map of its own in place of a self-loop,
    which would have no edge state.

    Args:
        node_channels: of node states.
        edge_channels: of edge states.
        affine: whether the normalisation has weights.

    Shapes:
        as those of `GatedNodes`.
    """

    def __init__(self, node_channels: int, edge_channels: int, affine: bool) -> None:
        super().__init__()
        self.target = nn.Linear(node_channels, node_channels)
        self.source = nn.Linear(node_channels, node_channels)
        self.edge = nn.Linear(edge_channels, node_channels, bias=False)
        self.score = nn.Linear(node_channels, 1, bias=False)
        self.own = nn.Linear(node_channels, node_channels)
        self.norm = batch_norm(node_channels, affine)

    def forward(self, nodes: Tensor, edges: Tensor, edge_index: Tensor) -> Tensor:
        sent = self.source(nodes).index_select(0, edge_index[0])
        hidden = self.target(nodes).index_select(0, edge_index[1]) + sent + self.edge(edges)
        scores = self.score(functional.leaky_relu(hidden, SLOPE))
        messages = softmax(scores, edge_index[1], num_nodes=nodes.size(0)) * sent
        received = scatter(messages, edge_index[1], dim=0, dim_size=nodes.size(0), reduce="sum")
        return self.norm(self.own(nodes) + received)
