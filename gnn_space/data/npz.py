"""A graph in one plain npz file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from automl_plugins.system.nearest import did_you_mean
from automl_plugins.training.data.arrays import Arrays, array_names, integers, read_arrays
from automl_plugins.training.data.draft import Draft
from automl_plugins.training.data.splits import mask
from automl_plugins.training.once import warn_once
from gnn_space.data.npz_arrays import check_present, features_and_edges, stored_as
from gnn_space.data.npz_draft import npz_draft
from gnn_space.data.single import SingleGraphData

SPLITS = ("train_idx", "val_idx", "test_idx")
MASKS = ("train_mask", "val_mask", "test_mask")


class NpzGraphData(SingleGraphData):
    """Node classification on a graph stored in an npz file, in PyG's form or as compressed sparse rows.

    The file holds the edges, `edge_index` `[2, num_edges]`, or `adj_indptr` `[num_nodes + 1]` and `adj_indices`
    `[num_edges]`; the features, `x` `[num_nodes, num_features]`, or `x_indptr`, `x_indices`, `x_data` and `x_shape`;
    the classes `y` `[num_nodes]`, which count from 0; and either all
    or none of `train_idx`, `val_idx`, `test_idx` (or `train_mask` and so on), each the numbers of its nodes or a
    boolean mask `[num_nodes]`. Whole numbers may be of any type. It is read without unpickling anything. Edges
    are taken in both directions, and each once. Weights and features of edges are not read, which a warning says.

    Args:
        path: the file.
        steps_per_epoch: optimizer steps on the graph in one epoch of Lightning.
        normalize_features: scale every node's features to length 1.
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

    @classmethod
    def draft(cls, path: Path, targets: Sequence[str] = ()) -> Draft | None:
        """The arguments for a file that was looked at, see `npz_draft`; its classes are its targets."""
        return npz_draft(path)

    def _where(self) -> str:
        return str(self.path)

    def _read(self) -> Data:
        names, where = array_names(self.path), str(self.path)
        stored = stored_as(names)
        splits = _check_names(self.path, names, (*stored, "y"))
        arrays = read_arrays(self.path, [*stored, "y", *splits])
        x, edges = features_and_edges(where, arrays)
        num_nodes = len(x)
        unread = [name for name in names if name.startswith("edge_") and name not in stored]
        if unread:
            warn_once(
                f"{where}: {', '.join(unread)} are not read: edges of this graph have neither weights nor features"
            )
        if edges.size(1) == 0:
            warn_once(f"{where}: the graph has no edges")
        y = integers(where, "y", arrays["y"])
        if len(y) != num_nodes:
            told = "x_shape" if "x_shape" in arrays else "x"
            raise ValueError(f"{where}: {told} says {num_nodes} nodes, so y has {num_nodes} entries; got {len(y)}")
        graph = Data(x=x, edge_index=edges, y=torch.from_numpy(y))
        if splits:
            parts = (_part(where, name, arrays, num_nodes) for name in splits)
            graph.train_mask, graph.val_mask, graph.test_mask = parts
        return graph


def _check_names(path: Path, names: list[str], required: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the three parts, or none.

    Raises:
        ValueError: an array is missing, or a part is called otherwise.
    """
    splits: tuple[str, ...] = next((three for three in (SPLITS, MASKS) if set(three) & set(names)), ())
    check_present(path, names, (*required, *splits))
    # Without this, a part with another name would make way for a random split, in silence.
    others = [name for name in names if name not in splits and name.lower().startswith(("train", "val", "test"))]
    if splits and set(others) <= {*SPLITS, *MASKS} and others:
        raise ValueError(f"{path} has {', '.join(splits)}, and {', '.join(others)} as well; leave out either three")
    if others:
        accepted = f"parts are {', '.join(SPLITS)}, or {', '.join(MASKS)}"
        raise ValueError(f"{path} has {', '.join(others)}; {accepted}; {did_you_mean(others[0], (*SPLITS, *MASKS))}")
    return splits


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
