"""A graph in an npz file, looked at before and after a datamodule has read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import contains_self_loops, degree

from automl_plugins.training.data.arrays import array_names, read_arrays
from automl_plugins.training.data.draft import Draft, Reasoned

_MOSTLY_ZERO = 0.1
"""Features of which a smaller share is not zero are kept sparse: rule of thumb."""
_MOST_CLASSES = 12


def npz_draft(path: Path) -> Draft | None:
    """The arguments of `NpzGraphData` for a file; None: it is no npz file.

    Raises:
        ValueError: its features cannot be read.
    """
    if not path.is_file() or path.suffix.lower() != ".npz":
        return None
    names = array_names(path)
    found = {"path": Reasoned(str(path), f"its arrays: {', '.join(names)}")}
    stored = next((name for name in ("x", "x_data") if name in names), None)
    if stored is None:
        return Draft(found)  # what it lacks is said where it is read
    arrays = read_arrays(path, [stored, *(["x_shape"] if stored == "x_data" and "x_shape" in names else [])])
    values: npt.NDArray[Any] = arrays[stored]
    size = int(np.prod(arrays["x_shape"].astype(np.float64))) if "x_shape" in arrays else values.size
    share = np.count_nonzero(values) / max(1, size)
    if (values < 0).any():
        why = "there are negative features, which are no counts, so they stay as they are"
        found["normalize_features"] = Reasoned(False, why)
    if 0 < share < _MOSTLY_ZERO:
        found["sparse_features"] = Reasoned(True, f"{1 - share:.0%} of the features are zeros: faster, the same result")
    return Draft(found)


def graph_findings(graph: Data, classes: int) -> list[str]:
    """Lines about one graph: its size, its parts with their classes, lonely nodes, nodes that are alike in two parts.

    Args:
        graph: with `x`, `edge_index`, `y` and the three masks.
        classes: how many there are.
    """
    nodes = int(graph.num_nodes or 0)
    x = graph.x.to_dense() if graph.x.layout != torch.strided else graph.x
    told = [f"{nodes:,} nodes, {graph.edge_index.size(1):,} edges (both directions), {x.size(1):,} features"]
    masks = {"training": graph.train_mask, "validation": graph.val_mask, "test": graph.test_mask}
    for part, mask in masks.items():
        counts = torch.bincount(graph.y[mask], minlength=classes).tolist()
        named = ", ".join(f"class {number}: {count:,}" for number, count in enumerate(counts[:_MOST_CLASSES]))
        more = f", and {classes - _MOST_CLASSES} more classes" if classes > _MOST_CLASSES else ""
        told.append(f"{part}: {int(mask.sum()):,} nodes ({named}{more})")
    left = nodes - sum(int(mask.sum()) for mask in masks.values())
    lonely = int((degree(graph.edge_index[1], nodes) == 0).sum())
    told += [f"nodes in no part: {left:,}; they count in no loss, and pass messages on"] if left else []
    told += [f"nodes without an edge: {lonely:,}"] if lonely else []
    told += ["there are edges from a node to itself"] if contains_self_loops(graph.edge_index) else []
    return [*told, _alike(x, graph.train_mask, graph.test_mask)]


def _alike(x: Tensor, train: Tensor, test: Tensor) -> str:
    """A line about test nodes with the features of a training node; nodes without any feature do not count."""
    rows = x.cpu().numpy()
    seen = {row.tobytes() for row in rows[train.numpy()]}
    count = sum(row.tobytes() in seen for row in rows[test.numpy()] if row.any())
    if not count:
        return "no test node has the features of a training node"
    told = f"{count:,} of {int(test.sum()):,} test nodes have the very features of a training node"
    return f"LEAKAGE? {told}; see whether they are the same thing twice"
