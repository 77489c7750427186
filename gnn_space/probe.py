"""The probe of graphs: inputs, sample units, labels, signals and pieces of batches at node, edge and graph level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch
from torch_geometric.nn import global_mean_pool

from automl_plugins.spaces.task import Task
from gnn_space.relabelling import relabelled, targets_of
from gnn_space.signals import node_signals, standardised

_NODES = (8, 16)
"""The least and the most nodes of a made-up graph."""
_LEAST_GRAPHS = 2
"""Batch normalisation cannot be trained on one."""


class GraphProbe:
    """The probe of graphs, see `automl_plugins.spaces.probe.Probe`.

    Inputs are `(x, edge_index, edge_attr, batch, num_graphs, graph_attr)`, as of all networks here; the last ones are
    optional.

    Args:
        task: of level `node`, `edge` or `graph`.
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    def example(self, count: int, generator: torch.Generator) -> tuple[Any, ...]:
        """Undirected rings with as many chords as nodes, with self-loops of none."""
        sizes = torch.randint(_NODES[0], _NODES[1] + 1, (count,), generator=generator).tolist()
        edges, start = [], 0
        for size in sizes:
            ring = torch.stack([torch.arange(size), (torch.arange(size) + 1) % size])
            # A chord spans at least two and at most size - 2 nodes, so it is no edge of the ring and no self-loop.
            ends = torch.randint(2, size - 1, (size,), generator=generator)
            chords = torch.stack([torch.arange(size), (torch.arange(size) + ends) % size])
            edges.append(start + torch.cat([ring, chords], dim=1))
            start += size
        one_way = torch.cat(edges, dim=1)
        edge_index = torch.cat([one_way, one_way.flip(0)], dim=1).unique(dim=1)
        batch = torch.arange(count).repeat_interleave(torch.tensor(sizes))
        x = _features(start, self.task.in_channels, self.task.node_categories, generator)
        edge_attr = None
        if self.task.edge_channels:
            edge_attr = _features(edge_index.shape[1], self.task.edge_channels, self.task.edge_categories, generator)
        graphs = self.task.graph_channels
        graph_attr = (torch.randn(count, graphs, generator=generator),) if graphs else ()
        return x, edge_index, edge_attr, batch, count, *graph_attr

    def positive(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Ones in place of real-valued features, and of the edges the first into each node."""
        x, edge_index, edge_attr, *rest = (*inputs, None)[: max(len(inputs), 3)]
        numbers = torch.arange(edge_index.shape[1], device=edge_index.device)
        first = numbers.new_full((len(x),), len(numbers)).scatter_reduce_(0, edge_index[1], numbers, "amin")
        kept = first[first < len(numbers)]
        edge_attr = None if edge_attr is None else edge_attr[kept]
        return _ones(x), edge_index[:, kept], _ones(edge_attr), *rest[:2], *map(_ones, rest[2:])

    def units(self, features: Tensor, inputs: tuple[Any, ...]) -> Tensor | None:
        """Rows of nodes, edges or graphs; of nodes, the mean at graph level, and the source's row at edge level."""
        x, edge_index, batch, num_graphs = self._structure(inputs)
        rows = len(features) if features.dim() > 0 else 0
        if self.task.level == "graph" and rows == num_graphs:
            return features.flatten(1)
        if self.task.level == "edge" and rows == edge_index.shape[1]:
            return features.flatten(1)
        if rows != len(x):
            return None
        if self.task.level == "graph":
            return global_mean_pool(features.flatten(1), batch, num_graphs)
        return features.flatten(1) if self.task.level == "node" else features.flatten(1)[edge_index[0]]

    def positions(self, features: Tensor, inputs: tuple[Any, ...]) -> Tensor | None:
        """Rows of nodes."""
        return features.flatten(1) if features.dim() > 1 and len(features) == len(inputs[0]) else None

    def labels(self, inputs: tuple[Any, ...], generator: torch.Generator) -> Tensor:
        """One target for each node, edge or graph, independent of all others."""
        x, edge_index, _, num_graphs = self._structure(inputs)
        rows = {"node": len(x), "edge": edge_index.shape[1], "graph": num_graphs}[self.task.level]
        channels = self.task.out_channels
        if self.task.target == "classes":
            drawn = torch.randint(channels, (rows,), generator=generator)
        elif self.task.target == "regression":
            drawn = torch.randn(rows, channels, generator=generator)
        else:
            drawn = torch.randint(2, (rows, channels), generator=generator).float()
        return drawn.to(edge_index.device)

    def signals(self, inputs: tuple[Any, ...], channels: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Signals on nodes, see `gnn_space.signals`; their means over graphs, or their sums over the ends of edges."""
        x, edge_index, batch, num_graphs = self._structure(inputs)
        edge_attr = inputs[2] if len(inputs) > 2 else None
        signals = node_signals(x, edge_index, edge_attr, channels, generator)
        if self.task.level == "graph":
            signals = {name: global_mean_pool(signal, batch, num_graphs) for name, signal in signals.items()}
        elif self.task.level == "edge":
            signals = {name: signal[edge_index[0]] + signal[edge_index[1]] for name, signal in signals.items()}
        return {name: standardised(signal) for name, signal in signals.items()}

    def targets(self, batch: Any) -> Tensor:
        """`y` of a graph or a batch of PyG."""
        return targets_of(batch)

    def relabelled(self, batch: Any, seed: int, scale: tuple[float, float] = (0.0, 1.0)) -> Any:
        """A target for each node, edge or graph; see `gnn_space.relabelling.relabelled`."""
        return relabelled(batch, self.task, seed, scale)

    def size(self, batch: Any) -> int:
        """Nodes and edges of a batch of PyG; 0 for anything else."""
        return int(batch.num_nodes) + int(batch.num_edges) if _is_graphs(batch) else 0

    def piece(self, batch: Any, share: float, least: int) -> Any:
        """The first graphs; another batch as it is."""
        if not _is_graphs(batch):
            return batch
        graphs = batch.to_data_list()
        count = min(max(round(share * len(graphs)), least * _LEAST_GRAPHS), len(graphs))
        return Batch.from_data_list(graphs[:count])

    def smaller(self, batch: Any, share: float) -> Sequence[str]:
        """Fewer graphs."""
        count = int(batch.num_graphs) if _is_graphs(batch) else 0
        fitting = int(share * count)
        return [f"a batch of {fitting} instead of {count}"] if fitting >= _LEAST_GRAPHS else []

    def _structure(self, inputs: tuple[Any, ...]) -> tuple[Tensor, Tensor, Tensor, int]:
        """Node features, edges, the graph of each node, and the number of graphs."""
        x, edge_index, _, batch, num_graphs, *_ = (*inputs, None, None, None)
        if batch is None:
            return x, edge_index, torch.zeros(len(x), dtype=torch.long, device=edge_index.device), 1
        return x, edge_index, batch, int(batch.max()) + 1 if num_graphs is None else num_graphs


def _features(rows: int, channels: int, categories: Sequence[int], generator: torch.Generator) -> Tensor:
    if not categories:
        return torch.randn(rows, channels, generator=generator)
    return torch.stack([torch.randint(count, (rows,), generator=generator) for count in categories], dim=1)


def _ones(features: Tensor | None) -> Tensor | None:
    return torch.ones_like(features) if features is not None and features.is_floating_point() else features


def _is_graphs(batch: Any) -> bool:
    return hasattr(batch, "to_data_list") and hasattr(batch, "num_graphs")
