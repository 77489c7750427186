"""Architectures as graphs of operations, many at once, as dense arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Value
from automl_plugins.spaces.space import SearchSpace


class DenseGraphs(NamedTuple):
    """Graphs of at most `num_nodes` operations, in order of data flow; what is missing is zero.

    Args:
        features: `[num_graphs, num_nodes, num_features]`: as `SearchSpace.vocabulary`, then whether the operation
            reads nothing, and whether nothing reads it.
        adjacency: `[num_graphs, num_nodes, num_nodes]`; (source, target) is 1 where target reads source.
        mask: `[num_graphs, num_nodes]`, 1 for an operation, 0 for padding.
    """

    features: np.ndarray
    adjacency: np.ndarray
    mask: np.ndarray


def dense_graphs(space: SearchSpace, architectures: Sequence[Architecture]) -> DenseGraphs:
    """The graphs of architectures, in float32."""
    vocabulary = space.vocabulary
    column = {(kind, type(option), option): index for index, (kind, option) in enumerate(vocabulary) if index > 0}
    kinds = {choice.name: choice.kind for choice in space.choices}
    listed = [space.operations(architecture) for architecture in architectures]
    nodes = max(map(len, listed), default=0)
    features = np.zeros((len(listed), nodes, len(vocabulary) + 2), dtype=np.float32)
    adjacency = np.zeros((len(listed), nodes, nodes), dtype=np.float32)
    mask = np.zeros((len(listed), nodes), dtype=np.float32)
    for graph, (architecture, operations) in enumerate(zip(architectures, listed, strict=True)):
        position = {operation.name: index for index, operation in enumerate(operations)}
        mask[graph, : len(operations)] = 1.0
        for index, operation in enumerate(operations):
            if not operation.choices:
                features[graph, index, 0] = 1.0
            for name in operation.choices:
                value: Value = architecture[name]
                features[graph, index, column[kinds[name], type(value), value]] = 1.0
            adjacency[graph, [position[source] for source in operation.inputs], index] = 1.0
    features[..., -2] = mask * (adjacency.sum(axis=1) == 0)
    features[..., -1] = mask * (adjacency.sum(axis=2) == 0)
    return DenseGraphs(features, adjacency, mask)
