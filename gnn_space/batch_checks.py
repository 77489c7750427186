"""The first batches of a training, looked at before a network meets them: anybody's datamodule may give them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from automl_plugins.spaces.task import Task
from gnn_space.data.graph_checks import check_edges, check_finite
from gnn_space.input_checks import NO_NODE_FEATURES, check_layout


def check_batch(batch: Data, task: Task, stage: str, weights: torch.dtype) -> None:
    """Refuse what no network could learn from, or what would be an error deep inside one.

    Args:
        batch: as a loader gives it.
        task: what it should fit.
        stage: `train`, `val` or `test`, for the message and the mask.
        weights: the type of the network's.

    Raises:
        ValueError: features, edges, masks or targets are not what the task says, or not finite.
    """
    where = f"the first {stage} batch"
    _check_graph(where, batch)
    _check_rows(where, "x", batch.x, int(batch.num_nodes or 0), task.in_channels)
    _check_type(where, "x", batch.x, "node_categories", task.node_categories, weights)
    check_finite(where, "node features", batch.x.values() if batch.x.layout == torch.sparse_csr else batch.x)
    check_edges(where, batch.edge_index, int(batch.num_nodes or 0))
    if task.edge_channels and batch.edge_attr is not None:
        _check_rows(where, "edge_attr", batch.edge_attr, batch.edge_index.size(1), task.edge_channels)
        _check_type(where, "edge_attr", batch.edge_attr, "edge_categories", task.edge_categories, weights)
        check_finite(where, "edge features", batch.edge_attr)
    if task.graph_channels:
        _check_graph_features(where, batch, task, weights)
    _check_targets(where, batch.y, _mask(where, batch, task, stage), task)


def _check_graph(where: str, batch: Any) -> None:
    if getattr(batch, "edge_index", None) is None:
        found = f"; a batch is a Data or Batch of PyG; got {type(batch).__name__}"
        raise ValueError(f"{where} has no edge_index{found if not isinstance(batch, Data) else ''}")
    if batch.x is None:
        raise ValueError(f"{where} has no x; {NO_NODE_FEATURES}")
    check_layout(f"{where}: x", batch.x)


def _check_graph_features(where: str, batch: Data, task: Task, weights: torch.dtype) -> None:
    values = getattr(batch, "graph_attr", None)
    if values is None:
        raise ValueError(f"{where} has no graph_attr, and the task has graph_channels={task.graph_channels}")
    _check_rows(where, "graph_attr", values, int(getattr(batch, "num_graphs", 1)), task.graph_channels)
    if values.dtype != weights:
        kinds = [str(kind).removeprefix("torch.") for kind in (values.dtype, weights)]
        raise ValueError(f"{where}: graph_attr is of {kinds[0]}, and the network's weights of {kinds[1]}")
    check_finite(where, "features of graphs", values)


def _check_rows(where: str, name: str, values: Tensor, rows: int, columns: int) -> None:
    if values.dim() != 2 or values.shape != (rows, columns):
        raise ValueError(
            f"{where}: {name} has the shape [{rows}, {columns}] by its graph and the task; got {list(values.shape)}"
        )


def _check_type(
    where: str, name: str, values: Tensor, argument: str, categories: tuple[int, ...], weights: torch.dtype
) -> None:
    kind = str(values.dtype).removeprefix("torch.")
    if categories and values.is_floating_point():
        raise ValueError(
            f"{where}: {name} holds categories, which are integers, since the task has {argument}; got {kind}"
        )
    if not categories and not values.is_floating_point():
        raise ValueError(
            f"{where}: {name} is of {kind}; give {name}.float(), or, if it holds categories, the task's {argument}"
        )
    if values.dtype == torch.float64 and weights == torch.float32:
        raise ValueError(f"{where}: {name} is of float64, and the network's weights of float32; give {name}.float()")


def _mask(where: str, batch: Any, task: Task, stage: str) -> Tensor | None:
    mask = None if task.level == "graph" else getattr(batch, f"{stage}_mask", None)
    rows = batch.edge_index.size(1) if task.level == "edge" else int(batch.num_nodes or 0)
    if mask is not None and (mask.dtype != torch.bool or mask.shape != (rows,)):
        split = "; one split of several is mask[:, 0]" if mask.dim() == 2 else ""
        raise ValueError(f"{where}: {stage}_mask holds {rows} booleans; got {mask.dtype} of {list(mask.shape)}{split}")
    return mask


def _check_targets(where: str, y: Tensor | None, mask: Tensor | None, task: Task) -> None:
    if y is None:
        raise ValueError(f"{where} has no targets y")
    counted = y if mask is None or len(y) != len(mask) else y[mask]
    known = counted[~counted.isnan()]
    if not known.isfinite().all():
        raise ValueError(f"{where}: a target is infinite; leave it out, or give nan where it is not known")
    if task.target == "classes":
        wrong = (counted < 0) | (counted >= task.out_channels) | (counted != counted.round())
        accepted = f"a class is a whole number from 0 to {task.out_channels - 1}"
    elif task.target == "regression":
        return
    else:
        wrong = (counted != 0) & (counted != 1) & ~counted.isnan()
        accepted = f"a {task.target} target is 0, 1, or nan where it is not known"
    if wrong.any():
        raise ValueError(f"{where}: {accepted}; got {counted[wrong][0].item():g}")
