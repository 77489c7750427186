"""Graph classification from the collection of TU Dortmund."""

from __future__ import annotations

from pathlib import Path

import torch
from torch_geometric.data import Data, InMemoryDataset
from torch_geometric.datasets import TUDataset

from automl_plugins.data.checks import three_fractions
from automl_plugins.data.splits import random_split
from automl_plugins.task import Task
from gnn_space.data.download import open_dataset
from gnn_space.data.graphs import ManyGraphs, ManyGraphsData
from gnn_space.data.store import GraphStore

FRACTIONS = three_fractions("FRACTIONS", (0.8, 0.1, 0.1))


class TUData(ManyGraphsData):
    """Graph classification on a TU data set (Morris et al. 2020, arXiv 2007.08663).

    `x` has the nodes' attributes and one-hot labels, `edge_attr` the edges'; where a data set
    describes no nodes, `x` is a single 1. Random 80/10/10 split.

    Args:
        name: of the data set, as in the collection: `MUTAG`, `ENZYMES`, `PROTEINS` ...
        root: folder of the data; they are downloaded to `<root>/<name>/raw` where missing.
        batch_size: graphs of a batch.
        seed: of the split and of the order of training batches.

    Raises:
        ValueError: an argument is out of range.
        ConnectionError: (in `prepare_data`) the data are missing and cannot be downloaded.
    """

    def __init__(self, name: str = "MUTAG", root: str | Path = "data", batch_size: int = 32, seed: int = 0) -> None:
        super().__init__(batch_size, seed)
        if not name:
            raise ValueError("name is that of a data set of the collection, such as MUTAG; got an empty one")
        self.name = name
        self.root = Path(root)

    def _open(self) -> InMemoryDataset:
        return open_dataset(TUDataset, root=str(self.root), name=self.name, use_node_attr=True, use_edge_attr=True)

    def _download(self) -> None:
        self._open()

    def _load(self) -> ManyGraphs:
        graphs = [_plain(graph) for graph in self._open()]
        classes = int(max(int(graph.y) for graph in graphs)) + 1
        first = graphs[0]
        task = Task(
            "graph",
            "classes",
            in_channels=int(first.x.size(1)),
            out_channels=classes,
            edge_channels=0 if first.edge_attr is None else int(first.edge_attr.size(1)),
        )
        parts = random_split(len(graphs), FRACTIONS, self.seed)
        train, val, test = (GraphStore.from_graphs([graphs[index] for index in part.tolist()]) for part in parts)
        return ManyGraphs(task, train, val, test)


def _plain(graph: Data) -> Data:
    """The attributes that we hand on, in the types that we promise."""
    x = torch.ones(int(graph.num_nodes or 0), 1) if graph.x is None else graph.x.to(torch.float32)
    edge_attr = None if graph.edge_attr is None else graph.edge_attr.to(torch.float32)
    return Data(x=x, edge_index=graph.edge_index, edge_attr=edge_attr, y=graph.y.to(torch.int64).view(1))
