"""Architectures as rows of numbers, for predictors that know no graphs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from automl_plugins.estimators.predictors.graphs import dense_graphs
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Value
from automl_plugins.spaces.space import SearchSpace

_MOST_PAIRED = 10
"""With more options than this, their pairs are too many to be features."""


def one_hot(space: SearchSpace, architectures: Sequence[Architecture]) -> np.ndarray:
    """The rows that `space.encode` gives, many at once and without its checks.

    Returns:
        float64 `[num_architectures, space.encoding_length]`.
    """
    columns: dict[tuple[str, type, Value], int] = {}
    for choice in space.choices:
        for option in choice.options:
            columns[choice.name, type(option), option] = len(columns)
    rows = np.zeros((len(architectures), len(columns)))
    for row, architecture in zip(rows, architectures, strict=True):
        row[[columns[name, type(value), value] for name, value in architecture.items()]] = 1.0
    return rows


def path_features(space: SearchSpace, architectures: Sequence[Architecture]) -> np.ndarray:
    """The makeup of the ways from input to output, after GRAF (Kadlecova et al., ICML 2024, section 3).

    For sets of options (all, each alone, all but one, and pairs where there are few), only operations that
    took one of them count, beside those that no choice settles. Of each set: the numbers of operations, of those that
    read an input, of those that give to an output, and of ways from an input to an output (its logarithm), and the
    shortest and the longest way. GRAF takes all sets, which are exponentially many.

    Returns:
        float64 `[num_architectures, 6 * num_sets]`.
    """
    features, adjacency, mask = dense_graphs(space, architectures)
    settled, ends = features[..., 1:-2], features[..., -2:]
    options = settled.shape[-1]
    sets = [settled[..., option] for option in range(options)]
    without = [mask * (1 - settled[..., option]) for option in range(options)]
    pairs = list(combinations(sets, 2)) if options <= _MOST_PAIRED else []
    admitted = np.stack([mask, *sets, *without, *(np.maximum(*pair) for pair in pairs)], axis=1)
    open_nodes = np.maximum(admitted, features[:, None, :, 0])
    sources, sinks = (np.maximum(ends[..., end], 0)[:, None] for end in (0, 1))
    read_by = adjacency.transpose(0, 2, 1)
    first = np.einsum("gts,gos->got", read_by, np.broadcast_to(sources, admitted.shape))
    last = np.einsum("gst,got->gos", adjacency, np.broadcast_to(sinks, admitted.shape))
    counts = [
        admitted.sum(axis=2),
        (admitted * (first > 0)).sum(axis=2),
        (admitted * (last > 0)).sum(axis=2),
        *_ways(adjacency, np.maximum(open_nodes, sources), sources, sinks),
    ]
    return np.concatenate(counts, axis=1).astype(np.float64)


def _ways(
    adjacency: np.ndarray, open_nodes: np.ndarray, sources: np.ndarray, sinks: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The logarithm of the number of ways over open nodes, and the shortest and longest, each `[num_graphs, num_sets]`.

    A set without a way has the length `num_nodes` as its shortest and 0 as its longest.
    """
    nodes = open_nodes.shape[-1]
    open_nodes = np.maximum(open_nodes, sinks)
    number = np.broadcast_to(sources, open_nodes.shape).astype(np.float64)
    shortest = np.where(number > 0, 0.0, np.inf)
    longest = np.where(number > 0, 0.0, -np.inf)
    # Operations stand in order of data flow, so one pass settles each node.
    for node in range(nodes):
        arrows = adjacency[:, None, :, node]
        can = open_nodes[..., node] * (sources[..., node] == 0)
        with np.errstate(invalid="ignore"):
            number[..., node] += can * (arrows * number).sum(axis=2)
        through = (arrows > 0) & (can > 0)[..., None]
        near = np.where(through, shortest + 1, np.inf).min(axis=2)
        far = np.where(through, longest + 1, -np.inf).max(axis=2)
        shortest[..., node] = np.minimum(shortest[..., node], near)
        longest[..., node] = np.maximum(longest[..., node], far)
    at_end = np.broadcast_to(sinks > 0, open_nodes.shape)
    total = np.where(at_end, number, 0).sum(axis=2)
    least = np.where(at_end, shortest, np.inf).min(axis=2)
    most = np.where(at_end, longest, -np.inf).max(axis=2)
    return np.log1p(total), np.where(np.isfinite(least), least, nodes), np.where(np.isfinite(most), most, 0)
