"""The LightningModules: losses and metrics worked out by hand, and whole trainings on a few graphs.

Most tests use a network that hands its input on, so that the outputs are what a test writes down.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from pytorch_lightning.loggers import CSVLogger
from small_batches import Echo, Tiny, graph, rows, two_processes, validated
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch_geometric.data import Batch, Data

from automl_plugins import Task
from automl_plugins.training import fit as training
from automl_plugins.training.fit import LEAN
from automl_plugins.training.lightning import pl
from gnn_space import AGNNSpace, EdgeClassification, GraphClassification, GraphRegression, NodeClassification

NODE = Task("node", "classes", in_channels=3, out_channels=3)
TWO_CLASSES = Task("node", "classes", in_channels=2, out_channels=2)
NODE_BINARY = Task("node", "binary", in_channels=1, out_channels=1)
EDGE = Task("edge", "classes", in_channels=2, out_channels=2)
GRAPH = Task("graph", "classes", in_channels=2, out_channels=2)
GRAPH_BINARY = Task("graph", "binary", in_channels=1, out_channels=1)
LABELS = Task("graph", "multilabel", in_channels=2, out_channels=2)
VALUES = Task("graph", "regression", in_channels=2, out_channels=2)

NAN = math.nan


def loss_of(module: pl.LightningModule, x: list[list[float]], y: Any) -> Tensor:
    batch = rows(x, y)
    return module._loss(*module._select(batch, module._outputs(batch), "val"))


# Classes.


def test_the_loss_is_cross_entropy_and_the_accuracy_a_share() -> None:
    module = NodeClassification(Echo(), NODE)
    logits = [[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [3.0, 0.0, 1.0]]
    found = validated(module, [rows(logits, [0, 1, 2, 2])])
    by_hand = [
        math.log(math.exp(2) + 2) - 2,
        math.log(math.e + 2) - 1,
        math.log(3),
        math.log(math.exp(3) + 1 + math.e) - 1,
    ]
    assert found["val_loss"] == pytest.approx(sum(by_hand) / 4, rel=1e-6)
    assert found["val_accuracy"] == 0.5
    assert (module.monitor, module.direction) == ("val_accuracy", "maximize")


def test_unequal_batches_count_by_their_targets() -> None:
    module = NodeClassification(Echo(), TWO_CLASSES)
    right, wrong = [5.0, 0.0], [0.0, 5.0]
    found = validated(module, [rows([right], [0]), rows([wrong, wrong, right], [0, 0, 0])])
    good, bad = math.log(1 + math.exp(-5)), math.log(1 + math.exp(5))
    assert found["val_accuracy"] == 0.5
    assert found["val_loss"] == pytest.approx((2 * good + 2 * bad) / 4, rel=1e-5)


@pytest.mark.parametrize("module_class", [NodeClassification, EdgeClassification])
def test_a_stage_counts_what_is_in_its_mask(module_class: type[NodeClassification | EdgeClassification]) -> None:
    task = TWO_CLASSES if module_class is NodeClassification else EDGE
    module = module_class(Echo(), task)
    right, wrong = [1.0, 0.0], [0.0, 1.0]
    masks = {
        "train_mask": torch.tensor([True, False, False, False]),
        "val_mask": torch.tensor([False, True, True, False]),
        "test_mask": torch.tensor([False, False, False, True]),
    }
    batch = rows([right, right, wrong, wrong], [0, 0, 0, 0], **masks)
    good, bad = math.log(1 + math.exp(-1)), math.log(1 + math.exp(1))
    trainer = pl.Trainer(**LEAN)
    data = Tiny([batch], task)
    assert trainer.validate(module, data, verbose=False) == [
        {"val_accuracy": 0.5, "val_loss": pytest.approx((good + bad) / 2)}
    ]
    assert trainer.test(module, data, verbose=False) == [{"test_accuracy": 0.0, "test_loss": pytest.approx(bad)}]
    outputs = module._outputs(batch)
    assert module._loss(*module._select(batch, outputs, "train")).item() == pytest.approx(good)


def test_a_batch_without_masks_counts_as_a_whole() -> None:
    module = NodeClassification(Echo(), TWO_CLASSES)
    assert validated(module, [rows([[1.0, 0.0], [1.0, 0.0]], [0, 1])])["val_accuracy"] == 0.5


def test_a_batch_without_a_node_that_counts_changes_nothing() -> None:
    nobody = rows([[1.0, 0.0]], [0], train_mask=torch.tensor([False]), val_mask=torch.tensor([False]))
    for class_weighted in (False, True):
        module = NodeClassification(Echo(), TWO_CLASSES, class_weighted=class_weighted)
        loss = module._loss(*module._select(nobody, module._outputs(nobody), "train"))
        loss.backward()
        assert loss.item() == 0.0
        assert module.network.weight.grad.item() == 0.0
        somebody = rows([[1.0, 0.0], [1.0, 0.0]], [0, 1])
        assert validated(module, [nobody, somebody]) == validated(module, [somebody])


# Class-weighted, as for CLUSTER and PATTERN.


def test_a_class_weighs_as_much_as_the_batch_has_of_others() -> None:
    logits, targets = [[0.5, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.5, 0.0], [2.0, 0.0, 0.0]], [0, 0, 0, 1]
    losses = [
        math.log(sum(math.exp(logit) for logit in row)) - row[target]
        for row, target in zip(logits, targets, strict=True)
    ]
    # Four nodes: class 0 has three and weighs 1/4, class 1 has one and weighs 3/4, class 2 is absent.
    expected = (sum(losses[:3]) / 4 + losses[3] * 3 / 4) / (3 / 4 + 3 / 4)
    found = loss_of(NodeClassification(Echo(), NODE, class_weighted=True), logits, targets)
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_a_batch_of_one_class_has_its_plain_mean_as_class_weighted_loss() -> None:
    # Its weight, the share of other classes, is zero; torch's weighted mean would be 0 / 0.
    logits, targets = [[0.5, 0.0, 0.0], [0.0, 1.0, 0.0]], [1, 1]
    weighted, plain = (
        loss_of(NodeClassification(Echo(), NODE, class_weighted=weighted), logits, targets)
        for weighted in (True, False)
    )
    assert weighted.item() == pytest.approx(plain.item(), rel=1e-6)


def test_class_weighted_accuracy_is_the_mean_of_recalls_over_the_epoch() -> None:
    zero, one, two = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]
    batches = [
        rows([zero, zero, one, zero], [0, 0, 0, 1]),
        rows([zero, one, two], [0, 1, 2]),
        rows([one], [2]),
    ]
    # Class 0: 3 of 4 found; class 1: 1 of 2; class 2: 1 of 2. By batches, the mean would be another one.
    found = validated(NodeClassification(Echo(), NODE, class_weighted=True), batches)
    assert found["val_accuracy"] == pytest.approx((3 / 4 + 1 / 2 + 1 / 2) / 3, rel=1e-6)


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        ([0, 0, 1], (1.0 + 1.0) / 2),
        ([0, 2, 1], (0.5 + 1.0) / 2),  # class 2 is predicted, but has no recall
    ],
)
def test_a_class_that_is_absent_is_left_out_of_the_class_weighted_accuracy_and_named(
    predicted: list[int], expected: float
) -> None:
    logits = torch.eye(3)[predicted].tolist()
    with pytest.warns(UserWarning, match="val_accuracy is the mean over 2 of 3 classes; .* for 2$"):
        found = validated(NodeClassification(Echo(), NODE, class_weighted=True), [rows(logits, [0, 0, 1])])
    assert found["val_accuracy"] == pytest.approx(expected)


def test_class_weighted_losses_work_in_float64() -> None:
    module = NodeClassification(Echo(), NODE, class_weighted=True).double()
    outputs = torch.eye(3, dtype=torch.float64)
    assert module._loss(outputs, torch.tensor([0, 1, 1])).dtype == torch.float64


# Yes or no, and several of them.


def bce(logit: float, target: float) -> float:
    probability = 1 / (1 + math.exp(-logit))
    return -math.log(probability if target else 1 - probability)


@pytest.mark.parametrize("module_class", [NodeClassification, GraphClassification])
@pytest.mark.parametrize("column", [False, True], ids=["numbers", "column"])
def test_a_binary_target_that_was_not_measured_does_not_count(
    module_class: type[NodeClassification | GraphClassification], column: bool
) -> None:
    task = NODE_BINARY if module_class is NodeClassification else GRAPH_BINARY
    module = module_class(Echo(), task)
    targets: list[Any] = [1.0, 0.0, NAN, 1.0, 0.0]
    if column:
        targets = [[target] for target in targets]
    found = validated(module, [rows([[2.0], [1.0], [9.0], [0.5], [-1.0]], targets)])
    losses = [bce(2.0, 1), bce(1.0, 0), bce(0.5, 1), bce(-1.0, 0)]
    assert found["val_loss"] == pytest.approx(sum(losses) / 4, rel=1e-6)
    # Positives 2.0 and 0.5, negatives 1.0 and -1.0: three of the four pairs are in order.
    assert found["val_auroc"] == pytest.approx(3 / 4)
    assert found["val_accuracy"] == pytest.approx(3 / 4)
    assert (module.monitor, module.direction) == ("val_auroc", "maximize")


def test_integer_targets_are_as_good_as_floats() -> None:
    module = NodeClassification(Echo(), NODE_BINARY)
    assert loss_of(module, [[2.0], [1.0]], [1, 0]).item() == pytest.approx((bce(2.0, 1) + bce(1.0, 0)) / 2)


def test_labels_that_were_not_measured_do_not_count() -> None:
    module = GraphClassification(Echo(), LABELS)
    batches = [
        rows([[2.0, -1.0], [1.0, 3.0]], [[1.0, NAN], [0.0, 1.0]]),
        rows([[-2.0, 4.0]], [[1.0, NAN]]),
    ]
    with pytest.warns(UserWarning, match="val_auroc is the mean over 1 of 2 labels; .* for 1$"):
        found = validated(module, batches)
    # Label 0: yes at 2 and -2, no at 1; label 1 is known for one row only.
    assert found["val_auroc"] == pytest.approx(1 / 2)
    # Every known label weighs the same, whatever its batch: found 2, falsely found 1, missed 1.
    losses = [bce(2.0, 1), bce(1.0, 0), bce(3.0, 1), bce(-2.0, 1)]
    assert found["val_loss"] == pytest.approx(sum(losses) / 4, rel=1e-6)
    assert found["val_f1"] == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert (module.monitor, module.direction) == ("val_auroc", "maximize")


@pytest.mark.parametrize("task", [GRAPH_BINARY, LABELS, VALUES], ids=lambda task: task.target)
def test_a_batch_without_a_known_target_has_no_loss_and_no_gradient(task: Task) -> None:
    module = GraphRegression(Echo(), task) if task.target == "regression" else GraphClassification(Echo(), task)
    loss = loss_of(module, [[1.0] * task.out_channels], [[NAN] * task.out_channels])
    loss.backward()
    assert loss.item() == 0.0
    assert module.network.weight.grad.item() == 0.0


# Real values.


def test_regression_learns_standardised_targets_and_reports_in_their_units() -> None:
    statistics = (torch.tensor([10.0, -1.0]), torch.tensor([2.0, 0.5]))
    batch = rows([[1.0, 0.0], [0.0, 2.0]], [[14.0, -1.0], [10.0, NAN]])
    data = Tiny([batch], VALUES, statistics)
    module = GraphRegression(Echo(), VALUES, learning_rate=1e-30)  # a training that moves nothing
    trainer = pl.Trainer(**LEAN, max_epochs=1)
    trainer.fit(module, data)
    found = {name: value.item() for name, value in trainer.callback_metrics.items()}
    # Standardised, the targets are 2, 0, 0 and unknown, the outputs 1, 0 and 0.
    assert found["val_loss"] == pytest.approx((1 + 0 + 0) / 3)
    # In units: predictions 12 and 10 for 14 and 10, -1 for -1. Each target's error counts by its own deviation.
    assert found["val_nmae"] == pytest.approx((1 / 2 + 0) / 2)
    assert found["val_nrmse"] == pytest.approx(math.sqrt((1 / 2 + 0) / 2))
    assert (module.monitor, module.direction) == ("val_nrmse", "minimize")
    assert module(batch).tolist() == [[12.0, -1.0], [10.0, 0.0]]
    assert torch.equal(module.predict_step(batch, 0), module(batch))


def test_regression_without_statistics_is_in_units_throughout() -> None:
    found = validated(GraphRegression(Echo(), VALUES), [rows([[1.0, 0.0]], [[3.0, 0.0]])])
    assert found == {
        "val_loss": pytest.approx(2.0),
        "val_nrmse": pytest.approx(math.sqrt(2)),
        "val_nmae": pytest.approx(1.0),
    }


def test_one_target_is_judged_in_its_own_units() -> None:
    module = GraphRegression(Echo(), replace(VALUES, in_channels=1, out_channels=1))
    module.mean.fill_(10.0)
    module.scale.fill_(2.0)
    found = validated(module, [rows([[1.0], [0.0]], [[14.0], [10.0]])])
    assert module.monitor == "val_rmse"
    assert found == pytest.approx({"val_loss": 1 / 2, "val_rmse": math.sqrt(4 / 2), "val_mae": 2 / 2})


@pytest.mark.parametrize(("loss", "monitor"), [("squared", "val_nrmse"), ("absolute", "val_nmae")])
def test_a_target_of_small_units_counts_as_much_as_one_of_large_units(
    loss: Literal["squared", "absolute"], monitor: str
) -> None:
    truth = [[500.0, 1.0], [620.0, 5.0], [560.0, 3.0]]
    scores = []
    for wrong in ([1.0, 0.0], [0.0, 1.0]):  # by one standard deviation, once of the first, once of the second
        data = Tiny([rows(wrong_by(wrong), truth)], VALUES, (torch.tensor([560.0, 3.0]), torch.tensor([60.0, 2.0])))
        module = GraphRegression(Echo(), VALUES, learning_rate=1e-30, loss=loss)
        trainer = pl.Trainer(**LEAN, max_epochs=1)
        trainer.fit(module, data)
        scores.append(trainer.callback_metrics[module.monitor].item())
        assert module.monitor == monitor
    assert scores[0] == pytest.approx(scores[1])


def wrong_by(deviations: list[float]) -> list[list[float]]:
    """Standardised outputs for the targets above, each target beside the truth by so much."""
    return [[row + by for by in deviations] for row in (-1.0, 1.0, 0.0)]


def test_each_targets_own_error_is_in_the_test_under_its_name() -> None:
    data = Tiny([rows([[1.0, 2.0], [3.0, 4.0]], [[4.0, 2.0], [3.0, NAN]])], VALUES)
    module = GraphRegression(Echo(), VALUES)
    (found,) = pl.Trainer(**LEAN).test(module, data, verbose=False)
    assert found["test_rmse/0"] == pytest.approx(math.sqrt(9 / 2))
    assert found["test_rmse/1"] == 0.0
    data.target_columns = ("boiling", "logP")
    (found,) = pl.Trainer(**LEAN).test(GraphRegression(Echo(), VALUES, loss="absolute"), data, verbose=False)
    assert {name: value for name, value in found.items() if "/" in name} == {
        "test_mae/boiling": pytest.approx(3 / 2),
        "test_mae/logP": 0.0,
    }


def test_a_target_without_a_known_value_is_left_out_of_the_mean_and_named() -> None:
    data = Tiny([rows([[1.0, 2.0]], [[4.0, NAN]])], VALUES)
    with pytest.warns(UserWarning, match="val_nrmse is the mean over 1 of 2 targets; .* for 1$"):
        (found,) = pl.Trainer(**LEAN).validate(GraphRegression(Echo(), VALUES), data, verbose=False)
    assert found["val_nrmse"] == pytest.approx(3.0)


def test_several_targets_whose_deviations_nobody_says_are_warned_of() -> None:
    data = Tiny([rows([[1.0, 0.0]], [[3.0, 0.0]])], VALUES)
    with pytest.warns(UserWarning, match="errors of 2 targets together, each in its own units"):
        pl.Trainer(**LEAN, max_epochs=1).fit(GraphRegression(Echo(), VALUES), data)


def test_targets_may_come_in_one_row() -> None:
    module = GraphRegression(Echo(), VALUES)
    x = [[1.0, 0.0], [0.0, 2.0]]
    assert torch.equal(loss_of(module, x, [3.0, 0.0, 1.0, 1.0]), loss_of(module, x, [[3.0, 0.0], [1.0, 1.0]]))


def test_a_constant_target_is_not_divided_by_zero() -> None:
    data = Tiny([rows([[1.0, 0.0]], [[5.0, 1.0]])], VALUES, (torch.tensor([5.0, 0.0]), torch.tensor([0.0, 1.0])))
    module = GraphRegression(Echo(), VALUES)
    pl.Trainer(**LEAN, max_epochs=1).fit(module, data)
    assert module.scale.tolist() == [1.0, 1.0]


def test_a_regression_survives_its_state_dict() -> None:
    batch = rows([[1.0, 0.0], [0.0, 2.0]], [[14.0, -1.0], [10.0, 0.0]])
    data = Tiny([batch], VALUES, (torch.tensor([10.0, -1.0]), torch.tensor([2.0, 0.5])))
    module = GraphRegression(Echo(), VALUES, learning_rate=0.1)
    pl.Trainer(**LEAN, max_epochs=2).fit(module, data)
    again = GraphRegression(Echo(), VALUES)
    again.load_state_dict(module.state_dict())
    assert torch.equal(again(batch), module(batch))
    trainer = pl.Trainer(**LEAN)
    assert trainer.test(again, data, verbose=False) == trainer.test(module, data, verbose=False)


# What is refused.


@pytest.mark.parametrize(
    ("module_class", "task", "message"),
    [
        (NodeClassification, GRAPH, "NodeClassification trains node-level tasks; the task is of level 'graph'"),
        (EdgeClassification, NODE, "EdgeClassification trains edge-level tasks; the task is of level 'node'"),
        (GraphClassification, NODE, "GraphClassification trains graph-level tasks; the task is of level 'node'"),
        (GraphRegression, NODE, "GraphRegression trains graph-level tasks; the task is of level 'node'"),
        (GraphClassification, VALUES, "GraphClassification needs a target of classes; the task's is 'regression'"),
        (GraphRegression, GRAPH, "GraphRegression needs a target of real values; the task's is 'classes'"),
    ],
)
def test_a_task_of_another_level_or_target_is_refused(
    module_class: type[pl.LightningModule], task: Task, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        module_class(Echo(), task)


@pytest.mark.parametrize(
    ("module_class", "task"),
    [(NodeClassification, NODE), (EdgeClassification, EDGE), (GraphClassification, GRAPH), (GraphRegression, VALUES)],
)
@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", -1.0),
        ("learning_rate", NAN),
        ("weight_decay", -1.0),
        ("learning_rate", "abc"),
    ],
)
def test_a_number_out_of_range_is_named(
    module_class: type[pl.LightningModule], task: Task, argument: str, value: Any
) -> None:
    with pytest.raises(ValueError, match=f"{argument} is .* got {value!r}"):
        module_class(Echo(), task, **{argument: value})


def test_class_weights_are_for_classes() -> None:
    with pytest.raises(
        ValueError, match="class_weighted is for targets of several classes; the task's target is 'binary'"
    ):
        NodeClassification(Echo(), NODE_BINARY, class_weighted=True)


# Whole trainings, through Lightning.


def batches(task: Task) -> list[Data]:
    return [Batch.from_data_list([graph(task, seed) for seed in range(start, start + 8)]) for start in (0, 8)]


TRAINED = [
    (NodeClassification, Task("node", "classes", 3, 2, edge_channels=2)),
    (NodeClassification, Task("node", "binary", 3, 1)),
    (EdgeClassification, Task("edge", "classes", 3, 2)),
    (EdgeClassification, Task("edge", "binary", 3, 1, edge_channels=2)),
    (GraphClassification, Task("graph", "classes", 3, 2)),
    (GraphClassification, Task("graph", "binary", 3, 1, edge_channels=2)),
    (GraphClassification, Task("graph", "multilabel", 3, 2)),
    (GraphRegression, Task("graph", "regression", 3, 1, edge_channels=2)),
]
SPACE = AGNNSpace(layers=2, dropout=0.0)


def network(task: Task) -> nn.Module:
    options = {
        "hidden_channels": 8,
        "attention": "gat",
        "heads": 2,
        "aggregation": "mean",
        "combine": "identity",
        "activation": "elu",
    }
    torch.manual_seed(0)
    return SPACE.network(SPACE.architecture({choice.name: options[choice.kind] for choice in SPACE.choices}), task)


def datamodule(task: Task) -> Tiny:
    statistics = (torch.tensor([110.0]), torch.tensor([5.0])) if task.target == "regression" else None
    return Tiny(batches(task), task, statistics)


@pytest.mark.parametrize(("module_class", "task"), TRAINED, ids=[f"{task.level}-{task.target}" for _, task in TRAINED])
def test_every_level_and_target_learns(module_class: type[pl.LightningModule], task: Task) -> None:
    # The mean rate of a cosine is half of this.
    module = module_class(network(task), task, learning_rate=4e-2)
    data = datamodule(task)
    before = validated_with(module, data)
    result = training.train(module, data, module.monitor, module.direction, {"max_epochs": 60})
    after = validated_with(module, data)
    assert result.steps == 120
    assert after["val_loss"] < 0.8 * before["val_loss"]
    if module.direction == "maximize":
        assert result.score >= max(0.9, after[module.monitor])
    else:
        # The targets lie between 100 and 120, and their standard deviation is about 5.
        assert result.score <= min(4.0, after[module.monitor])
    # The same graphs, under other names.
    assert training.test(module, data, {}) == {name.replace("val_", "test_"): value for name, value in after.items()}


def validated_with(module: pl.LightningModule, data: Tiny) -> dict[str, float]:
    if isinstance(module, GraphRegression) and data.target_statistics is not None:
        module.mean.copy_(data.target_statistics[0])
        module.scale.copy_(data.target_statistics[1])
    (metrics,) = pl.Trainer(**LEAN).validate(module, data, verbose=False)
    return dict(metrics)


@pytest.mark.filterwarnings("ignore:The number of training batches")
def test_the_training_loss_is_logged_when_a_logger_listens(tmp_path: Path) -> None:
    batch = rows([[1.0, 0.0], [1.0, 0.0]], [0, 1])
    expected = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(1))) / 2
    for logger in (CSVLogger(tmp_path), False):
        trainer = pl.Trainer(**{**LEAN, "logger": logger}, max_epochs=1)
        trainer.fit(NodeClassification(Echo(), TWO_CLASSES), Tiny([batch], TWO_CLASSES))
        if logger:
            assert trainer.callback_metrics["train_loss"].item() == pytest.approx(expected)
        else:
            assert "train_loss" not in trainer.callback_metrics
    (table,) = tmp_path.rglob("metrics.csv")
    assert {"train_loss", "val_accuracy", "val_loss"} <= set(table.read_text().splitlines()[0].split(","))


def test_metrics_begin_anew_in_every_epoch() -> None:
    module = NodeClassification(Echo(), TWO_CLASSES)
    right, wrong = rows([[1.0, 0.0]], [0]), rows([[0.0, 1.0]], [0])
    assert validated(module, [wrong])["val_accuracy"] == 0.0
    assert validated(module, [right])["val_accuracy"] == 1.0


def test_a_module_that_was_validated_can_be_trained() -> None:
    # `validate` runs in inference mode, `fit` does not: metrics made in the one cannot be updated in the other.
    module = NodeClassification(Echo(), TWO_CLASSES)
    batch = rows([[1.0, 0.0]], [0])
    before = validated(module, [batch])
    pl.Trainer(**LEAN, max_epochs=1).fit(module, Tiny([batch], TWO_CLASSES))
    assert validated(module, [batch])["val_loss"] < before["val_loss"]


# Two processes.


def one_by_one(task: Task) -> DataLoader[Data]:
    """Graphs in batches of one, which Lightning deals out to the processes."""
    graphs = [graph(task, seed) for seed in range(10)]
    return DataLoader(graphs, batch_size=1, collate_fn=Batch.from_data_list)


@pytest.mark.filterwarnings("ignore:Using `DistributedSampler` with the dataloaders")
@pytest.mark.parametrize(
    ("module_class", "task", "arguments"),
    [
        (NodeClassification, Task("node", "classes", 3, 2), {"class_weighted": True}),
        (GraphClassification, Task("graph", "binary", 3, 1), {}),
        (GraphRegression, Task("graph", "regression", 3, 1), {}),
    ],
    ids=["node-classes", "graph-binary", "graph-regression"],
)
def test_two_processes_validate_like_one(
    module_class: type[pl.LightningModule], task: Task, arguments: dict[str, Any]
) -> None:
    module = module_class(network(task), task, **arguments)
    data = Tiny(one_by_one(task), task)
    (alone,) = pl.Trainer(**LEAN).validate(module, data, verbose=False)
    (together,) = pl.Trainer(**{**LEAN, **two_processes()}).validate(module, data, verbose=False)
    assert len(alone) >= 2
    assert together == pytest.approx(alone, rel=1e-5)


def test_two_processes_train_like_one_on_a_graph_that_both_see() -> None:
    module_class, task = TRAINED[0]
    results, weights = [], []
    for options in ({}, two_processes()):
        module = module_class(network(task), task, learning_rate=1e-2)
        options = {"max_epochs": 3, **options}
        data = Tiny(batches(task)[:1], task)
        results.append(training.train(module, data, "val_loss", "minimize", options, keep_weights=True))
        weights.append(module.state_dict())
    alone, together = results
    assert together.score == pytest.approx(alone.score, rel=1e-5)
    assert (together.best_epoch, together.steps) == (alone.best_epoch, alone.steps) == (2, 3)
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=1e-4, atol=1e-5)
