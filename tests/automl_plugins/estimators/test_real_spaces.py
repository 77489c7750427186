"""Estimators that train, on spaces of graphs and of images."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from automl_plugins import Architecture, Task
from automl_plugins.estimators import Context, make_estimator, rank
from automl_plugins.estimators.inherited import InheritedEstimator
from automl_plugins.estimators.training import TrainingEstimator
from automl_plugins.training.project import Project
from automl_plugins.training.recalibration import recalibrate
from gnn_space import AGNNSpace, EGNASSpace
from gnn_space.data import ClusterData, EdgeCommunityData
from seg_space import AutoDeepLabSpace

PIXELS = Task("pixel", "classes", in_channels=3, out_channels=3)
LEAN: dict[str, Any] = {"accelerator": "cpu", "max_epochs": 1}


class Images(pl.LightningDataModule):
    """The brightest channel of each pixel."""

    task = PIXELS

    def train_dataloader(self) -> DataLoader[Any]:
        images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(images, images.argmax(dim=1)), 4)

    val_dataloader = train_dataloader


def graphs() -> Project:
    return Project(AGNNSpace(layers=1), ClusterData(2, 1, 1, batch_size=1), trainer=LEAN, seed=3)


def edges() -> Project:
    space = EGNASSpace(cells=1, nodes=1, node_channels=4, edge_channels=2)
    return Project(space, EdgeCommunityData(8, 4, 4, batch_size=4), trainer=LEAN)


def images() -> Project:
    return Project(AutoDeepLabSpace(layers=2, blocks=1, filters=2, stem=(4, 4)), Images(), trainer=LEAN)


PROJECTS: list[Callable[[], Project]] = [graphs, edges, images]


def drawn(project: Project, count: int) -> list[Architecture]:
    generator = np.random.default_rng(0)
    return [project.space.sample(generator) for _ in range(count)]


@pytest.mark.parametrize("project", PROJECTS)
def test_a_short_training_is_an_estimate(project: Callable[[], Project]) -> None:
    context = Context.of(project())
    estimator = make_estimator("training", context.space)
    (architecture,) = drawn(context.training, 1)
    first, again = (estimator.estimate_all([architecture], context)[0] for _ in range(2))
    assert first.valid
    assert first.score == again.score
    assert first.figures["steps"] == 2
    own = context.training
    network = context.network(architecture)
    assert first.score == own.sign * own.train(network, 1).score
    # A module that was made elsewhere is judged alike, and left as it was.
    module = context.network(architecture)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert estimator.estimate_all([module], context)[0].score == first.score
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_several_seeds_have_a_deviation() -> None:
    context = Context.of(graphs())
    architecture = drawn(context.training, 1)[0]
    each = [TrainingEstimator().estimate(architecture, Context.of(graphs().replace(seed=seed))) for seed in (3, 4)]
    both = TrainingEstimator(seeds=2).estimate(architecture, context)
    scores = [estimate.score for estimate in each]
    assert math.isnan(each[0].std)
    assert (both.score, both.std) == (pytest.approx(np.mean(scores)), pytest.approx(np.std(scores, ddof=1)))


def test_a_training_that_diverges_is_no_estimate() -> None:
    context = Context.of(images())
    network = context.network(drawn(context.training, 1)[0])
    with torch.no_grad():
        next(network.parameters()).fill_(math.nan)
    estimate = TrainingEstimator().estimate(network, context)
    assert (estimate.valid, estimate.reason) == (False, "a training diverged")


def test_a_training_needs_a_project() -> None:
    project = graphs()
    estimates = TrainingEstimator().estimate_all(drawn(project, 1), Context(project.space, project.task))
    assert estimates[0].reason.startswith("ValueError: this estimator trains, so it needs a project: Context.of(")


@pytest.mark.parametrize("project", PROJECTS)
def test_an_architecture_inherits_what_the_supernet_has_learned(project: Callable[[], Project]) -> None:
    context = Context.of(project())
    own = context.training
    searchable = own.space.searchable(own.task)
    own.train(searchable, 1)
    architecture = drawn(own, 1)[0]
    with torch.no_grad():
        before = {name: value.clone() for name, value in searchable.state_dict().items()}
    plain = InheritedEstimator(searchable, batches=0).estimate(architecture, context)
    with searchable.hold(architecture):
        assert plain.score == pytest.approx(own.sign * own.score(searchable), abs=1e-6)
    estimates = InheritedEstimator(nn.Sequential(searchable), batches=2).estimate_all(drawn(own, 3), context)
    assert all(estimate.valid for estimate in estimates), estimates
    assert sorted(rank(estimates)) == [0, 1, 2]
    assert all(torch.equal(value, before[name]) for name, value in searchable.state_dict().items())


def test_weights_are_inherited_from_one_searchable() -> None:
    with pytest.raises(TypeError, match="inherited from a module with one searchable; 0 are in it"):
        InheritedEstimator(nn.Linear(1, 1))


class LitPixels(pl.LightningModule):
    """A module without `forward`, that calls its network by keyword."""

    monitor, direction = "val_loss", "minimize"

    def __init__(self, network: nn.Module, task: Task) -> None:
        super().__init__()
        self.net = network

    def training_step(self, batch: Any, index: int) -> Tensor:
        return functional.cross_entropy(self.net(images=batch[0]), batch[1])

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", self.training_step(batch, index))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def test_the_inputs_of_a_project_are_what_its_module_calls_a_network_with() -> None:
    context = Context.of(images().replace(module=LitPixels))
    first = next(iter(Images().val_dataloader()))[0]
    assert len(context.inputs) == 1
    assert torch.equal(context.inputs[0], first)
    assert context.network(drawn(context.training, 1)[0])(*context.inputs).shape == (4, 3, 32, 32)
    x, edge_index, edge_attr, batch, num_graphs = Context.of(edges()).inputs
    assert (len(batch), num_graphs, edge_attr, len(edge_index)) == (len(x), 4, None, 2)
    searchable = context.space.searchable(PIXELS)
    estimate = InheritedEstimator(searchable, batches=1).estimate(drawn(context.training, 1)[0], context)
    assert estimate.valid
    assert estimate.score < 0  # the loss, of which less is better


def test_of_a_loss_less_is_better_and_statistics_are_measured_anew() -> None:
    context = Context.of(images().replace(module=LitPixels))
    project = context.training
    architecture = drawn(project, 1)[0]
    trained = TrainingEstimator().estimate(architecture, context)
    assert trained.score == -project.train(context.network(architecture), 1).score < 0
    searchable = context.space.searchable(PIXELS)
    project.train(searchable, 1)
    as_it_is, anew = (InheritedEstimator(searchable, count).estimate(architecture, context).score for count in (0, 2))
    network = context.space.inherited(searchable.supernet, architecture, PIXELS)
    recalibrate(network, project.batches(2))
    assert anew == pytest.approx(-project.score(network)) != pytest.approx(as_it_is)
