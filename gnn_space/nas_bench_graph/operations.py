"""The operations of NAS-Bench-Graph, without a message for each edge.

Each computes what the layer of PyG that its docstring names computes with the same weights, see `gnn_space.layers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn.inits import glorot

from gnn_space.aggregation import aggregate
from gnn_space.compressed import CompressedEdges
from gnn_space.layers import GATLayer, GCNLayer, SAGELayer

_HEADS = 4


class SumLayer(nn.Module):
    """The linear map of a node's sum with its neighbours: PyG's `GINConv` of an `nn.Linear`, whose eps stays zero."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.nn = nn.Linear(in_channels, out_channels)

    def forward(self, x: Tensor, edges: CompressedEdges) -> Tensor:
        mapped = functional.linear(x, self.nn.weight)
        return mapped + aggregate(mapped, edges) + self.nn.bias


class ChebLayer(nn.Module):
    """Chebyshev polynomials of the Laplacian up to the first (Defferrard et al. 2016), PyG's `ChebConv` with `K=2`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.lins = nn.ModuleList(nn.Linear(in_channels, out_channels, bias=False) for _ in range(2))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        for linear in self.lins:
            glorot(linear.weight)

    def forward(self, x: Tensor, edges: CompressedEdges) -> Tensor:
        own, others = (linear(x) for linear in self.lins)
        between = edges.without_loops
        degree = torch.bincount(between.source, minlength=edges.num_nodes)
        return own - _normalised(others, between, degree) + self.bias


class ARMALayer(nn.Module):
    """One auto-regressive filter of one step (Bianchi et al. 2021), PyG's `ARMAConv`, but for its unused weight."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.init_weight = nn.Parameter(torch.empty(1, in_channels, out_channels))
        self.root_weight = nn.Parameter(torch.empty(1, 1, in_channels, out_channels))
        self.bias = nn.Parameter(torch.zeros(1, 1, 1, out_channels))
        glorot(self.init_weight)
        glorot(self.root_weight)

    def forward(self, x: Tensor, edges: CompressedEdges) -> Tensor:
        received = _normalised(functional.linear(x, self.init_weight[0].t()), edges, edges.in_degree)
        own = functional.linear(x, self.root_weight[0, 0].t())
        return functional.relu(received + own + self.bias[0, 0])


class GraphLayer(nn.Module):
    """A map of the neighbours' sum and one of the node (Morris et al. 2019), PyG's `GraphConv`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.lin_rel = nn.Linear(in_channels, out_channels)
        self.lin_root = nn.Linear(in_channels, out_channels, bias=False)

    def forward(self, x: Tensor, edges: CompressedEdges) -> Tensor:
        mapped = functional.linear(x, self.lin_rel.weight)
        return aggregate(mapped, edges) + self.lin_rel.bias + self.lin_root(x)


class OwnLayer(nn.Module):
    """A linear map of a node's own state."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.lin = nn.Linear(in_channels, out_channels)

    def forward(self, x: Tensor, edges: CompressedEdges) -> Tensor:
        return self.lin(x)


def _normalised(x: Tensor, edges: CompressedEdges, degree: Tensor) -> Tensor:
    r"""The sum over neighbours with :math:`1 / \sqrt{d_i d_j}`; zero where a degree is."""
    scale = degree.clamp(min=1).to(x.dtype).rsqrt().unsqueeze(-1) * (degree > 0).unsqueeze(-1)
    return scale * aggregate(scale * x, edges)


SKIP = "skip"
LAYERS: Mapping[str, Callable[[int, int], nn.Module]] = {
    "gat": lambda inputs, outputs: GATLayer(inputs, outputs // _HEADS, _HEADS),
    "gcn": GCNLayer,
    "gin": SumLayer,
    "cheb": ChebLayer,
    "sage": SAGELayer,
    "arma": ARMALayer,
    "graph": GraphLayer,
    "fc": OwnLayer,
}
OPERATIONS = (*LAYERS, SKIP)
"""In the order of the benchmark."""
