"""The paper's operations of EGNAS: those that update node states, and those that update edge states."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.utils import scatter

from gnn_space.frame import batch_norm

AGGREGATIONS = ("mean", "sum", "max")
EDGE_UPDATES = ("concat", "gru", "film")

SLOPE = 0.2
"""Negative slope of every leaky rectifier."""


def two_layers(inputs: int, outputs: int) -> nn.Sequential:
    """A perceptron whose hidden layer is as wide as its output."""
    return nn.Sequential(nn.Linear(inputs, outputs), nn.LeakyReLU(SLOPE), nn.Linear(outputs, outputs))


class NodeOperation(nn.Module):
    r"""Aggregate messages that edges modulate (FiLM): `mean`, `sum` or `max`.

    With :math:`\tilde e = \mathrm{MLP}(E_{ij})` and :math:`h = W_2\, \phi(W_1\, \phi(V))`, where i is
    the target, j the source and :math:`\phi` a leaky rectifier of slope 0.2,

    .. math::
        V'_i = \mathrm{BN}\big(W_o\, \mathrm{aggregate}_{j \in N(i)}\,
            [\sigma(B \tilde e_{ij}) * h_j + C \tilde e_{ij}]\big).

    A node without incoming edges aggregates zero.

    Args:
        node_channels: of node states.
        edge_channels: of edge states.
        aggregation: one of `AGGREGATIONS`.
        affine: whether the normalisation has weights.

    Shapes:
        nodes `[num_nodes, node_channels]`, edges `[num_edges, edge_channels]`, edge_index
        `[2, num_edges]`; output `[num_nodes, node_channels]`.
    """

    def __init__(self, node_channels: int, edge_channels: int, aggregation: str, affine: bool) -> None:
        super().__init__()
        self.aggregation = aggregation
        self.message = two_layers(node_channels, node_channels)
        self.modulation = two_layers(edge_channels, edge_channels)
        self.scale = nn.Linear(edge_channels, node_channels)
        self.shift = nn.Linear(edge_channels, node_channels)
        self.output = nn.Linear(node_channels, node_channels)
        self.norm = batch_norm(node_channels, affine)

    def forward(self, nodes: Tensor, edges: Tensor, edge_index: Tensor) -> Tensor:
        hidden = self.message(functional.leaky_relu(nodes, SLOPE)).index_select(0, edge_index[0])
        modulation = self.modulation(edges)
        messages = self.scale(modulation).sigmoid() * hidden + self.shift(modulation)
        received = scatter(messages, edge_index[1], dim=0, dim_size=nodes.size(0), reduce=self.aggregation)
        return self.norm(self.output(received))


class EdgeOperation(nn.Module):
    r"""Update edge states from both ends: `concat`, `gru` or `film`.

    With :math:`r_{ij} = \mathrm{MLP}([V_i, V_j, V_i - V_j])`, i the target and j the source, and
    :math:`e = \phi(E_{ij})`,

    - `concat`: :math:`\mathrm{MLP}([r, e])`,
    - `gru`: a gated recurrent cell with input r and state e,
    - `film`: :math:`\sigma(B r) * e + C r`,

    each followed by a linear map and batch normalisation.

    Args:
        node_channels: of node states.
        edge_channels: of edge states.
        update: one of `EDGE_UPDATES`.
        affine: whether the normalisation has weights.

    Shapes:
        nodes `[num_nodes, node_channels]`, edges `[num_edges, edge_channels]`, edge_index
        `[2, num_edges]`; output `[num_edges, edge_channels]`.
    """

    def __init__(self, node_channels: int, edge_channels: int, update: str, affine: bool) -> None:
        super().__init__()
        self.update = update
        self.relation = two_layers(3 * node_channels, edge_channels)
        if update == "concat":
            self.join = two_layers(2 * edge_channels, edge_channels)
        elif update == "gru":
            self.cell = nn.GRUCell(edge_channels, edge_channels)
        else:
            self.scale = nn.Linear(edge_channels, edge_channels)
            self.shift = nn.Linear(edge_channels, edge_channels)
        self.output = nn.Linear(edge_channels, edge_channels)
        self.norm = batch_norm(edge_channels, affine)

    def forward(self, nodes: Tensor, edges: Tensor, edge_index: Tensor) -> Tensor:
        source, target = nodes.index_select(0, edge_index[0]), nodes.index_select(0, edge_index[1])
        relation = self.relation(torch.cat([target, source, target - source], dim=1))
        edges = functional.leaky_relu(edges, SLOPE)
        if self.update == "concat":
            updated = self.join(torch.cat([relation, edges], dim=1))
        elif self.update == "gru":
            updated = self.cell(relation, edges)
        else:
            updated = self.scale(relation).sigmoid() * edges + self.shift(relation)
        return self.norm(self.output(updated))
