"""Many graphs in a few long tensors, from which batches are put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import Batch, Data

StoreLevel = Literal["node", "edge", "graph"]


class GraphStore(Dataset[Data]):
    """Graphs of one kind in a few long tensors; a batch of them is a handful of `torch.cat`s.

    PyG collates a batch graph by graph and attribute by attribute, which for small molecules takes
    longer than a network's forward pass. `store[i]` is the i-th graph as a PyG `Data`;
    `store.batch(indices)` equals `Batch.from_data_list([store[i] for i in indices])`. A DataLoader
    calls `__getitems__`, so it gets finished batches and needs `collate` as its `collate_fn`.

    Args:
        x: node features of all graphs, one after another, `[num_nodes, in_channels]`.
        edge_index: edges of all graphs, `[2, num_edges]`; nodes count from 0 in every graph.
        y: targets, one row per graph, node or edge, as `level` says.
        nodes: nodes of each graph, `[num_graphs]`.
        edges: edges of each graph, `[num_graphs]`.
        edge_attr: edge features `[num_edges, edge_channels]`, or None.
        level: what a row of `y` belongs to.
        graph_attr: features of whole graphs, `[num_graphs, graph_channels]`, or None.
    """

    def __init__(
        self,
        x: Tensor,
        edge_index: Tensor,
        y: Tensor,
        nodes: Tensor,
        edges: Tensor,
        edge_attr: Tensor | None,
        level: StoreLevel,
        graph_attr: Tensor | None = None,
    ) -> None:
        # The benchmarks' 12,000 graphs have 50 to 80 million edges: int16 keeps them at a quarter.
        small = len(nodes) == 0 or int(nodes.max()) <= torch.iinfo(torch.int16).max
        self.x, self.y, self.edge_attr, self.level = x, y, edge_attr, level
        self.edge_index = edge_index.to(torch.int16) if small else edge_index
        self.nodes, self.edges, self.graph_attr = nodes, edges, graph_attr
        rows = {"node": nodes, "edge": edges, "graph": torch.ones_like(nodes)}[level]
        # Views, one a graph: joining some of them copies long runs of memory, which is as fast as
        # gathering rows for molecules and several times faster for graphs of thousands of edges.
        self._x = torch.split(x, nodes.tolist())
        self._edge_index = torch.split(self.edge_index, edges.tolist(), dim=1)
        self._edge_attr = None if edge_attr is None else torch.split(edge_attr, edges.tolist())
        self._y = torch.split(y, rows.tolist())

    @classmethod
    def from_graphs(cls, graphs: Sequence[Data], level: StoreLevel = "graph") -> GraphStore:
        """A store of PyG graphs, all of which have `x` and `y`, and all or none `edge_attr` and `graph_attr`."""
        first = graphs[0]
        return cls(
            x=torch.cat([graph.x for graph in graphs]),
            edge_index=torch.cat([graph.edge_index for graph in graphs], dim=1),
            y=torch.cat([graph.y for graph in graphs]),
            nodes=torch.tensor([graph.num_nodes for graph in graphs]),
            edges=torch.tensor([graph.num_edges for graph in graphs]),
            edge_attr=torch.cat([graph.edge_attr for graph in graphs]) if first.edge_attr is not None else None,
            level=level,
            graph_attr=torch.cat([graph.graph_attr for graph in graphs]) if "graph_attr" in first else None,
        )

    def __len__(self) -> int:
        return len(self._x)

    def __getitem__(self, index: int) -> Data:
        graph = Data(x=self._x[index], edge_index=self._edge_index[index].to(torch.int64), y=self._y[index])
        if self._edge_attr is not None:
            graph.edge_attr = self._edge_attr[index]
        if self.graph_attr is not None:
            graph.graph_attr = self.graph_attr[index : index + 1]
        return graph

    def __getitems__(self, indices: list[int]) -> Batch:
        return self.batch(indices)

    def batch(self, indices: Sequence[int]) -> Batch:
        """The graphs at `indices` as one PyG batch, in this order."""
        chosen = torch.tensor(indices, dtype=torch.int64)
        nodes, edges = self.nodes.index_select(0, chosen), self.edges.index_select(0, chosen)
        node_bounds, edge_bounds, one_each = _bounds(nodes), _bounds(edges), torch.arange(len(indices) + 1)
        offsets = node_bounds[:-1]
        edge_index = torch.cat([self._edge_index[index] for index in indices], dim=1).to(torch.int64)
        edge_index += torch.repeat_interleave(offsets, edges, output_size=edge_index.size(1))
        x = torch.cat([self._x[index] for index in indices])
        batch = Batch(
            x=x,
            edge_index=edge_index,
            y=torch.cat([self._y[index] for index in indices]),
            batch=torch.repeat_interleave(one_each[:-1], nodes, output_size=x.size(0)),
            ptr=node_bounds,
        )
        targets = {"node": node_bounds, "edge": edge_bounds, "graph": one_each}[self.level]
        slices = {"x": node_bounds, "edge_index": edge_bounds, "y": targets}
        nothing = torch.zeros_like(offsets)
        increments = {"x": nothing, "edge_index": offsets, "y": nothing}
        if self._edge_attr is not None:
            batch.edge_attr = torch.cat([self._edge_attr[index] for index in indices])
            slices["edge_attr"], increments["edge_attr"] = edge_bounds, nothing
        if self.graph_attr is not None:
            batch.graph_attr = self.graph_attr.index_select(0, chosen)
            slices["graph_attr"], increments["graph_attr"] = one_each, nothing
        # What PyG's own collation leaves behind, so that `batch.to_data_list()` works.
        batch._num_graphs = len(indices)
        batch._slice_dict, batch._inc_dict = slices, increments
        return batch


def collate(items: Batch | list[Data]) -> Batch:
    """The batch of what a DataLoader over a store, or over a subset of one, has fetched."""
    return items if isinstance(items, Batch) else Batch.from_data_list(items)


def _bounds(counts: Tensor) -> Tensor:
    """The positions at which each graph begins, and the last one ends, `[num_graphs + 1]`."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
