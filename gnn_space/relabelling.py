"""Random targets in place of a batch of graphs' own, which belong to its graphs, nodes or edges."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from automl_plugins.spaces.random_labels import fingerprints, labels_of, mixed
from automl_plugins.spaces.task import Task


def targets_of(batch: Any) -> Tensor:
    """The targets of a batch of PyG.

    Raises:
        ValueError: it has none.
    """
    targets = getattr(batch, "y", None)
    if not isinstance(targets, Tensor) or not hasattr(batch, "edge_index"):
        kind = type(batch).__name__
        raise ValueError(f"random labels take the place of `y` of a graph of PyG; the batch is a {kind} without one")
    return targets


def relabelled(batch: Any, task: Task, seed: int, scale: tuple[float, float]) -> Any:
    """See `automl_plugins.spaces.probe.Probe.relabelled`; all nodes of a graph with masks are trained on.

    Graphs are told apart by their features and edges; nodes by their places in a graph, or by `n_id` where a loader of
    neighbourhoods has numbered them.
    """
    targets, samples = targets_of(batch), _samples(batch, task)
    if len(targets) != len(samples):
        raise ValueError(f"random labels are one for each {task.level}; a batch has {len(targets)} for {len(samples)}")
    changed = copy.copy(batch)
    changed.y = labels_of(samples, targets, task, seed, scale)
    if isinstance(getattr(batch, "train_mask", None), Tensor):
        changed.train_mask = torch.ones_like(batch.train_mask)
    return changed


def _samples(batch: Any, task: Task) -> Tensor:
    """A number for each node, edge or graph."""
    x, edge_index = batch.x, batch.edge_index
    x = x if x.layout == torch.strided else x.to_dense()
    if task.level == "node" and isinstance(getattr(batch, "n_id", None), Tensor):
        return mixed(batch.n_id)
    graph = batch.batch if getattr(batch, "batch", None) is not None else x.new_zeros(len(x), dtype=torch.long)
    count = int(getattr(batch, "num_graphs", None) or 1)
    place = _places(graph, count)
    of_edges = graph[edge_index[0]]
    ends = place[edge_index[0]], place[edge_index[1]]
    edges = mixed(ends[0], ends[1])
    if getattr(batch, "edge_attr", None) is not None:
        edges = mixed(edges, fingerprints(batch.edge_attr))
    whole = graph.new_zeros(count).index_add_(0, graph, mixed(fingerprints(x), place)).index_add_(0, of_edges, edges)
    if task.level == "graph":
        return mixed(whole)
    if task.level == "edge":
        return mixed(whole[of_edges], _places(of_edges, count))
    return mixed(whole[graph], place)


def _places(graph: Tensor, count: int) -> Tensor:
    """The place of each element within its graph; elements come graph by graph."""
    sizes = torch.bincount(graph, minlength=count)
    return torch.arange(len(graph), device=graph.device) - (sizes.cumsum(0) - sizes)[graph]
