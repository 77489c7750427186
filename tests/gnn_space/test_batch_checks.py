"""What anybody's datamodule may give a network, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_batches import Tiny, graph
from torch_geometric.data import Batch, Data

from automl_plugins import Task
from automl_plugins.training.data.batches import FixedBatches
from automl_plugins.training.fit import LEAN
from automl_plugins.training.lightning import pl
from gnn_space import AGNNSpace, EdgeClassification, GraphClassification, GraphRegression, NodeClassification
from gnn_space.batch_checks import check_batch

NODE = Task("node", "classes", 3, 2, edge_channels=2)
CATEGORIES = Task("node", "classes", 3, 2, node_categories=(4, 4, 4))
EDGE = Task("edge", "classes", 3, 2)
GRAPH = Task("graph", "classes", 3, 2)
LABELS = Task("graph", "multilabel", 3, 2)
VALUES = Task("graph", "regression", 3, 1)
MODULES: dict[Task, Any] = {
    NODE: NodeClassification,
    CATEGORIES: NodeClassification,
    EDGE: EdgeClassification,
    GRAPH: GraphClassification,
    LABELS: GraphClassification,
    VALUES: GraphRegression,
}


def batch(task: Task) -> Data:
    given = Batch.from_data_list([graph(task, seed) for seed in range(4)])
    if task.node_categories:
        given.x = given.x.long().clamp(0, 3)
    return given


def fit(task: Task, train: Data, val: Data) -> dict[str, Any]:
    space = AGNNSpace(layers=1)
    module = MODULES[task](space.network(space.sample(torch.Generator().manual_seed(0)), task), task)
    data = Tiny([train], task)
    data.val_dataloader = lambda: FixedBatches([val])  # type: ignore[method-assign]
    trainer = pl.Trainer(**LEAN, max_epochs=1, accelerator="cpu")
    trainer.fit(module, data)
    return {name: value.item() for name, value in trainer.callback_metrics.items()}


def spoil(name: str, place: Any, value: Any) -> Any:
    def change(given: Data) -> None:
        given[name] = given[name].float() if isinstance(value, float) else given[name]
        given[name][place] = value

    return change


def put(name: str, make: Any) -> Any:
    return lambda given: given.update({name: make(given)})


@pytest.mark.parametrize("stage", ["train", "val"])
@pytest.mark.parametrize(
    ("task", "change", "message"),
    [
        (NODE, spoil("x", (2, 1), torch.nan), r"the node features have 1 values .* nan at \[2, 1\]"),
        (NODE, spoil("x", (2, 1), torch.inf), r"the node features have 1 values .* inf at \[2, 1\]"),
        (NODE, spoil("edge_attr", (3, 0), torch.nan), r"the edge features have 1 values .* nan at \[3, 0\]"),
        (NODE, spoil("edge_index", (1, 5), 99), "edge 5 is from 5 to 99, but its graph has 32 nodes"),
        (NODE, spoil("edge_index", (0, 0), -1), "edge 0 is from -1 to 1"),
        (NODE, put("x", lambda given: given.x[:, :2]), r"x has the shape \[32, 3\] .* got \[32, 2\]"),
        (NODE, put("edge_attr", lambda given: given.edge_attr[:, 0]), r"edge_attr has the shape \[64, 2\] .* \[64\]"),
        (
            NODE,
            put("x", lambda given: given.x.double()),
            "x is of float64, and the network's weights of float32",
        ),
        (
            NODE,
            put("x", lambda given: given.x.long()),
            "x is of int64; give .*, or, .* the task's node_categ",
        ),
        (CATEGORIES, put("x", lambda given: given.x.float()), "x holds categories, which are integers, .* got float32"),
        (NODE, spoil("y", 0, 2), "a class is a whole number from 0 to 1; got 2"),
        (NODE, spoil("y", 0, -1), "a class is a whole number from 0 to 1; got -1"),
        (NODE, spoil("y", 0, 0.5), r"a class is a whole number from 0 to 1; got 0\.5"),
        (NODE, spoil("y", 0, torch.nan), "a class is a whole number from 0 to 1; got nan"),
        (EDGE, spoil("y", 0, 7), "a class is a whole number from 0 to 1; got 7"),
        (LABELS, spoil("y", (0, 0), 2.0), "a multilabel target is 0, 1, or nan where it is not known; got 2"),
        (VALUES, spoil("y", (0, 0), torch.inf), "a target is infinite"),
        (NODE, put("x", lambda given: given.x.to_sparse_coo()), "x is dense or in CSR layout; got sparse_coo"),
    ],
)
def test_what_no_network_could_learn_from_is_named_in_the_first_batch(
    task: Task, change: Any, message: str, stage: str
) -> None:
    given = {"train": batch(task), "val": batch(task)}
    change(given[stage])
    with pytest.raises(ValueError, match=f"the first {stage} batch: {message}"):
        fit(task, given["train"], given["val"])


@pytest.mark.parametrize(
    ("name", "message"),
    [("x", r"x; nodes without features have a constant one: x = torch.ones"), ("edge_index", "edge_index$")],
)
def test_a_graph_without_nodes_features_or_edges_is_named(name: str, message: str) -> None:
    given = batch(NODE)
    del given[name]
    with pytest.raises(ValueError, match=f"the first train batch has no {message}"):
        fit(NODE, given, batch(NODE))


def test_a_batch_that_is_no_graph_is_named() -> None:
    with pytest.raises(ValueError, match=r"the first train batch has no edge_index; a batch is .* of PyG; got list"):
        check_batch([torch.rand(4, 3)], NODE, "train", torch.float32)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "mask", [torch.ones(32, 10, dtype=torch.bool), torch.ones(7, dtype=torch.bool), torch.ones(32)]
)
def test_a_mask_is_one_boolean_a_node(mask: torch.Tensor) -> None:
    given = batch(NODE)
    given.train_mask = mask
    with pytest.raises(ValueError, match="the first train batch: train_mask holds 32 booleans; got"):
        fit(NODE, given, batch(NODE))


@pytest.mark.parametrize("task", [NODE, GRAPH], ids=["node", "graph"])
def test_classes_may_be_floats_or_in_a_column(task: Task) -> None:
    plain = batch(task)
    scores = []
    for change in (torch.Tensor.long, torch.Tensor.double, lambda y: y.unsqueeze(1), lambda y: y.int().unsqueeze(1)):
        torch.manual_seed(0)
        given = plain.clone()
        given.y = change(given.y)
        scores.append(fit(task, given, given))
    assert scores[0] == scores[1] == scores[2] == scores[3]


def test_what_does_not_count_may_be_anything() -> None:
    given = batch(NODE)
    given.train_mask = torch.arange(32) > 0
    given.y[0] = -1
    fit(NODE, given, batch(NODE))
