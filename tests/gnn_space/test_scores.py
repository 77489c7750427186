"""Scores that are undefined are nan, and so is every score of a network that gives what is not a number."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_batches import NO_EDGES, Echo, Tiny, graph, rows, two_processes, validated
from torch.utils.data import DataLoader
from torch_geometric.data import Batch, Data

from automl_plugins import Task
from automl_plugins.training.fit import LEAN
from automl_plugins.training.lightning import pl
from automl_plugins.training.scores import UNKNOWN, roc_area
from automl_plugins.training.task_module import TaskModule
from gnn_space import AGNNSpace, EdgeClassification, GraphClassification, GraphRegression, NodeClassification
from gnn_space.egnas import EGNASSpace

NAN = math.nan
BINARY = Task("graph", "binary", in_channels=1, out_channels=1)
LABELS = Task("graph", "multilabel", in_channels=3, out_channels=3)
CLASSES = Task("node", "classes", in_channels=3, out_channels=3)
VALUES = Task("graph", "regression", in_channels=2, out_channels=2)


@given(st.lists(st.tuples(st.integers(-3, 3), st.sampled_from([0, 1, UNKNOWN])), max_size=30))
def test_the_roc_area_is_the_share_of_pairs_in_order(points: list[tuple[int, int]]) -> None:
    yes, no = ([output for output, target in points if target == wanted] for wanted in (1, 0))
    pairs = [(high > low) + (high == low) / 2 for high in yes for low in no]
    outputs, targets = (torch.tensor([point[place] for point in points]) for place in (0, 1))
    found = roc_area(outputs.float(), targets.long()).item()
    assert found == pytest.approx(sum(pairs) / len(pairs) if pairs else NAN, nan_ok=True)


def test_logits_whose_probabilities_round_to_one_are_still_in_order() -> None:
    assert roc_area(torch.tensor([30.0, 40.0, 50.0]), torch.tensor([0, 1, 1])) == 1.0


@pytest.mark.parametrize(
    ("module", "batch", "undefined"),
    [
        (GraphClassification(Echo(), BINARY), rows([[1.0], [2.0]], [0.0, 0.0]), {"val_auroc"}),
        (GraphClassification(Echo(), LABELS), rows([[1.0] * 3] * 2, [[0.0, NAN, 0.0]] * 2), {"val_auroc", "val_f1"}),
        (
            GraphClassification(Echo(), LABELS),
            rows([[1.0] * 3] * 2, [[NAN] * 3] * 2),
            {"val_auroc", "val_f1", "val_loss"},
        ),
        (
            NodeClassification(Echo(), CLASSES),
            rows([[1.0, 0.0, 0.0]], [0], val_mask=torch.tensor([False])),
            {"val_accuracy", "val_loss"},
        ),
        (GraphRegression(Echo(), VALUES), rows([[1.0, 0.0]], [[NAN, NAN]]), {"val_nrmse", "val_nmae", "val_loss"}),
    ],
    ids=["one class", "no label is yes", "no label is known", "no node", "no known value"],
)
def test_a_score_of_which_nothing_is_left_is_nan_and_said_to_be_undefined(
    module: TaskModule, batch: Data, undefined: set[str]
) -> None:
    with pytest.warns(UserWarning, match=r"val_\w+(, val_\w+)* (is|are) undefined \(nan\)"):
        found = validated(module, [batch])
    assert {name for name, value in found.items() if math.isnan(value)} == undefined


def test_the_area_of_several_labels_is_the_mean_of_those_that_are_defined() -> None:
    x = [[1.0, 3.0, 0.0], [2.0, 2.0, 0.0], [3.0, 1.0, 0.0]]
    data = Tiny([rows(x, [[0.0, 0.0, 1.0], [NAN, 1.0, 1.0], [1.0, 0.0, NAN]])], LABELS)
    data.target_columns = ("liver", "heart", "skin")
    with pytest.warns(UserWarning, match="val_auroc is the mean over 2 of 3 labels; .* for skin$"):
        (found,) = pl.Trainer(**LEAN).validate(GraphClassification(Echo(), LABELS), data, verbose=False)
    # Liver: 3 above 1. Heart: 2 above 1, below 3.
    assert found["val_auroc"] == pytest.approx((1 + 1 / 2) / 2)


def test_a_majority_answer_has_no_area_above_chance() -> None:
    batch = rows([[5.0] * 3] * 4, [[1.0, 1.0, 0.0]] * 3 + [[0.0, 0.0, 1.0]])
    found = validated(GraphClassification(Echo(), LABELS), [batch])
    assert found["val_auroc"] == 0.5
    assert found["val_f1"] > 0.7


def test_what_is_undefined_is_said_once_however_many_trainings_there_are() -> None:
    data = Tiny([rows([[1.0], [2.0]], [0.0, 0.0])], BINARY)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            trainer = pl.Trainer(**{**LEAN, "num_sanity_val_steps": 1}, max_epochs=2, accelerator="cpu")
            trainer.fit(GraphClassification(Echo(), BINARY), data)
    assert len([one for one in caught if "undefined" in str(one.message)]) == 1


SPOILT = [
    (NodeClassification, Task("node", "classes", 3, 2), {}),
    (NodeClassification, Task("node", "classes", 3, 2), {"class_weighted": True}),
    (NodeClassification, Task("node", "binary", 3, 1), {}),
    (EdgeClassification, Task("edge", "classes", 3, 2), {}),
    (GraphClassification, Task("graph", "classes", 3, 2), {}),
    (GraphClassification, Task("graph", "binary", 3, 1), {}),
    (GraphClassification, Task("graph", "multilabel", 3, 2), {}),
    (GraphRegression, Task("graph", "regression", 3, 1), {}),
    (GraphRegression, Task("graph", "regression", 3, 1), {"loss": "absolute"}),
]


@pytest.mark.parametrize("space", [AGNNSpace(layers=1), EGNASSpace(nodes=2)], ids=["agnn", "egnas"])
@pytest.mark.parametrize(("module_class", "task", "arguments"), SPOILT)
def test_one_batch_of_which_a_network_makes_nan_spoils_every_score_of_its_epoch_and_none_of_the_next(
    space: Any, module_class: Any, task: Task, arguments: dict[str, Any]
) -> None:
    module = module_class(space.network(space.sample(np.random.default_rng(0)), task), task, **arguments)
    good = [Batch.from_data_list([graph(task, seed) for seed in range(start, start + 8)]) for start in (0, 8)]
    missing = good[1].clone()
    missing.x[0, 0] = NAN
    trainer = pl.Trainer(**LEAN, accelerator="cpu")
    (spoilt,) = trainer.validate(module, Tiny([good[0], missing], task), verbose=False)
    assert all(math.isnan(value) for value in spoilt.values()), spoilt
    (sound,) = trainer.validate(module, Tiny(good, task), verbose=False)
    assert all(math.isfinite(value) for value in sound.values()), sound
    assert spoilt.keys() == sound.keys()


@pytest.mark.parametrize("value", [NAN, math.inf, -math.inf])
def test_an_output_that_is_not_finite_has_diverged(value: float) -> None:
    found = validated(NodeClassification(Echo(), CLASSES), [rows([[1.0, value, 0.0]], [0])])
    assert all(math.isnan(score) for score in found.values())


def test_an_output_that_no_target_asks_for_may_not_be_nan_either() -> None:
    batch = rows([[1.0, 0.0, 0.0], [NAN] * 3], [0, 0], val_mask=torch.tensor([True, False]))
    found = validated(NodeClassification(Echo(), CLASSES), [batch])
    assert all(math.isnan(score) for score in found.values())


# Two processes: what occurs is decided over both.


def dealt_out(targets: list[float]) -> DataLoader[Data]:
    """Graphs of one node, in batches of one; Lightning deals them out alternately."""
    graphs = [
        Data(x=torch.tensor([[float(place)]]), edge_index=NO_EDGES, y=torch.tensor([target]))
        for place, target in enumerate(targets)
    ]
    return DataLoader(graphs, batch_size=1, collate_fn=Batch.from_data_list)


@pytest.mark.filterwarnings("ignore:Using `DistributedSampler` with the dataloaders")
def test_classes_that_two_processes_see_one_of_each_are_both_there() -> None:
    data = Tiny(dealt_out([0.0, 1.0] * 3), BINARY)
    trainer = pl.Trainer(**{**LEAN, **two_processes()})
    (found,) = trainer.validate(GraphClassification(Echo(), BINARY), data, verbose=False)
    # The outputs 1, 3, 5 are yes, 0, 2, 4 no: six of nine pairs are in order.
    assert found["val_auroc"] == pytest.approx(6 / 9)


@pytest.mark.filterwarnings("ignore:Using `DistributedSampler` with the dataloaders")
def test_a_network_that_diverged_in_one_process_has_diverged() -> None:
    loader = dealt_out([0.0, 1.0] * 2)
    loader.dataset[1].x[:] = NAN
    trainer = pl.Trainer(**{**LEAN, **two_processes()})
    (found,) = trainer.validate(GraphClassification(Echo(), BINARY), Tiny(loader, BINARY), verbose=False)
    assert all(math.isnan(value) for value in found.values())
