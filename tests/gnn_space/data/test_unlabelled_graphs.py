"""Graphs without targets are read as those of the training were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from automl_plugins import Task
from automl_plugins.training.preprocessing import Preprocessing
from gnn_space.data import ClusterData, EdgeCommunityData, NpzGraphData
from gnn_space.data.unlabelled_graphs import unlabelled_graphs

NODES = Task("node", "classes", in_channels=3, out_channels=2)
GENERATOR = np.random.default_rng(0)
EDGES, X = GENERATOR.integers(0, 10, (2, 20)), GENERATOR.normal(size=(10, 3))


def write(path: Path, **arrays: Any) -> Path:
    np.savez(path, **{"edge_index": EDGES, "x": X, **arrays})
    return path


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("sparse", [True, False])
def test_the_graph_of_a_training_is_read_again_as_it_was(normalize: bool, sparse: bool, tmp_path: Path) -> None:
    path = write(tmp_path / "mine.npz", y=np.arange(10) % 2)
    data = NpzGraphData(path, normalize_features=normalize, sparse_features=sparse)
    inputs = NpzGraphData.unlabelled(path, Preprocessing.of(data, data.task, nn.Identity()))
    ((places, graph),) = list(inputs)
    assert list(places) == list(range(10))
    assert (inputs.columns, inputs.rows[3]) == (("node",), (3,))
    known = data.loaded.graph
    assert torch.equal(graph.x.to_dense(), known.x.to_dense())
    assert graph.x.layout == known.x.layout
    assert torch.equal(graph.edge_index, known.edge_index)


def test_targets_and_masks_are_not_looked_at(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.npz", y=np.full(3, 99), train_mask=np.zeros(2))
    assert len(unlabelled_graphs(path, NODES, undirected=True)) == 10


def test_generated_graphs_are_read_as_they_are_generated(tmp_path: Path) -> None:
    for cls in (ClusterData, EdgeCommunityData):
        data = cls(num_train=1, num_val=1, num_test=1, edge_features=True)
        graph = data.loaded.test[0]
        for name in ("a", "b"):
            write(tmp_path / f"{name}.npz", edge_index=graph.edge_index, x=graph.x, edge_attr=graph.edge_attr)
        inputs = cls.unlabelled(tmp_path, Preprocessing.of(data, data.task, nn.Identity()))
        for places, batch in inputs:
            assert torch.equal(batch.x, graph.x)
            assert torch.equal(batch.edge_index, graph.edge_index)
            assert len(places) == len(graph.y)
        if data.task.level == "edge":
            assert inputs.columns == ("file", "source", "target")
            assert inputs.rows[5] == ("a.npz", *graph.edge_index[:, 5].tolist())


@pytest.mark.parametrize("kind", [">f8", ">i4", "<f2", "u2"])
def test_features_of_edges_are_read_in_any_type_and_byte_order(kind: str, tmp_path: Path) -> None:
    edge_attr = np.arange(20).reshape(20, 1)
    path = write(tmp_path / "mine.npz", edge_attr=edge_attr.astype(kind), x=X.astype(">f8"))
    task = Task("node", "classes", 3, 2, edge_channels=1)
    ((_, graph),) = unlabelled_graphs(path, task, undirected=False)
    assert graph.edge_attr.tolist() == edge_attr.tolist()


def test_of_a_folder_one_that_cannot_be_read_is_skipped(tmp_path: Path) -> None:
    write(tmp_path / "a.npz")
    write(tmp_path / "b.npz", x=X[:, :2])
    (tmp_path / "c.npz").write_text("nothing")
    inputs = unlabelled_graphs(tmp_path, NODES, undirected=True)
    assert inputs.rows[-3:] == [("a.npz", 9), ("b.npz", ""), ("c.npz", "")]
    assert "x has 2 features of a node; the networks take 3" in inputs.skipped[10]
    assert "is not a whole npz file" in inputs.skipped[11]


def test_a_whole_graph_is_one_row(tmp_path: Path) -> None:
    task = Task("graph", "regression", in_channels=3, out_channels=1)
    inputs = unlabelled_graphs(write(tmp_path / "mine.npz"), task, undirected=False)
    ((places, batch),) = list(inputs)
    assert (list(places), inputs.rows, batch.num_graphs) == ([0], [("mine.npz",)], 1)


@pytest.mark.parametrize(
    ("arrays", "task", "told"),
    [
        ({"x": X[:, :2]}, NODES, "x has 2 features of a node; the networks take 3"),
        ({"x": np.where(np.eye(10, 3), np.nan, X)}, NODES, "node features have 3 values that are not finite"),
        ({"edge_index": EDGES + 1}, NODES, "edge_index names node 10"),
        ({}, Task("node", "classes", 3, 2, edge_channels=1), "lacks edge_attr"),
        ({"edge_attr": np.ones((3, 1))}, Task("node", "classes", 3, 2, edge_channels=1), "a row for each of the 20"),
        ({"x": np.full((10, 1), 7)}, Task("node", "classes", 1, 2, node_categories=(7,)), "from 0 to 6"),
    ],
)
def test_what_the_networks_were_not_trained_on_is_refused(
    arrays: dict[str, Any], task: Task, told: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=told):
        unlabelled_graphs(write(tmp_path / "mine.npz", **arrays), task, undirected=True)
