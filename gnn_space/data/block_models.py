"""Generated graphs with communities: CLUSTER, PATTERN, and their edges."""

from __future__ import annotations

import numpy as np
import torch

from automl_plugins.spaces.task import Task
from automl_plugins.system.arguments import at_least
from automl_plugins.training.data.arrays import check_size
from gnn_space.data.block_graphs import BlockGraph, Integers, cluster_graph, new_pattern, pattern_graph
from gnn_space.data.graphs import ManyGraphs, ManyGraphsData
from gnn_space.data.store import GraphStore, StoreLevel

_BYTES = 20_000
"""Of a graph: about 4,300 edges of two numbers of two bytes."""


class BlockModelData(ManyGraphsData):
    """Graphs generated in `setup`; the i-th graph of a split depends on the seed and on i alone.

    Subclasses implement `_graph`, and say what the symbols and the targets are.

    Args:
        num_train: training graphs.
        num_val: validation graphs.
        num_test: test graphs.
        batch_size: graphs of a batch.
        edge_features: give every edge the constant feature 1, for networks that need one.
        seed: of the graphs and of the order of training batches.

    Raises:
        ValueError: an argument is out of range.
    """

    symbols: int
    classes: int
    level: StoreLevel = "node"

    def __init__(
        self, num_train: int, num_val: int, num_test: int, batch_size: int, edge_features: bool, seed: int
    ) -> None:
        super().__init__(batch_size, seed)
        self.num_train = at_least("num_train", num_train, 1)
        self.num_val = at_least("num_val", num_val, 1)
        self.num_test = at_least("num_test", num_test, 1)
        self.edge_features = edge_features

    def _graph(self, index: int, random: np.random.Generator) -> BlockGraph:
        raise NotImplementedError(f"{type(self).__name__} must implement _graph")

    def _load(self) -> ManyGraphs:
        count = self.num_train + self.num_val + self.num_test
        check_size(type(self).__name__, f"{count:,} graphs", count * _BYTES)
        task = Task(
            self.level,
            "classes",
            in_channels=1,
            out_channels=self.classes,
            edge_channels=int(self.edge_features),
            node_categories=(self.symbols,),
        )
        return ManyGraphs(task, train=self._store(0), val=self._store(1), test=self._store(2))

    def _store(self, split: int) -> GraphStore:
        count = (self.num_train, self.num_val, self.num_test)[split]
        graphs = [self._graph(index, np.random.default_rng([self.seed, split, index])) for index in range(count)]
        edges = torch.from_numpy(np.concatenate([graph.edges for graph in graphs], axis=1))
        return GraphStore(
            x=torch.from_numpy(np.concatenate([graph.symbols for graph in graphs])).unsqueeze(1),
            edge_index=edges,
            y=torch.from_numpy(np.concatenate([self._targets(graph) for graph in graphs])),
            nodes=torch.tensor([len(graph.symbols) for graph in graphs]),
            edges=torch.tensor([graph.edges.shape[1] for graph in graphs]),
            edge_attr=torch.ones(1, 1).expand(edges.size(1), 1) if self.edge_features else None,
            level=self.level,
        )

    def _targets(self, graph: BlockGraph) -> Integers:
        return graph.labels


class ClusterData(BlockModelData):
    """CLUSTER (Dwivedi et al. 2020, arXiv 2003.00982), generated: which of six communities is a node in?

    A batch has `x` `[num_nodes, 1]`, integers 0 to 6, and `y` `[num_nodes]`; every node counts.
    About 117 nodes and 4,300 edges (both directions) a graph. The paper reports the mean recall of
    the classes.

    Args:
        num_train: training graphs.
        num_val: validation graphs.
        num_test: test graphs.
        batch_size: graphs of a batch.
        edge_features: give every edge the constant feature 1, for networks that need one.
        seed: of the graphs and of the order of training batches.

    Raises:
        ValueError: an argument is out of range.
    """

    symbols, classes = 7, 6

    def __init__(
        self,
        num_train: int = 10_000,
        num_val: int = 1_000,
        num_test: int = 1_000,
        batch_size: int = 64,
        edge_features: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(num_train, num_val, num_test, batch_size, edge_features, seed)

    def _graph(self, index: int, random: np.random.Generator) -> BlockGraph:
        return cluster_graph(random)


class PatternData(BlockModelData):
    """PATTERN (Dwivedi et al. 2020, arXiv 2003.00982), generated: is a node in the planted pattern?

    A batch has `x` `[num_nodes, 1]`, integers 0 to 2, and `y` `[num_nodes]`, 0 or 1; every node
    counts. About 118 nodes and 6,000 edges (both directions) a graph. There are 100 patterns,
    which all splits share. The paper reports the mean recall of the classes.

    Args:
        num_train: training graphs.
        num_val: validation graphs.
        num_test: test graphs.
        batch_size: graphs of a batch.
        edge_features: give every edge the constant feature 1, for networks that need one.
        seed: of the graphs and of the order of training batches.

    Raises:
        ValueError: an argument is out of range.
    """

    symbols, classes = 3, 2
    patterns = 100

    def __init__(
        self,
        num_train: int = 10_000,
        num_val: int = 2_000,
        num_test: int = 2_000,
        batch_size: int = 64,
        edge_features: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(num_train, num_val, num_test, batch_size, edge_features, seed)

    def _graph(self, index: int, random: np.random.Generator) -> BlockGraph:
        # 3 stands where graphs have the number of their split.
        pattern = new_pattern(np.random.default_rng([self.seed, 3, index % self.patterns]))
        return pattern_graph(pattern, random)


class EdgeCommunityData(BlockModelData):
    """Edges of CLUSTER's graphs: does an edge join two nodes of one community (1) or of two (0)?

    A batch has `x` `[num_nodes, 1]`, integers 0 to 6, and `y` `[num_edges]`; an edge's two
    directions have the same target.

    Args:
        num_train: training graphs.
        num_val: validation graphs.
        num_test: test graphs.
        batch_size: graphs of a batch.
        edge_features: give every edge the constant feature 1, for networks that need one.
        seed: of the graphs and of the order of training batches.

    Raises:
        ValueError: an argument is out of range.
    """

    symbols, classes = 7, 2
    level = "edge"

    def __init__(
        self,
        num_train: int = 1_000,
        num_val: int = 100,
        num_test: int = 100,
        batch_size: int = 64,
        edge_features: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(num_train, num_val, num_test, batch_size, edge_features, seed)

    def _graph(self, index: int, random: np.random.Generator) -> BlockGraph:
        return cluster_graph(random)

    def _targets(self, graph: BlockGraph) -> Integers:
        source, target = graph.labels[graph.edges]
        return np.asarray(source == target, dtype=np.int64)
