"""Checks of what networks of graphs are called with, before torch computes with it.

Nothing here waits for a device, and nothing is looked at while a network is traced.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from automl_plugins.spaces.task import Task
from gnn_space.compressed import CompressedEdges, compressed, is_traced

NO_NODE_FEATURES = "nodes without features have a constant one: x = torch.ones(num_nodes, 1), Task(in_channels=1)"


def check_call(x: Any, edge_index: Any = None, edge_attr: Any = None, batch: Any = None, **_: Any) -> None:
    """Refuse tensors of one call that are not of one graph.

    Args:
        x: node features, `[num_nodes, in_channels]`.
        edge_index: `[2, num_edges]`.
        edge_attr: edge features, `[num_edges, edge_channels]`; other than two dimensions are not looked at here.
        batch: the graph of each node, `[num_nodes]`; None: there is one graph.

    Raises:
        ValueError: `x` is no tensor, edges are no pairs of its nodes (on the CPU), or there are other numbers of rows.
    """
    if x is None:
        raise ValueError(f"x is None; {NO_NODE_FEATURES}")
    if not isinstance(x, Tensor):
        kind = type(x).__name__
        raise ValueError(f"a network of graphs takes x, edge_index, ..., or a Data or Batch of PyG; got {kind}")
    if not isinstance(edge_index, Tensor):
        raise ValueError(f"edge_index is a tensor of integers [2, num_edges]; got {type(edge_index).__name__}")
    CompressedEdges(edge_index, x.size(0))  # which looks at them, and computes nothing before it is asked
    if isinstance(edge_attr, Tensor) and edge_attr.dim() == 2 and edge_attr.size(0) != edge_index.size(1):
        raise ValueError(f"edge_attr has a row for each of the {edge_index.size(1)} edges; got {_shape(edge_attr)}")
    if isinstance(batch, Tensor) and batch.shape != (x.size(0),):
        raise ValueError(f"batch has the graph of each of the {x.size(0)} nodes; got {_shape(batch)}")


def edges_of(
    x: Tensor, edge_index: Tensor | CompressedEdges, channels: int | None = None, edge_attr: Tensor | None = None
) -> CompressedEdges:
    """The compressed edges of a layer's graph, after a look at what the layer was called with.

    Args:
        x: node features, `[num_nodes, channels]`.
        edge_index: `[2, num_edges]`, or `CompressedEdges` of it.
        channels: that the layer reads; None: any number.
        edge_attr: edge features, `[num_edges, edge_channels]`.

    Raises:
        ValueError: one of them is no tensor, of another shape or on another device, or the edges are of another graph.
    """
    if is_traced():
        return compressed(edge_index, x.size(0))
    check_dense_or_sparse("x", x, (2,))
    if channels is not None and x.size(1) != channels:
        raise ValueError(f"x has the shape [num_nodes, {channels}] by the layer's weights; got {_shape(x)}")
    check_edges_of(x, edge_index)
    edges = compressed(edge_index, x.size(0))
    if edge_attr is not None and (edge_attr.dim() != 2 or edge_attr.size(0) != edges.num_edges):
        raise ValueError(f"edge_attr has a row for each of the {edges.num_edges} edges; got {_shape(edge_attr)}")
    return edges


def check_dense_or_sparse(name: str, values: Any, dimensions: tuple[int, ...]) -> None:
    """Refuse what is no tensor of so many dimensions.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(values, Tensor):
        raise ValueError(f"{name} is a tensor; got {type(values).__name__}")
    if values.dim() not in dimensions:
        accepted = {2: "[num_nodes, channels]", 3: "[num_nodes, heads, channels]"}
        shapes = " or ".join(accepted[each] for each in dimensions)
        raise ValueError(f"{name} has the shape {shapes}; got {_shape(values)}")


def check_edges_of(x: Tensor, edge_index: Any) -> None:
    """Refuse what are no edges, or edges on another device than the features of nodes.

    Raises:
        ValueError: they are.
    """
    if not isinstance(edge_index, Tensor | CompressedEdges):
        kind = type(edge_index).__name__
        raise ValueError(f"edge_index is a tensor of integers [2, num_edges], or CompressedEdges; got {kind}")
    device = (edge_index if isinstance(edge_index, Tensor) else edge_index.edge_index).device
    if device != x.device:
        raise ValueError(f"x is on {x.device} and edge_index on {device}; move both to one device")


def check_features(task: Task, x: Tensor, edge_attr: Tensor | None) -> None:
    """Refuse features of nodes and edges that are not a task's.

    Args:
        task: of the network.
        x: node features.
        edge_attr: edge features; not looked at where the task has none.

    Raises:
        ValueError: they are missing, or of another shape, layout or type.
    """
    if is_traced():
        return
    _check("x", "num_nodes", x, task.in_channels, bool(task.node_categories), "node_categories")
    if not task.edge_channels:
        return
    if edge_attr is None:
        raise ValueError(f"the network's task has {task.edge_channels} edge channels, but edge_attr is None")
    _check("edge_attr", "num_edges", edge_attr, task.edge_channels, bool(task.edge_categories), "edge_categories")


def _check(name: str, rows: str, values: Tensor, channels: int, categorical: bool, argument: str) -> None:
    if values.dim() != 2 or values.size(1) != channels:
        cure = f"; give {name}.unsqueeze(1)" if values.dim() == 1 and channels == 1 else ""
        raise ValueError(f"{name} has the shape [{rows}, {channels}] by the network's task; got {_shape(values)}{cure}")
    check_layout(name, values)
    kind = str(values.dtype).removeprefix("torch.")
    if categorical and values.is_floating_point():
        raise ValueError(f"{name} holds categories, which are integers, since the task has {argument}; got {kind}")
    if not categorical and not values.is_floating_point():
        raise ValueError(f"{name} is of {kind}; give {name}.float(), or, if it holds categories, the task's {argument}")


def check_layout(name: str, values: Tensor) -> None:
    """Refuse features that are neither dense nor in CSR layout.

    Raises:
        ValueError: they are in another layout.
    """
    if values.layout not in (torch.strided, torch.sparse_csr):
        layout = str(values.layout).removeprefix("torch.")
        raise ValueError(f"{name} is dense or in CSR layout; got {layout}; give {name}.to_sparse_csr()")


def _shape(values: Tensor) -> list[int]:
    return list(values.shape)
