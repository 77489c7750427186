"""Graph layers that people use, without a message for each edge.

Each computes what the layer of PyG that its docstring names computes with the same weights, which have the same names,
so that either reads the other's checkpoints. They take an `edge_index` or the `CompressedEdges` of one, which a network
makes once for all its layers, and features dense or sparse (CSR or COO). An input that is wider than the
output is mapped before it is sent on where a linear map comes first, which changes nothing but the order of sums.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn.inits import glorot, reset
from torch_geometric.utils import scatter

from gnn_space.aggregation import aggregate, edge_ends, reduced
from gnn_space.attention import attended
from gnn_space.compressed import CompressedEdges
from gnn_space.input_checks import edges_of


def normalised_sum(x: Tensor, edge_index: Tensor | CompressedEdges) -> Tensor:
    r"""The sum over neighbours and the node itself, :math:`\sum_j x_j / \sqrt{d_i d_j}` with degrees that count both.

    It scales nodes before and after a sum without weights, so that no edge has any.

    Shapes:
        x `[num_nodes, channels]`; result likewise. A node's edges to itself count as one.
    """
    edges = edges_of(x, edge_index).without_loops
    scale = (edges.in_degree + 1).to(x.dtype).rsqrt().unsqueeze(-1)
    scaled = scale * x
    return scale * (aggregate(scaled, edges) + scaled)


class GCNLayer(nn.Module):
    """A graph convolution (Kipf and Welling 2017), PyG's `GCNConv` on edges without weights.

    Args:
        in_channels: of the input.
        out_channels: of the output.

    Shapes:
        x `[num_nodes, in_channels]`; output `[num_nodes, out_channels]`.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.lin = nn.Linear(in_channels, out_channels, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        glorot(self.lin.weight)

    def forward(self, x: Tensor, edge_index: Tensor | CompressedEdges) -> Tensor:
        edges = edges_of(x, edge_index, self.lin.in_features)
        return normalised_sum(self.lin(x), edges) + self.bias


class SAGELayer(nn.Module):
    """GraphSAGE with the mean of neighbours (Hamilton et al. 2017), PyG's `SAGEConv`.

    Args:
        in_channels: of the input.
        out_channels: of the output.

    Shapes:
        x `[num_nodes, in_channels]`; output `[num_nodes, out_channels]`.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.lin_l = nn.Linear(in_channels, out_channels)
        self.lin_r = nn.Linear(in_channels, out_channels, bias=False)

    def forward(self, x: Tensor, edge_index: Tensor | CompressedEdges) -> Tensor:
        edges = edges_of(x, edge_index, self.lin_l.in_features)
        if _maps_first(x, self.lin_l):
            mapped = functional.linear(x, self.lin_l.weight)
            return aggregate(mapped, edges, reduce="mean") + self.lin_l.bias + self.lin_r(x)
        return self.lin_l(aggregate(x, edges, reduce="mean")) + self.lin_r(x)


class GATLayer(nn.Module):
    """Graph attention (Velickovic et al. 2018), PyG's `GATConv` with its heads side by side.

    Edge features enter the scores alone; a node's edge to itself has the mean of its other incoming edges'. A score
    needs one number of an edge and head, so edge features are mapped to that number at once.

    Args:
        in_channels: of the input.
        out_channels: of the output, a head.
        heads: of attention.
        dropout: of attention coefficients.
        edge_dim: channels of edge features; None: the task has none.

    Shapes:
        x `[num_nodes, in_channels]`; edge_attr `[num_edges, edge_dim]`; output `[num_nodes, heads * out_channels]`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, heads: int = 1, dropout: float = 0.0, edge_dim: int | None = None
    ) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.lin = nn.Linear(in_channels, heads * out_channels, bias=False)
        self.att_src = nn.Parameter(torch.empty(1, heads, out_channels))
        self.att_dst = nn.Parameter(torch.empty(1, heads, out_channels))
        self.lin_edge = nn.Linear(edge_dim, heads * out_channels, bias=False) if edge_dim else None
        self.att_edge = nn.Parameter(torch.empty(1, heads, out_channels)) if edge_dim else None
        self.bias = nn.Parameter(torch.zeros(heads * out_channels))
        for name, weight in self.named_parameters():
            if name != "bias":
                glorot(weight)

    def forward(self, x: Tensor, edge_index: Tensor | CompressedEdges, edge_attr: Tensor | None = None) -> Tensor:
        given = edges_of(x, edge_index, self.lin.in_features, None if self.lin_edge is None else edge_attr)
        hidden = self.lin(x).unflatten(1, (self.heads, -1))
        edges = given.looped
        of_source, of_target = (hidden * self.att_src).sum(-1), (hidden * self.att_dst).sum(-1)
        scores = edge_ends(of_target, of_source, edges)
        if self.lin_edge is not None and self.att_edge is not None and edge_attr is not None:
            weight = self.lin_edge.weight.unflatten(0, (self.heads, -1))
            of_edge = torch.einsum("hce,hc->eh", weight, self.att_edge[0])
            scores = scores + looped_features(edge_attr, given) @ of_edge
        received = attended(hidden, functional.leaky_relu_(scores, 0.2), edges, self.dropout, self.training)
        return received.flatten(1) + self.bias

    def extra_repr(self) -> str:
        return f"heads={self.heads}, dropout={self.dropout:g}"


class GINLayer(nn.Module):
    """Graph isomorphism (Xu et al. 2019), PyG's `GINConv`; with edge features GINE (Hu et al. 2020), its `GINEConv`.

    GINE's messages are not linear in the features of nodes, so each edge has one.

    Args:
        nn: the perceptron of a node's sum, an `nn.Linear` first.
        edge_dim: channels of edge features; None: the task has none.

    Raises:
        ValueError: the perceptron is no `nn.Sequential`, or begins otherwise.

    Shapes:
        x `[num_nodes, in_channels]`; edge_attr `[num_edges, edge_dim]`; output `[num_nodes, out_channels]`.
    """

    def __init__(self, nn: nn.Sequential, edge_dim: int | None = None) -> None:
        super().__init__()
        first = nn[0] if isinstance(nn, torch.nn.Sequential) and len(nn) else None
        if not isinstance(first, torch.nn.Linear):
            begins = type(nn).__name__ if first is None else f"Sequential that begins with {type(first).__name__}"
            raise ValueError(f"GINLayer takes an nn.Sequential that begins with an nn.Linear; got a {begins}")
        self.nn = nn
        self.eps = torch.nn.Parameter(torch.zeros(1))
        self.lin = torch.nn.Linear(edge_dim, first.in_features) if edge_dim else None
        reset(self.nn)

    def forward(self, x: Tensor, edge_index: Tensor | CompressedEdges, edge_attr: Tensor | None = None) -> Tensor:
        first = cast(torch.nn.Linear, self.nn[0])
        edges = edges_of(x, edge_index, first.in_features, None if self.lin is None else edge_attr)
        if self.lin is not None and edge_attr is not None:
            states = _dense(x)
            messages = functional.relu(states.index_select(0, edges.source) + self.lin(edge_attr))
            return self.nn(reduced(messages, edges, "sum") + (1 + self.eps) * states)
        if not _maps_first(x, first):
            return self.nn(aggregate(x, edges) + (1 + self.eps) * x)
        state = functional.linear(x, first.weight)
        state = aggregate(state, edges) + (1 + self.eps) * state
        if first.bias is not None:
            state = state + first.bias
        for layer in list(self.nn)[1:]:
            state = layer(state)
        return state


class PropagationLayer(nn.Module):
    """Personalised PageRank of predictions (Gasteiger et al. 2019), PyG's `APPNP`.

    Args:
        steps: of propagation.
        teleport: the share of the input in each step.

    Shapes:
        x and output `[num_nodes, channels]`.
    """

    def __init__(self, steps: int = 10, teleport: float = 0.1) -> None:
        super().__init__()
        self.steps, self.teleport = steps, teleport

    def forward(self, x: Tensor, edge_index: Tensor | CompressedEdges) -> Tensor:
        edges = edges_of(x, edge_index)
        state = x = _dense(x)
        for _ in range(self.steps):
            state = (1 - self.teleport) * normalised_sum(state, edges) + self.teleport * x
        return state


def looped_features(edge_attr: Tensor, edges: CompressedEdges) -> Tensor:
    """Features of `edges.looped`: a node's edge to itself has the mean of its other incoming edges', 0 without any.

    Args:
        edge_attr: `[num_edges, edge_channels]`.
        edges: that they belong to.
    """
    between = edge_attr if edges.without_loops is edges else edge_attr[~edges.loops]
    means = scatter(between, edges.without_loops.target, 0, edges.num_nodes, reduce="mean")
    return torch.cat([between, means]).index_select(0, edges.looped_order)


def _maps_first(x: Tensor, linear: nn.Linear) -> bool:
    """True for a map to fewer channels than it reads, and for features that are mostly zeros."""
    return x.layout != torch.strided or linear.in_features > linear.out_features


def _dense(x: Tensor) -> Tensor:
    return x if x.layout == torch.strided else x.to_dense()
