"""The operations of exported networks of `EGNASSpace`; see `automl_plugins.spaces.plain_source`.

Each reads states of nodes and of edges, and gives new ones of nodes or of edges.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gnn_space.plain import received, softmax

Operations = dict[int, Callable[[], nn.Module] | None]


def perceptron(inputs: int, outputs: int) -> nn.Sequential:
    """Two linear maps with a leaky rectifier between them."""
    return nn.Sequential(nn.Linear(inputs, outputs), nn.LeakyReLU(0.2), nn.Linear(outputs, outputs))


class Film(nn.Module):
    """Messages of neighbours that edge states scale and shift, reduced, mapped and normalised."""

    def __init__(self, nodes: int, edges: int, reduce: Callable[..., Tensor]) -> None:
        super().__init__()
        self.reduce = reduce
        self.message, self.modulation = perceptron(nodes, nodes), perceptron(edges, edges)
        self.scale, self.shift = nn.Linear(edges, nodes), nn.Linear(edges, nodes)
        self.output, self.norm = nn.Linear(nodes, nodes), nn.BatchNorm1d(nodes)

    def forward(self, nodes: Tensor, edges: Tensor, edge_index: Tensor) -> Tensor:
        hidden = self.message(functional.leaky_relu(nodes, 0.2))[edge_index[0]]
        modulation = self.modulation(edges)
        messages = self.scale(modulation).sigmoid() * hidden + self.shift(modulation)
        return self.norm(self.output(self.reduce(messages, edge_index[1], nodes.size(0))))


class EdgeConcat(nn.Module):
    """A perceptron of the relation of an edge's ends and of the edge."""

    def __init__(self, nodes: int, edges: int) -> None:
        super().__init__()
        self.relation, self.join = perceptron(3 * nodes, edges), perceptron(2 * edges, edges)
        self.output, self.norm = nn.Linear(edges, edges), nn.BatchNorm1d(edges)

    def forward(self, nodes: Tensor, edges: Tensor, edge_index: Tensor) -> Tensor:
        source, target = nodes[edge_index[0]], nodes[edge_index[1]]
        relation = self.relation(torch.cat([target, source, target - source], dim=1))
        updated = self.join(torch.cat([relation, functional.leaky_relu(edges, 0.2)], dim=1))
        return self.norm(self.output(updated))


class EdgeGRU(nn.Module):
    """A gated recurrent cell whose input is the relation of an edge's ends, and whose state is the edge."""

    def __init__(self, nodes: int, edges: int) -> None:
        super().__init__()
        self.relation, self.cell = perceptron(3 * nodes, edges), nn.GRUCell(edges, edges)
        self.output, self.norm = nn.Linear(edges, edges), nn.BatchNorm1d(edges)

    def forward(self, nodes: Tensor, edges: Tensor, edge_index: Tensor) -> Tensor:
        source, target = nodes[edge_index[0]], nodes[edge_index[1]]
        relation = self.relation(torch.cat([target, source, target - source], dim=1))
        return self.norm(self.output(self.cell(relation, functional.leaky_relu(edges, 0.2))))


class EdgeFilm(nn.Module):
    """Edge states that the relation of their ends scales and shifts."""

    def __init__(self, nodes: int, edges: int) -> None:
        super().__init__()
        self.relation = perceptron(3 * nodes, edges)
        self.scale, self.shift = nn.Linear(edges, edges), nn.Linear(edges, edges)
        self.output, self.norm = nn.Linear(edges, edges), nn.BatchNorm1d(edges)

    def forward(self, nodes: Tensor, edges: Tensor, edge_index: Tensor) -> Tensor:
        source, target = nodes[edge_index[0]], nodes[edge_index[1]]
        relation = self.relation(torch.cat([target, source, target - source], dim=1))
        updated = self.scale(relation).sigmoid() * functional.leaky_relu(edges, 0.2) + self.shift(relation)
        return self.norm(self.output(updated))


class GatedNodes(nn.Module):
    """The node update of GatedGCN (Bresson and Laurent 2017)."""

    def __init__(self, nodes: int, edges: int) -> None:
        super().__init__()
        self.target, self.source, self.edge = nn.Linear(nodes, nodes), nn.Linear(nodes, nodes), nn.Linear(edges, nodes)
        self.own, self.neighbour, self.norm = nn.Linear(nodes, nodes), nn.Linear(nodes, nodes), nn.BatchNorm1d(nodes)

    def forward(self, nodes: Tensor, edges: Tensor, edge_index: Tensor) -> Tensor:
        source, target = edge_index
        shares = (self.source(nodes)[source] + self.target(nodes)[target] + self.edge(edges)).sigmoid()
        total = received(shares * self.neighbour(nodes)[source], target, nodes.size(0))
        return self.norm(self.own(nodes) + total / (received(shares, target, nodes.size(0)) + 1e-6))


class GatedEdges(nn.Module):
    """The edge update of GatedGCN (Bresson and Laurent 2017)."""

    def __init__(self, nodes: int, edges: int) -> None:
        super().__init__()
        self.target, self.source, self.edge = nn.Linear(nodes, edges), nn.Linear(nodes, edges), nn.Linear(edges, edges)
        self.norm = nn.BatchNorm1d(edges)

    def forward(self, nodes: Tensor, edges: Tensor, edge_index: Tensor) -> Tensor:
        source, target = edge_index
        return self.norm(self.source(nodes)[source] + self.target(nodes)[target] + self.edge(edges))


class GINENodes(nn.Module):
    """The node update of GINE (Hu et al. 2020)."""

    def __init__(self, nodes: int, edges: int) -> None:
        super().__init__()
        self.edge, self.epsilon = nn.Linear(edges, nodes), nn.Parameter(torch.zeros(1))
        self.hidden, self.output = nn.Linear(nodes, nodes), nn.Linear(nodes, nodes)
        self.norm = nn.BatchNorm1d(nodes)

    def forward(self, nodes: Tensor, edges: Tensor, edge_index: Tensor) -> Tensor:
        messages = (nodes[edge_index[0]] + self.edge(edges)).relu()
        total = (1 + self.epsilon) * nodes + received(messages, edge_index[1], nodes.size(0))
        return self.norm(self.output(self.hidden(total).relu()))


class AttentionNodes(nn.Module):
    """Attention whose scores read the edge (GATv2, Brody et al. 2022), beside a map of the node itself."""

    def __init__(self, nodes: int, edges: int) -> None:
        super().__init__()
        self.target, self.source, self.own = nn.Linear(nodes, nodes), nn.Linear(nodes, nodes), nn.Linear(nodes, nodes)
        self.edge, self.score = nn.Linear(edges, nodes, bias=False), nn.Linear(nodes, 1, bias=False)
        self.norm = nn.BatchNorm1d(nodes)

    def forward(self, nodes: Tensor, edges: Tensor, edge_index: Tensor) -> Tensor:
        sent = self.source(nodes)[edge_index[0]]
        hidden = self.target(nodes)[edge_index[1]] + sent + self.edge(edges)
        shares = softmax(self.score(functional.leaky_relu(hidden, 0.2)), edge_index[1], nodes.size(0))
        return self.norm(self.own(nodes) + received(shares * sent, edge_index[1], nodes.size(0)))


class Merge(nn.Module):
    """Several states, rectified and mapped together to the channels of one."""

    def __init__(self, states: int, channels: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.hidden, self.norm = nn.Linear(states * channels, hidden), nn.BatchNorm1d(hidden)
        self.output, self.dropout = nn.Linear(hidden, channels), nn.Dropout(dropout)

    def forward(self, states: list[Tensor]) -> Tensor:
        hidden = self.norm(self.hidden(functional.leaky_relu(torch.cat(states, dim=1), 0.2)))
        return self.dropout(self.output(functional.leaky_relu(hidden, 0.2)))


class RectifiedSum(nn.Module):
    """The sum of the new states, each rectified."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: list[Tensor]) -> Tensor:
        return self.dropout(torch.stack([state.relu() for state in states[2:]]).sum(dim=0))


class State(nn.Module):
    """A new state: the sum of operations on earlier ones, by their places; None: of these themselves."""

    def __init__(self, operations: Operations) -> None:
        super().__init__()
        self.kept = [place for place, make in operations.items() if make is None]
        self.operations = nn.ModuleDict({str(place): make() for place, make in operations.items() if make is not None})

    def forward(self, own: list[Tensor], nodes: list[Tensor], edges: list[Tensor], edge_index: Tensor) -> Tensor | int:
        made = [each(nodes[int(place)], edges[int(place)], edge_index) for place, each in self.operations.items()]
        return sum([*made, *(own[place] for place in self.kept)])


def laplacian_eigenvectors(
    edge_index: Tensor, batch: Tensor, num_graphs: int, count: int, random_signs: bool
) -> Tensor:
    """The first non-trivial eigenvectors of each graph's normalised Laplacian (Dwivedi et al. 2023)."""
    sizes = torch.bincount(batch, minlength=num_graphs)
    largest: Any = sizes.max().item()
    place = torch.arange(batch.size(0), device=batch.device) - (sizes.cumsum(0) - sizes)[batch]
    ends = batch[edge_index[0]], place[edge_index[0]], place[edge_index[1]]
    adjacency = torch.zeros(num_graphs, largest, largest, dtype=torch.float64, device=batch.device)
    adjacency[ends] = 1.0
    adjacency = adjacency.maximum(adjacency.mT)
    scale = adjacency.sum(dim=2).clamp(min=1.0).rsqrt()
    is_node = torch.arange(largest, device=batch.device) < sizes.unsqueeze(1)
    # Eigenvalues are at most 2; those of the padding come last.
    diagonal = torch.where(is_node, 1.0, 4.0).double()
    laplacian = torch.diag_embed(diagonal) - scale.unsqueeze(2) * adjacency * scale.unsqueeze(1)
    values, vectors = torch.linalg.eigh(laplacian)
    vectors = vectors[:, :, 1 : count + 1].masked_fill((values > 3.0)[:, None, 1 : count + 1], 0.0)
    vectors = functional.pad(vectors, (0, count - vectors.size(2)))
    signs = torch.randint(0, 2, (num_graphs, 1, count), device=batch.device) * 2 - 1 if random_signs else 1
    return (vectors * signs)[is_node]
