"""The standard error of a validation score over the items that it is computed on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader as GraphLoader
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric

from automl_plugins import Task
from automl_plugins.training.item_error import item_error
from automl_plugins.training.items import RESAMPLES, ItemError, ItemStates, state_of
from automl_plugins.training.scores import LabelAUROC
from gnn_space.modules import EdgeClassification, GraphClassification, GraphRegression, NodeClassification
from seg_space import SemanticSegmentation
from seg_space.modules import DenseRegression, ImageClassification, ImageRegression

ITEMS = 60
CPU = {"accelerator": "cpu"}


class Loaded(pl.LightningDataModule):
    def __init__(self, loader: Any) -> None:
        super().__init__()
        self.loader = loader

    def val_dataloader(self) -> Any:
        return self.loader


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("metric", [MeanSquaredError(squared=False), LabelAUROC(2)], ids=["rmse", "auroc"])
def test_states_of_items_are_resampled_as_the_items_would_be(metric: Metric) -> None:
    outputs, targets = drawn(ITEMS, 2), (drawn(ITEMS, 2, seed=1) > 0).long()

    def of(rows: Sequence[int]) -> float:
        metric.reset()
        metric.update(outputs[list(rows)], targets[list(rows)])
        return float(metric.compute().mean())

    generator = np.random.default_rng(0)
    counts = [generator.multinomial(ITEMS, np.full(ITEMS, 1 / ITEMS)) for _ in range(RESAMPLES)]
    expected = np.std([of(np.repeat(np.arange(ITEMS), each)) for each in counts], ddof=1)
    whole, items = of(range(ITEMS)), ItemStates([metric])
    for row in range(ITEMS):
        of([row])
        items.add([state_of(metric)])
    found = items.error(lambda: float(metric.compute().mean()), whole)
    assert found == ItemError(pytest.approx(expected, rel=1e-4), ITEMS)
    assert items.error(lambda: float(metric.compute().mean()), whole) == found, "always the same resamples"
    assert items.error(lambda: float(metric.compute().mean()), whole + 0.1) is None, "a score of something else"


# Modules of ours.


class OfNodes(nn.Module):
    """Logits of nodes, edges or graphs."""

    def __init__(self, level: str, channels: int) -> None:
        super().__init__()
        self.level, self.map = level, nn.Linear(4, channels)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: None, batch: Tensor | None, size: int | None) -> Tensor:
        outputs = self.map(x)
        if self.level == "edge":
            return outputs[edge_index[0]] + outputs[edge_index[1]]
        if self.level == "graph":
            return torch.zeros(size, outputs.shape[1]).index_add(0, batch, outputs)
        return outputs


def graphs(level: str, target: str, count: int) -> Any:
    made = []
    for number in range(count):
        nodes = 5 if count > 1 else ITEMS
        edges = torch.stack([torch.arange(nodes), torch.arange(nodes).roll(1)])
        rows = {"node": nodes, "edge": nodes, "graph": 1}[level]
        y = drawn(rows, 1, seed=number)
        labels = y if target == "regression" else (y[:, 0] > 0).long()
        made.append(Data(x=drawn(nodes, 4, seed=number), edge_index=edges, y=labels))
    return Loaded(GraphLoader(made, batch_size=16))


def images(targets: Tensor) -> Any:
    return Loaded(DataLoader(TensorDataset(drawn(ITEMS, 3, 4, 4), targets), batch_size=16))


@pytest.mark.parametrize(
    ("module", "level", "target", "count", "items"),
    [
        (NodeClassification, "node", "classes", 1, ITEMS),
        (NodeClassification, "node", "classes", ITEMS, ITEMS),  # five nodes each: a graph is an item
        (EdgeClassification, "edge", "classes", ITEMS, ITEMS),
        (GraphClassification, "graph", "classes", ITEMS, ITEMS),
        (GraphClassification, "graph", "binary", ITEMS, ITEMS),
        (GraphRegression, "graph", "regression", ITEMS, ITEMS),
        (GraphRegression, "graph", "regression", 8, None),  # too few
    ],
)
def test_scores_of_graphs_have_one(module: Any, level: str, target: str, count: int, items: int | None) -> None:
    torch.manual_seed(0)
    channels = 2 if target == "classes" else 1
    made = module(OfNodes(level, channels), Task(level, target, in_channels=4, out_channels=channels))
    found = item_error(made, graphs(level, target, count), CPU, made.monitor)
    assert (None if found is None else found.items) == items
    if found is not None:
        assert 0 < found.error < 1
        score = pl.Trainer(logger=False, enable_progress_bar=False, enable_model_summary=False, **CPU).validate(
            made, datamodule=graphs(level, target, count), verbose=False
        )[0][made.monitor]
        rows = ITEMS if count == 1 or level == "graph" else 5 * ITEMS
        if target == "classes" and rows == ITEMS:
            assert found.error == pytest.approx(math.sqrt(score * (1 - score) / ITEMS), rel=0.15)
        assert made.item_error("val_loss", lambda: {"val_loss": math.nan}) is None


@pytest.mark.parametrize(
    ("module", "task", "targets"),
    [
        (SemanticSegmentation, Task("pixel", "classes", 3, 3), torch.arange(3).repeat(ITEMS * 16)[: ITEMS * 16]),
        (SemanticSegmentation, Task("pixel", "binary", 3, 1), (drawn(ITEMS * 16) > 0).long()),
        (DenseRegression, Task("pixel", "regression", 3, 2), drawn(ITEMS * 32)),
        (ImageClassification, Task("image", "multilabel", 3, 2), (drawn(ITEMS, 2) > 0).long()),
        (ImageRegression, Task("image", "regression", 3, 2), drawn(ITEMS, 2)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_scores_of_images_have_one(module: Any, task: Task, targets: Tensor) -> None:
    torch.manual_seed(0)
    pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten()] if task.level == "image" else []
    made = module(nn.Sequential(nn.Conv2d(3, task.out_channels, 1), *pooled), task)
    if task.level == "pixel":
        channels = [2] if task.target == "regression" else []
        targets = targets.reshape(ITEMS, *channels, 4, 4)
    found = item_error(made, images(targets), CPU, made.monitor)
    assert found is not None
    assert found.items == ITEMS
    assert 0 < found.error < 1
    assert item_error(made, images(targets), CPU, made.monitor) == found


# A user's own.


class Own(pl.LightningModule):
    def __init__(self, logs: str) -> None:
        super().__init__()
        self.map, self.logs, self.metric = nn.Linear(3, 1), logs, MeanAbsoluteError()

    def validation_step(self, batch: Any, index: int) -> None:
        outputs = self.map(batch[0])
        if self.logs == "number":
            self.log("val_mae", nn.functional.l1_loss(outputs, batch[1]))
        elif self.logs == "metric":
            self.metric(outputs, batch[1])
            self.log("val_mae", self.metric)
        elif self.logs == "root":
            self.log("val_mae", nn.functional.mse_loss(outputs, batch[1]).sqrt())


@pytest.mark.parametrize("logs", ["number", "metric", "root", "nothing"])
def test_means_and_metrics_that_a_users_module_logs_have_one(logs: str) -> None:
    torch.manual_seed(0)
    inputs, targets = drawn(ITEMS, 3), drawn(ITEMS, 1, seed=1)
    module = Own(logs)
    found = item_error(module, Loaded(DataLoader(TensorDataset(inputs, targets), batch_size=16)), CPU, "val_mae")
    if logs in ("root", "nothing"):
        assert found is None, "the mean of roots of batches is no mean over items"
        return
    with torch.no_grad():
        errors = (module.map(inputs) - targets).abs()
    assert found is not None
    assert found.items == ITEMS
    assert found.error == pytest.approx(float(errors.std()) / math.sqrt(ITEMS), rel=0.15)
    assert "log" not in vars(module)
