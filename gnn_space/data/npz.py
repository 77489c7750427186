"""A graph in one plain npz file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch_geometric.data import Data

from automl_plugins.data.splits import mask
from gnn_space.data.single import SingleGraphData

REQUIRED = ("adj_indptr", "adj_indices", "x_indptr", "x_indices", "x_data", "x_shape", "y")
SPLITS = ("train_idx", "val_idx", "test_idx")

Arrays = dict[str, npt.NDArray[np.generic]]


class NpzGraphData(SingleGraphData):
    """Node classification on a graph stored as compressed sparse rows in an npz file.

    The file holds `adj_indptr` `[num_nodes + 1]` and `adj_indices` `[num_edges]`; the features as
    `x_indptr`, `x_indices`, `x_data` and `x_shape`; the classes `y` `[num_nodes]`; and either all
    or none of `train_idx`, `val_idx`, `test_idx`. It is read without unpickling anything. Edges
    are taken in both directions.

    Args:
        path: the file.
        steps_per_epoch: optimizer steps on the graph in one epoch of Lightning.
        normalize_features: scale every node's features to sum to 1.
        sparse_features: give `x` in CSR layout, see `SingleGraphData`.
        seed: of the random 60/20/20 split, where the file has none.

    Raises:
        ValueError: an argument is out of range; (in `setup`) arrays are missing or disagree.
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
        self.path = Path(path)

    def _read(self) -> Data:
        with np.load(self.path, allow_pickle=False) as file:
            arrays: Arrays = {name: file[name] for name in file.files}
        _check(self.path, arrays)
        num_nodes, num_features = (int(size) for size in arrays["x_shape"].tolist())
        x = torch.zeros(num_nodes, num_features)
        x[_rows(arrays["x_indptr"]), _integers(arrays["x_indices"])] = torch.from_numpy(
            arrays["x_data"].astype(np.float32)
        )
        graph = Data(
            x=x,
            edge_index=torch.stack([_rows(arrays["adj_indptr"]), _integers(arrays["adj_indices"])]),
            y=_integers(arrays["y"]),
        )
        if SPLITS[0] in arrays:
            parts = (mask(num_nodes, _integers(arrays[name])) for name in SPLITS)
            graph.train_mask, graph.val_mask, graph.test_mask = parts
        return graph


def _check(path: Path, arrays: Arrays) -> None:
    splits = [name for name in SPLITS if name in arrays]
    missing = [name for name in (*REQUIRED, *(SPLITS if splits else ())) if name not in arrays]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}; it has {', '.join(sorted(arrays)) or 'nothing'}")
    num_nodes = int(arrays["x_shape"].tolist()[0])
    for name, expected in (("adj_indptr", num_nodes + 1), ("x_indptr", num_nodes + 1), ("y", num_nodes)):
        if len(arrays[name]) != expected:
            raise ValueError(
                f"{path}: x_shape says {num_nodes} nodes, so {name} has {expected} entries; got {len(arrays[name])}"
            )
    for name in ("adj_indices", *splits):
        if arrays[name].size and int(arrays[name].max()) >= num_nodes:
            raise ValueError(f"{path}: {name} names node {arrays[name].max()}, but there are {num_nodes}, from 0")


def _integers(array: npt.NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(array.astype(np.int64))


def _rows(indptr: npt.NDArray[np.generic]) -> Tensor:
    """The row of every entry of a matrix in compressed sparse rows."""
    bounds = _integers(indptr)
    return torch.repeat_interleave(torch.arange(len(bounds) - 1), bounds.diff())
