"""The graph hypernetwork: parameters of a network from its computational graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from automl_plugins.estimators.ghn.decoder import ParameterDecoder
from automl_plugins.estimators.ghn.graph import BUCKETS, NetworkGraph, matrix_shape

_FARTHEST = 50
"""The longest way that is a virtual edge."""
_SIZES, _SIDES = 64, 16
"""The numbers of channels, and of sides of a kernel, that are told apart."""


class GraphHypernetwork(nn.Module):
    r"""GHN-2 (Knyazev, Drozdzal, Taylor and Romero-Soriano, NeurIPS 2021, arXiv 2110.13100; Zhang et al., ICLR 2019).

    A node begins with an embedding of its kind, and a parameter's node with one of its shape beside. One round of a
    gated graph network follows the data flow to the outputs and then goes back to the inputs, node after node
    (equations 3 and 4): a node reads its neighbours through one small network, and through another one, as virtual
    edges, all other nodes within 50 steps, each divided by its distance. A GRU cell takes both in.

    .. math:: m_v = \sum_{u \to v} f(h_u) + \sum_{1 < s_{uv} \le 50} \tfrac{1}{s_{uv}} f_{ve}(h_u) / \max(1, S_v),
        \quad h_v \leftarrow \text{GRU}(m_v, h_v)

    Departures: virtual edges are divided by the sum :math:`S_v` of their weights, which in graphs of hundreds of nodes
    would drown the neighbours; kinds are told apart by two hashes, so that a graph may have kinds that were never seen.

    Args:
        width: of the nodes' states, a multiple of four.
        kernel: see `ParameterDecoder`.
    """

    def __init__(self, width: int = 32, kernel: int = 1) -> None:
        super().__init__()
        self.width, self.kernel = width, kernel
        self.kinds = nn.ModuleList(nn.Embedding(BUCKETS, width) for _ in range(2))
        self.shapes = nn.ModuleList(nn.Embedding(count, width // 4) for count in (_SIZES, _SIZES, _SIDES, _SIDES))
        self.messages = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2 * width))
        self.cell = nn.GRUCell(width, width)
        self.norm = nn.LayerNorm(width)
        self.decoder = ParameterDecoder(width, kernel)

    def forward(self, graphs: Sequence[NetworkGraph]) -> list[dict[str, Tensor]]:
        """The parameters of each graph's network, by their names."""
        states = self.states(graphs)
        weights = [weight for graph in graphs for weight in graph.weights]
        starts = np.cumsum([0, *map(len, graphs)])
        nodes = [starts[place] + weight.node for place, graph in enumerate(graphs) for weight in graph.weights]
        decoded = iter(self.decoder(states[torch.as_tensor(nodes, device=states.device)], weights))
        return [{weight.name: next(decoded) for weight in graph.weights} for graph in graphs]

    def embed(self, graphs: Sequence[NetworkGraph]) -> Tensor:
        """The sum of the states of each graph's nodes, `[num_graphs, width]`.

        The paper has their mean, which knows nothing of a network's size.
        """
        states = self.states(graphs).split([len(graph) for graph in graphs])
        return torch.stack([each.sum(dim=0) for each in states])

    def states(self, graphs: Sequence[NetworkGraph]) -> Tensor:
        """The states of all nodes, graph by graph, `[num_nodes, width]`."""
        distances = [graph.distances() for graph in graphs]
        states = self._pass(self._begun(graphs), [graph.levels for graph in graphs], [each.T for each in distances])
        states = self._pass(states, [graph.heights for graph in graphs], distances)
        normalised: Tensor = self.norm(states)
        return normalised

    def _begun(self, graphs: Sequence[NetworkGraph]) -> Tensor:
        device = self.norm.weight.device
        hashes = torch.from_numpy(np.concatenate([graph.hashes for graph in graphs])).to(device)
        shapes = torch.from_numpy(np.concatenate([_shapes(graph) for graph in graphs])).to(device)
        kinds = sum(embedding(hashes[:, place]) for place, embedding in enumerate(self.kinds))
        return kinds + torch.cat([embedding(shapes[:, place]) for place, embedding in enumerate(self.shapes)], dim=1)

    def _pass(self, states: Tensor, levels: Sequence[np.ndarray], distances: Sequence[np.ndarray]) -> Tensor:
        """The states after one pass, in which nodes of one level are taken together.

        Args:
            states: `[num_nodes, width]`.
            levels: of the nodes of each graph; a node reads those of lower levels alone.
            distances: of each graph, from the second node of a pair to the first, `[num_nodes, num_nodes]`.
        """
        joined = np.concatenate(levels)
        order = np.argsort(joined, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        direct, virtual = (torch.from_numpy(each).to(states) for each in _edges(distances, place))
        states = states[torch.from_numpy(order).to(states.device)]
        near, far = states.new_zeros(2, 0, self.width)
        done, begin = [], 0
        for count in np.unique(joined, return_counts=True)[1].tolist():
            end = begin + count
            message = direct[begin:end, :begin] @ near + virtual[begin:end, :begin] @ far
            done.append(self.cell(message, states[begin:end]))
            sent = self.messages(done[-1]).split(self.width, dim=1)
            near, far = torch.cat([near, sent[0]]), torch.cat([far, sent[1]])
            begin = end
        return torch.cat(done)[torch.from_numpy(place).to(states.device)]


def _edges(distances: Sequence[np.ndarray], place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges and weighted virtual edges of several graphs side by side, each `[to, from]`.

    Args:
        distances: of each graph.
        place: of each node among the rows.
    """
    direct, virtual = (np.zeros((len(place), len(place)), dtype=np.float32) for _ in range(2))
    start = 0
    for each in distances:
        own = place[start : start + len(each)]
        with np.errstate(divide="ignore"):
            weights = np.where((each > 1) & (each <= _FARTHEST), 1 / each, 0)
        direct[np.ix_(own, own)] = each == 1
        virtual[np.ix_(own, own)] = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1)
        start += len(each)
    return direct, virtual


def _shapes(graph: NetworkGraph) -> np.ndarray:
    """The bucket of each of a node's four sizes, 0 for what has no shape, `[num_nodes, 4]`."""
    shapes = np.zeros((len(graph), 4), dtype=np.int64)
    for weight in graph.weights:
        sizes = matrix_shape(weight.shape if len(weight.shape) > 1 else (*weight.shape, 1, 1)[:2])
        # Sizes are told apart by a fifth or so.
        shapes[weight.node, :2] = [min(1 + int(4 * np.log2(size)), _SIZES - 1) for size in sizes[:2]]
        shapes[weight.node, 2:] = [min(side, _SIDES - 1) for side in sizes[2:]]
    return shapes
