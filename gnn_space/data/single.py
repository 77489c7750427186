"""One graph, whose nodes are to be classified: training, validation and test nodes in one piece."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from automl_plugins.spaces.task import Task
from automl_plugins.system.arguments import at_least
from automl_plugins.training.data.base import TaskDataModule
from automl_plugins.training.data.splits import mask, random_split
from automl_plugins.training.data.targets import warn_of_few
from automl_plugins.training.data.unlabelled import Unlabelled
from automl_plugins.training.preprocessing import Preprocessing
from gnn_space.data.batches import RepeatedBatch
from gnn_space.data.features import as_learned
from gnn_space.data.graph_checks import check_classes, check_edges, check_finite, check_parts
from gnn_space.data.npz_draft import graph_findings
from gnn_space.data.unlabelled_graphs import unlabelled_graphs

FRACTIONS = (0.6, 0.2, 0.2)
"""Training, validation and test nodes where the data have no split of their own."""


@dataclass(frozen=True)
class OneGraph:
    """A graph with `train_mask`, `val_mask`, `test_mask`, and the task on its nodes."""

    task: Task
    graph: Data


class SingleGraphData(TaskDataModule[OneGraph]):
    """Node classification on one graph, transductive: every batch is the whole graph.

    A batch has `x` `[num_nodes, in_channels]`, `edge_index` `[2, num_edges]` (both directions of
    every edge), `y` `[num_nodes]`, and the boolean `train_mask`, `val_mask`, `test_mask`
    `[num_nodes]` that say which nodes a step counts.

    Subclasses implement `_read`.

    Args:
        steps_per_epoch: optimizer steps on the graph in one epoch of Lightning.
        normalize_features: scale every node's features to length 1.
        sparse_features: give `x` in CSR layout. Our networks take it, and a training step on Cora,
            whose features are 99 % zeros, then costs a fraction; a network of your own may need dense ones.
        seed: of the random 60/20/20 split, where the data have none.

    Raises:
        ValueError: an argument is out of range.
    """

    after_loading: ClassVar[frozenset[str]] = frozenset(("steps_per_epoch",))

    def __init__(self, steps_per_epoch: int, normalize_features: bool, sparse_features: bool, seed: int) -> None:
        super().__init__(seed)
        self.steps_per_epoch = at_least("steps_per_epoch", steps_per_epoch, 1, 1_000_000)
        self.normalize_features = normalize_features
        self.sparse_features = sparse_features

    def train_dataloader(self) -> RepeatedBatch:
        """The graph, `steps_per_epoch` times."""
        return RepeatedBatch(self.loaded.graph, self.steps_per_epoch)

    def val_dataloader(self) -> RepeatedBatch:
        """The graph, once."""
        return RepeatedBatch(self.loaded.graph, 1)

    def test_dataloader(self) -> RepeatedBatch:
        """The graph, once."""
        return RepeatedBatch(self.loaded.graph, 1)

    def predict_dataloader(self) -> RepeatedBatch:
        """The graph, once: predictions are of all nodes."""
        return RepeatedBatch(self.loaded.graph, 1)

    def findings(self) -> list[str]:
        """Lines about the graph, see `graph_findings`."""
        return graph_findings(self.loaded.graph, self.loaded.task.out_channels)

    def reading(self) -> dict[str, Any]:
        """The arguments of `unlabelled` with which another graph becomes what this one is."""
        return {
            "undirected": True,
            "normalize_features": self.normalize_features,
            "sparse_features": self.sparse_features,
        }

    @classmethod
    def unlabelled(cls, path: Path, kept: Preprocessing, **options: Any) -> Unlabelled:
        """A graph in an npz file without classes, see `unlabelled_graphs`."""
        return unlabelled_graphs(path, kept.task, **{**kept.reading, **options})

    def _read(self) -> Data:
        """`x`, `edge_index`, `y`; and the three masks, where the data have a split of their own."""
        raise NotImplementedError(f"{type(self).__name__} must implement _read")

    def _where(self) -> str:
        """The data, for messages."""
        return type(self).__name__

    def _load(self) -> OneGraph:
        raw = self._read()
        where, num_nodes = self._where(), int(raw.x.size(0))
        x = raw.x.to(torch.float32)
        check_finite(where, "node features", x)
        check_edges(where, raw.edge_index, num_nodes)
        graph = Data(
            x=as_learned(x, self.normalize_features, self.sparse_features),
            edge_index=to_undirected(raw.edge_index, num_nodes=num_nodes),
            y=raw.y.to(torch.int64),
        )
        if "train_mask" in raw:
            graph.train_mask, graph.val_mask, graph.test_mask = raw.train_mask, raw.val_mask, raw.test_mask
        else:
            parts = random_split(num_nodes, FRACTIONS, self.seed, where)
            graph.train_mask, graph.val_mask, graph.test_mask = (mask(num_nodes, part) for part in parts)
        masks = {"training": graph.train_mask, "validation": graph.val_mask, "test": graph.test_mask}
        check_parts(where, masks, num_nodes)
        classes = check_classes(where, "nodes", graph.y, masks)
        warn_of_few(where, int(graph.val_mask.sum()))
        task = Task("node", "classes", in_channels=int(x.size(1)), out_channels=classes)
        return OneGraph(task, graph)
