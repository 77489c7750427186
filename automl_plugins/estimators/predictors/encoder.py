"""The graph network that the neural predictors share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from automl_plugins.estimators.predictors.graphs import dense_graphs
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace

Graphs = tuple[Tensor, ...]
"""Features `[num_graphs, num_nodes, num_features]`, adjacency `[num_graphs, num_nodes, num_nodes]`, mask."""


def graph_tensors(space: SearchSpace, architectures: Sequence[Architecture]) -> Graphs:
    """`dense_graphs` as tensors."""
    features, adjacency, mask = dense_graphs(space, architectures)
    return torch.from_numpy(features), torch.from_numpy(adjacency), torch.from_numpy(mask)


class GraphEncoder(nn.Module):
    """Graph convolutions over the operations, with messages along the data flow and against it.

    Each layer is `h + relu(norm(W0 h + W1 A^T h + W2 A h))`, without normalisation by degree, as in CTNAS
    (Chen et al., CVPR 2021, section 3.2), which has one direction. The operations' mean and sum make one
    vector per graph.

    Args:
        features: of an operation.
        width: of the hidden layers; the vectors are twice as wide.
        depth: the number of layers.
    """

    def __init__(self, features: int, width: int, depth: int) -> None:
        super().__init__()
        self.embed = nn.Linear(features, width)
        self.itself = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.forth = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(depth))
        self.back = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(depth))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))

    def forward(self, graphs: Graphs) -> Tensor:
        """`[num_graphs, 2 * width]`."""
        features, adjacency, mask = graphs
        state = self.embed(features) * mask[..., None]
        for itself, forth, back, norm in zip(self.itself, self.forth, self.back, self.norms, strict=True):
            messages = itself(state) + adjacency.transpose(1, 2) @ forth(state) + adjacency @ back(state)
            state = state + torch.relu(norm(messages)) * mask[..., None]
        total = state.sum(dim=1)
        return torch.cat([total / mask.sum(dim=1, keepdim=True), total / mask.shape[1]], dim=1)
