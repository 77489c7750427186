"""The features and edges of a graph in the arrays of an npz file, in PyG's form or as compressed sparse rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from automl_plugins.training.data.arrays import Arrays, check_size, integers

_EDGES = ("adj_indptr", "adj_indices")
_FEATURES = ("x_indptr", "x_indices", "x_data", "x_shape")


def stored_as(names: Sequence[str]) -> tuple[str, ...]:
    """The arrays that a file with arrays of these names has its edges and features in, or should have.

    Args:
        names: of all of its arrays.
    """
    edges = ("edge_index",) if "edge_index" in names and not set(_EDGES) & set(names) else _EDGES
    features = ("x",) if "x" in names and not set(_FEATURES) & set(names) else _FEATURES
    return (*edges, *features)


def check_present(path: Path, names: Sequence[str], required: Sequence[str]) -> None:
    """Refuse a file without an array that it needs.

    Args:
        path: the file.
        names: of its arrays.
        required: the arrays.

    Raises:
        ValueError: one is missing.
    """
    missing = [name for name in required if name not in names]
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(missing)}; it has {', '.join(sorted(names)) or 'nothing'} "
            "(edges are edge_index [2, num_edges], or indptr and indices of scipy.sparse.csr_matrix; so are features x)"
        )


def features_and_edges(where: str, arrays: Arrays) -> tuple[Tensor, Tensor]:
    """The features `[num_nodes, num_features]`, dense, and the edges `[2, num_edges]` of a graph.

    Args:
        where: the file, for messages.
        arrays: those that `stored_as` names, and others perhaps.

    Raises:
        ValueError: they disagree, or hold what they should not.
    """
    x = _dense_features(where, arrays["x"]) if "x" in arrays else _sparse_features(where, arrays)
    if "edge_index" in arrays:
        return x, _listed_edges(where, arrays["edge_index"], len(x))
    return x, torch.stack(_sparse(where, "adj", arrays, len(x), len(x), "node"))


def _sparse_features(where: str, arrays: Arrays) -> Tensor:
    """The features that are stored in compressed rows, dense `[num_nodes, num_features]`."""
    shape = integers(where, "x_shape", arrays["x_shape"]).tolist()
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"{where}: x_shape is the number of nodes and of features, both at least 1; got {shape}")
    rows, columns = _sparse(where, "x", arrays, shape[0], shape[1], "feature")
    values = arrays["x_data"]
    if values.shape != columns.shape:
        raise ValueError(f"{where}: x_indices has {len(columns)} entries, so x_data has too; got {list(values.shape)}")
    check_size(where, f"x of the shape {shape}", 4 * shape[0] * shape[1])
    # As SciPy reads an entry that stands twice.
    return torch.zeros(shape).index_put_((rows, columns), floats(values), accumulate=True)


def _dense_features(where: str, x: np.ndarray) -> Tensor:
    if x.ndim != 2 or min(x.shape) < 1:
        raise ValueError(f"{where}: x has a row for each node and a column for each feature; got {list(x.shape)}")
    return floats(x)


def floats(values: np.ndarray) -> Tensor:
    """Numbers of whatever type and byte order they were saved in, as float32 of the same shape."""
    with np.errstate(over="ignore"):  # what is too large for float32 is refused as inf
        return torch.from_numpy(values.astype(np.float32))


def _listed_edges(where: str, edge_index: np.ndarray, num_nodes: int) -> Tensor:
    """Edges that are stored as PyG has them, `[2, num_edges]`."""
    if edge_index.ndim != 2 or len(edge_index) != 2:
        raise ValueError(f"{where}: edge_index has the shape [2, num_edges]; got {list(edge_index.shape)}")
    ends = integers(where, "edge_index", edge_index.reshape(-1))
    wrong = ends[(ends < 0) | (ends >= num_nodes)]
    if len(wrong):
        raise ValueError(f"{where}: edge_index names node {wrong[0]}, but there are {num_nodes}, counted from 0")
    return torch.from_numpy(ends).view(2, -1)


def _sparse(where: str, matrix: str, arrays: Arrays, rows: int, columns: int, kind: str) -> tuple[Tensor, Tensor]:
    """The row and the column of every entry of a matrix in compressed sparse rows, each `[num_entries]`."""
    bounds = integers(where, f"{matrix}_indptr", arrays[f"{matrix}_indptr"])
    indices = integers(where, f"{matrix}_indices", arrays[f"{matrix}_indices"])
    if len(bounds) != rows + 1:
        raise ValueError(
            f"{where}: x_shape says {rows} nodes, so {matrix}_indptr has {rows + 1} entries; got {len(bounds)}"
        )
    falls = np.flatnonzero(np.diff(bounds) < 0)
    if bounds[0] != 0 or bounds[-1] != len(indices) or len(falls):
        found = f"falls at place {falls[0] + 1}" if len(falls) else f"goes from {bounds[0]} to {bounds[-1]}"
        raise ValueError(
            f"{where}: {matrix}_indptr rises from 0 to the {len(indices)} entries of {matrix}_indices; it {found}"
        )
    wrong = np.flatnonzero((indices < 0) | (indices >= columns))
    if len(wrong):
        raise ValueError(
            f"{where}: {matrix}_indices names {kind} {indices[wrong[0]]} at place {wrong[0]}, but there are {columns}, "
            "counted from 0"
        )
    return torch.from_numpy(np.repeat(np.arange(rows), np.diff(bounds))), torch.from_numpy(indices)
