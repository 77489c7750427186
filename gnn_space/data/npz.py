"""A graph in one plain npz file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from automl_plugins.system.nearest import did_you_mean
from automl_plugins.training.data.arrays import Arrays, array_names, check_size, integers, read_arrays
from automl_plugins.training.data.splits import mask
from automl_plugins.training.once import warn_once
from gnn_space.data.single import SingleGraphData

EDGES = ("adj_indptr", "adj_indices")
FEATURES = ("x_indptr", "x_indices", "x_data", "x_shape")
SPLITS = ("train_idx", "val_idx", "test_idx")
MASKS = ("train_mask", "val_mask", "test_mask")


class NpzGraphData(SingleGraphData):
    """Node classification on a graph stored in an npz file, in PyG's form or as compressed sparse rows.

    The file holds the edges, `edge_index` `[2, num_edges]`, or `adj_indptr` `[num_nodes + 1]` and `adj_indices`
    `[num_edges]`; the features, `x` `[num_nodes, num_features]`, or `x_indptr`, `x_indices`, `x_data` and `x_shape`;
    the classes `y` `[num_nodes]`, which count from 0; and either all
    or none of `train_idx`, `val_idx`, `test_idx` (or `train_mask` and so on), each the numbers of its nodes or a
    boolean mask `[num_nodes]`. Whole numbers may be of any type. It is read without unpickling anything. Edges
    are taken in both directions, and each once.

    Args:
        path: the file.
        steps_per_epoch: optimizer steps on the graph in one epoch of Lightning.
        normalize_features: scale every node's features to sum to 1.
        sparse_features: give `x` in CSR layout, see `SingleGraphData`.
        seed: of the random 60/20/20 split, where the file has none.

    Raises:
        ValueError: an argument is out of range; (in `setup`) arrays are missing, disagree, or hold
            what they should not.
        FileNotFoundError: (in `setup`) there is no such file.
    """

    def __init__(
        self,
        path: str | Path,
        steps_per_epoch: int = 1,
        normalize_features: bool = True,
        sparse_features: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(steps_per_epoch, normalize_features, sparse_features, seed)
        self.path = Path(path).expanduser()

    def _where(self) -> str:
        return str(self.path)

    def _read(self) -> Data:
        names, where = array_names(self.path), str(self.path)
        edges_as = ("edge_index",) if "edge_index" in names and not set(EDGES) & set(names) else EDGES
        features_as = ("x",) if "x" in names and not set(FEATURES) & set(names) else FEATURES
        splits = _check_names(self.path, names, (*edges_as, *features_as, "y"))
        arrays = read_arrays(self.path, [*edges_as, *features_as, "y", *splits])
        x = _dense_features(where, arrays["x"]) if features_as == ("x",) else _sparse_features(where, arrays)
        num_nodes = len(x)
        if edges_as == EDGES:
            edges = torch.stack(_sparse(where, "adj", arrays, num_nodes, num_nodes, "node"))
        else:
            edges = _listed_edges(where, arrays["edge_index"], num_nodes)
        if edges.size(1) == 0:
            warn_once(f"{where}: the graph has no edges")
        y = integers(where, "y", arrays["y"])
        if len(y) != num_nodes:
            told = "x_shape" if features_as == FEATURES else "x"
            raise ValueError(f"{where}: {told} says {num_nodes} nodes, so y has {num_nodes} entries; got {len(y)}")
        graph = Data(x=x, edge_index=edges, y=torch.from_numpy(y))
        if splits:
            parts = (_part(where, name, arrays, num_nodes) for name in splits)
            graph.train_mask, graph.val_mask, graph.test_mask = parts
        return graph


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
    return torch.zeros(shape).index_put_((rows, columns), _floats(values), accumulate=True)


def _dense_features(where: str, x: np.ndarray) -> Tensor:
    if x.ndim != 2 or min(x.shape) < 1:
        raise ValueError(f"{where}: x has a row for each node and a column for each feature; got {list(x.shape)}")
    return _floats(x)


def _floats(values: np.ndarray) -> Tensor:
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


def _check_names(path: Path, names: list[str], required: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the three parts, or none.

    Raises:
        ValueError: an array is missing, or a part is called otherwise.
    """
    splits: tuple[str, ...] = next((three for three in (SPLITS, MASKS) if set(three) & set(names)), ())
    missing = [name for name in (*required, *splits) if name not in names]
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(missing)}; it has {', '.join(sorted(names)) or 'nothing'} "
            "(edges are edge_index [2, num_edges], or indptr and indices of scipy.sparse.csr_matrix; so are features x)"
        )
    # Without this, a part with another name would make way for a random split, in silence.
    others = [name for name in names if name not in splits and name.lower().startswith(("train", "val", "test"))]
    if others:
        accepted = f"parts are {', '.join(SPLITS)}, or {', '.join(MASKS)}"
        raise ValueError(f"{path} has {', '.join(others)}; {accepted}; {did_you_mean(others[0], (*SPLITS, *MASKS))}")
    return splits


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


def _part(where: str, name: str, arrays: Arrays, num_nodes: int) -> Tensor:
    """The mask of a part, which is stored as one or as numbers of nodes."""
    array = arrays[name]
    if array.dtype.kind == "b":
        if array.shape != (num_nodes,):
            raise ValueError(f"{where}: {name} is a mask of {num_nodes} nodes; got the shape {list(array.shape)}")
        return torch.from_numpy(array.astype(np.bool_))
    numbers = integers(where, name, array)
    if len(numbers) == num_nodes > 2 and set(np.unique(numbers)) <= {0, 1}:
        raise ValueError(f"{where}: {name} looks like a mask of 0 and 1; save it as booleans")
    wrong = numbers[(numbers < 0) | (numbers >= num_nodes)]
    if len(wrong):
        raise ValueError(f"{where}: {name} names node {wrong[0]}, but there are {num_nodes}, counted from 0")
    nodes, counts = np.unique(numbers, return_counts=True)
    if len(nodes) < len(numbers):
        raise ValueError(f"{where}: {name} names node {nodes[counts.argmax()]} more than once")
    return mask(num_nodes, torch.from_numpy(numbers))
