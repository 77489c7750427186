"""Graphs in npz files without targets, whose nodes, edges or whole are to be predicted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.utils import to_undirected

from automl_plugins.spaces.task import Task
from automl_plugins.training.data.arrays import array_names, read_arrays
from automl_plugins.training.data.unlabelled import Cell, Unlabelled
from gnn_space.data.features import as_learned
from gnn_space.data.graph_checks import check_finite
from gnn_space.data.npz_arrays import check_present, features_and_edges, floats, stored_as

_COLUMNS = {"node": ("node",), "edge": ("source", "target"), "graph": ()}
"""The numbers by which a prediction is told within its graph."""


def unlabelled_graphs(
    path: Path, task: Task, undirected: bool, normalize_features: bool = False, sparse_features: bool = False
) -> Unlabelled:
    """The graph in an npz file, or those in a folder of such files; of a folder, one that cannot be read is skipped.

    A file holds edges and features as for `NpzGraphData`, and `edge_attr` `[num_edges, edge_channels]` where the
    networks read features of edges; targets and masks are not looked at. Nodes are told by their numbers, edges by
    those of their ends.

    Args:
        path: the file, or the folder.
        task: of the networks.
        undirected: edges are taken in both directions, and each once.
        normalize_features: scale every node's features to length 1.
        sparse_features: give features in CSR layout.

    Raises:
        ValueError: a file is no graph, or has other features than the networks were trained on; of a folder, no file
            is one.
        FileNotFoundError: there is no such file.
    """
    files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"{path}: the folder holds no npz file")
    graphs: list[tuple[int, Data]] = []
    rows: list[tuple[Cell, ...]] = []
    skipped: dict[int, str] = {}
    width = len(_COLUMNS[task.level])
    for file in files:
        own = (file.name,) if path.is_dir() or not width else ()
        try:
            graph = _graph(file, task, undirected)
        except ValueError as error:
            if not path.is_dir():
                raise
            skipped[len(rows)] = str(error)
            rows.append((*own, *("",) * width))
            continue
        graph.x = as_learned(graph.x, normalize_features, sparse_features)
        graphs.append((len(rows), graph))
        rows += [(*own, *each) for each in _told(graph, task)]
    if not graphs:
        raise ValueError(f"{path}: no file is a graph; {skipped[0]}")

    def batches() -> Iterator[tuple[Sequence[int], Data]]:
        for start, graph in graphs:
            places = range(start, start + len(_told(graph, task)))
            # Networks of whole graphs ask for the number of a node's graph.
            yield places, Batch.from_data_list([graph]) if task.level == "graph" else graph

    named = ("file",) if path.is_dir() or not width else ()
    return Unlabelled((*named, *_COLUMNS[task.level]), rows, skipped, batches)


def _told(graph: Data, task: Task) -> list[tuple[int, ...]]:
    """The numbers that tell the predictions within a graph."""
    if task.level == "edge":
        return [(source, target) for source, target in graph.edge_index.t().tolist()]
    return [(node,) for node in range(int(graph.num_nodes or 0))] if task.level == "node" else [()]


def _graph(file: Path, task: Task, undirected: bool) -> Data:
    names, where = array_names(file), str(file)
    needed = (*stored_as(names), *(("edge_attr",) if task.edge_channels else ()))
    check_present(file, names, needed)
    arrays = read_arrays(file, needed)
    x, edges = features_and_edges(where, arrays)
    x = _checked(where, "x", "node", x, task.in_channels, task.node_categories)
    if not task.edge_channels:
        return Data(x=x, edge_index=to_undirected(edges, num_nodes=len(x)) if undirected else edges)
    edge_attr = floats(arrays["edge_attr"])
    if edge_attr.dim() != 2 or len(edge_attr) != edges.size(1):
        raise ValueError(
            f"{where}: edge_attr has a row for each of the {edges.size(1)} edges; got {list(edge_attr.shape)}"
        )
    edge_attr = _checked(where, "edge_attr", "edge", edge_attr, task.edge_channels, task.edge_categories)
    return Data(x=x, edge_index=edges, edge_attr=edge_attr)


def _checked(where: str, name: str, kind: str, values: Tensor, channels: int, categories: Sequence[int]) -> Tensor:
    """Features as the networks take them, categories as integers.

    Raises:
        ValueError: there are more or fewer than the networks were trained on, or a value is none that they know.
    """
    if values.size(1) != channels:
        raise ValueError(f"{where}: {name} has {values.size(1)} features of a {kind}; the networks take {channels}")
    check_finite(where, f"{kind} features", values)
    if not categories:
        return values
    wrong = (values < 0) | (values >= torch.tensor(categories)) | (values != values.round())
    if wrong.any():
        row, column = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"{where}: {name} has {values[row, column]:g} in row {row}, column {column}; a category is a whole number "
            f"from 0 to {categories[column] - 1}"
        )
    return values.long()
