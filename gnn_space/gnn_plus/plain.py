"""The convolutions of exported networks of `GNNPlusSpace`; see `automl_plugins.spaces.plain_source`.

Edges of GCN and of both attentions have one from each node to itself.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from gnn_space.plain import mean, propagate, received, softmax


class GCN(nn.Module):
    """Graph convolution (Kipf and Welling 2017)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.source = nn.Linear(inputs, outputs, bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return propagate(self.source(x), edge_index) + self.bias


class EdgeGCN(nn.Module):
    """Graph convolution (Kipf and Welling 2017) with a linear term of edge features."""

    def __init__(self, inputs: int, outputs: int, edges: int) -> None:
        super().__init__()
        self.source, self.edge = nn.Linear(inputs, outputs, bias=False), nn.Linear(edges, outputs, bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        source, target = edge_index
        scale = received(torch.ones_like(edge_attr[:, :1]), target, x.size(0)).rsqrt()
        messages = scale[source] * (self.source(x)[source] + self.edge(edge_attr))
        return scale * received(messages, target, x.size(0)) + self.bias


class SAGE(nn.Module):
    """GraphSAGE with the mean of neighbours (Hamilton et al. 2017)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.source, self.own = nn.Linear(inputs, outputs, bias=False), nn.Linear(inputs, outputs, bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.own(x) + mean(self.source(x)[edge_index[0]], edge_index[1], x.size(0)) + self.bias


class EdgeSAGE(nn.Module):
    """GraphSAGE with the mean of neighbours (Hamilton et al. 2017) and of edge features."""

    def __init__(self, inputs: int, outputs: int, edges: int) -> None:
        super().__init__()
        self.source, self.own = nn.Linear(inputs, outputs, bias=False), nn.Linear(inputs, outputs, bias=False)
        self.edge = nn.Linear(edges, outputs, bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        messages = self.source(x)[edge_index[0]] + self.edge(edge_attr)
        return self.own(x) + mean(messages, edge_index[1], x.size(0)) + self.bias


class GIN(nn.Module):
    """Graph isomorphism network (Xu et al. 2019)."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
        self.epsilon = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        total = (1 + self.epsilon) * x + received(x[edge_index[0]], edge_index[1], x.size(0))
        return self.second(functional.relu(self.first(total)))


class GINE(nn.Module):
    """Graph isomorphism network with edge features (Hu et al. 2020)."""

    def __init__(self, inputs: int, hidden: int, outputs: int, edges: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
        self.edge = nn.Linear(edges, inputs)
        self.epsilon = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        messages = functional.relu(x[edge_index[0]] + self.edge(edge_attr))
        total = (1 + self.epsilon) * x + received(messages, edge_index[1], x.size(0))
        return self.second(functional.relu(self.first(total)))


class GAT(nn.Module):
    """Graph attention (Velickovic et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, nn.Dropout(dropout)
        self.source = nn.Linear(inputs, outputs, bias=False)
        self.from_source, self.from_target, self.bias = (nn.Parameter(torch.zeros(outputs)) for _ in range(3))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        hidden, (source, target) = self.source(x), edge_index
        terms = (hidden * self.from_source)[source] + (hidden * self.from_target)[target]
        scores = functional.leaky_relu(terms.unflatten(1, (self.heads, -1)).sum(-1), 0.2)
        shares = self.dropout(softmax(scores, target, x.size(0))).repeat_interleave(hidden.size(1) // self.heads, 1)
        return received(shares * hidden[source], target, x.size(0)) + self.bias


class EdgeGAT(nn.Module):
    """Graph attention (Velickovic et al. 2018) whose scores read edge features."""

    def __init__(self, inputs: int, outputs: int, heads: int, dropout: float, edges: int) -> None:
        super().__init__()
        self.heads, self.dropout = heads, nn.Dropout(dropout)
        self.source, self.edge = nn.Linear(inputs, outputs, bias=False), nn.Linear(edges, outputs, bias=False)
        self.from_source, self.from_target = nn.Parameter(torch.zeros(outputs)), nn.Parameter(torch.zeros(outputs))
        self.from_edge, self.bias = nn.Parameter(torch.zeros(outputs)), nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        hidden, (source, target) = self.source(x), edge_index
        terms = (hidden * self.from_source)[source] + (hidden * self.from_target)[target]
        terms = (terms + self.edge(edge_attr) * self.from_edge).unflatten(1, (self.heads, -1))
        shares = self.dropout(softmax(functional.leaky_relu(terms.sum(-1), 0.2), target, x.size(0)))
        messages = shares.repeat_interleave(hidden.size(1) // self.heads, 1) * hidden[source]
        return received(messages, target, x.size(0)) + self.bias


class GATv2(nn.Module):
    """Dynamic graph attention (Brody et al. 2022)."""

    def __init__(self, inputs: int, outputs: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, nn.Dropout(dropout)
        self.source, self.target = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs)
        self.score, self.bias = nn.Parameter(torch.zeros(outputs)), nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        source, target = edge_index
        sent = self.source(x)[source]
        terms = functional.leaky_relu(sent + self.target(x)[target], 0.2) * self.score
        shares = self.dropout(softmax(terms.unflatten(1, (self.heads, -1)).sum(-1), target, x.size(0)))
        messages = shares.repeat_interleave(sent.size(1) // self.heads, 1) * sent
        return received(messages, target, x.size(0)) + self.bias


class EdgeGATv2(nn.Module):
    """Dynamic graph attention (Brody et al. 2022) whose scores read edge features."""

    def __init__(self, inputs: int, outputs: int, heads: int, dropout: float, edges: int) -> None:
        super().__init__()
        self.heads, self.dropout = heads, nn.Dropout(dropout)
        self.source, self.target = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs)
        self.edge = nn.Linear(edges, outputs, bias=False)
        self.score, self.bias = nn.Parameter(torch.zeros(outputs)), nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        source, target = edge_index
        sent = self.source(x)[source]
        terms = functional.leaky_relu(sent + self.target(x)[target] + self.edge(edge_attr), 0.2) * self.score
        shares = self.dropout(softmax(terms.unflatten(1, (self.heads, -1)).sum(-1), target, x.size(0)))
        messages = shares.repeat_interleave(sent.size(1) // self.heads, 1) * sent
        return received(messages, target, x.size(0)) + self.bias


class GatedGCN(nn.Module):
    """Gated graph convolution (Bresson and Laurent 2017): edge states weigh, by channel, what arrives along them."""

    def __init__(self, inputs: int, outputs: int, edges: int) -> None:
        super().__init__()
        self.target, self.source = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs)
        self.own, self.neighbour = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs)
        self.edge = nn.Linear(edges, outputs)

    def forward(self, x: Tensor, edge_index: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        source, target = edge_index
        updated = self.target(x)[target] + self.source(x)[source] + self.edge(edges)
        shares = updated.sigmoid()
        total = received(shares * self.neighbour(x)[source], target, x.size(0))
        return self.own(x) + total / (received(shares, target, x.size(0)) + 1e-6), updated


class DirectedGCN(nn.Module):
    """Messages from edge to edge, never straight back (D-MPNN, Yang et al. 2019)."""

    def __init__(self, inputs: int, outputs: int, edges: int) -> None:
        super().__init__()
        self.own, self.source = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs, bias=False)
        self.edge, self.received = nn.Linear(edges, outputs, bias=False), nn.Linear(outputs, outputs, bias=False)

    def forward(self, x: Tensor, edge_index: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        source, target = edge_index
        mapped = functional.pad(self.edge(edges), (0, 0, 0, 1))  # a last one that is zero
        begun = self.source(x) + received(mapped[:-1], target, x.size(0))
        updated = begun[source] - mapped[reverse_edges(edge_index, x.size(0))]
        return self.own(x) + self.received(received(functional.relu(updated), target, x.size(0))), updated


def reverse_edges(edge_index: Tensor, num_nodes: int) -> Tensor:
    """The place of the edge that leads back, the k-th of several for the k-th; `num_edges` where none does."""
    source, target = edge_index
    forward, order = (source * num_nodes + target).sort(stable=True)
    backward = (target * num_nodes + source)[order]
    rank = torch.arange(order.size(0), device=order.device) - torch.searchsorted(forward, forward)
    twin = (torch.searchsorted(forward, backward) + rank).clamp(max=order.size(0))
    found = functional.pad(forward, (0, 1), value=-1)[twin] == backward
    places = functional.pad(order, (0, 1))[twin].where(found, torch.full_like(twin, order.size(0)))
    return torch.empty_like(places).scatter(0, order, places)


class PNA(nn.Module):
    """The mean, maximum, minimum and deviation of neighbours (Corso et al. 2020), without degree scalers."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.own, self.source = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs, bias=False)
        self.mean, self.max, self.min, self.deviation = (nn.Linear(outputs, outputs, bias=False) for _ in range(4))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        messages, target = self.source(x)[edge_index[0]], edge_index[1]
        average, square = mean(messages, target, x.size(0)), mean(messages.square(), target, x.size(0))
        most, least = (received(each, target, x.size(0), "amax") for each in (messages, -messages))
        deviation = (functional.relu(square - average.square()) + 1e-5).sqrt()
        return self.own(x) + self.mean(average) + self.max(most) + self.min(-least) + self.deviation(deviation)


class EdgePNA(nn.Module):
    """The mean, maximum, minimum and deviation of neighbours and edge features (Corso et al. 2020), without scalers."""

    def __init__(self, inputs: int, outputs: int, edges: int) -> None:
        super().__init__()
        self.own, self.source = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs, bias=False)
        self.edge = nn.Linear(edges, outputs, bias=False)
        self.mean, self.max, self.min, self.deviation = (nn.Linear(outputs, outputs, bias=False) for _ in range(4))

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        messages, target = self.source(x)[edge_index[0]] + self.edge(edge_attr), edge_index[1]
        average, square = mean(messages, target, x.size(0)), mean(messages.square(), target, x.size(0))
        most, least = (received(each, target, x.size(0), "amax") for each in (messages, -messages))
        deviation = (functional.relu(square - average.square()) + 1e-5).sqrt()
        return self.own(x) + self.mean(average) + self.max(most) + self.min(-least) + self.deviation(deviation)
