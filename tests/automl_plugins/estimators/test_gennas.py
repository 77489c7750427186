"""GenNAS: a regression of signals, and the search of its task."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from automl_plugins import Task
from automl_plugins.estimators import Context, Estimate, Estimator
from automl_plugins.estimators.gennas import GennasEstimator
from automl_plugins.testing import EstimatorContract
from gnn_space import AGNNSpace, EGNASSpace
from seg_space import AutoDeepLabSpace

PIXELS = Task("pixel", "classes", in_channels=3, out_channels=3)
IMAGES = (torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)),)


class TestGennasOnAgnn(EstimatorContract):
    def estimator(self) -> Estimator:
        return GennasEstimator(steps=3)

    def context(self) -> Context:
        return Context(AGNNSpace(layers=2, hidden_channels=(4, 8), heads=(1, 2)), Task("node", "classes", 6, 3))


class TestGennasOnEgnas(TestGennasOnAgnn):
    def context(self) -> Context:
        return Context(EGNASSpace(cells=1, nodes=1), Task("graph", "binary", 6, 1, edge_channels=3))


class TestGennasOnAutoDeepLab(TestGennasOnAgnn):
    def context(self) -> Context:
        return Context(AutoDeepLabSpace(layers=2, blocks=1, filters=2), PIXELS, example=IMAGES)


class Pointwise(nn.Module):
    """Each pixel by itself, or with what is around it."""

    def __init__(self, side: int) -> None:
        super().__init__()
        channels = (3, 16, 16, 16)
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, side, padding=side // 2) for before, after in pairwise(channels)
        )
        self.head = nn.Conv2d(16, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        state = images
        for layer in self.layers:
            state = layer(state).relu()
        return self.head(state)


def test_errors_fall_with_the_steps_and_signals_of_neighbours_need_neighbours() -> None:
    context = TestGennasOnAutoDeepLab().context()
    torch.manual_seed(0)
    pointwise, local = Pointwise(1), Pointwise(3)
    first, later = (GennasEstimator(steps=steps).estimate(local, context) for steps in (1, 40))
    assert later.score > first.score
    blind = GennasEstimator(steps=40).estimate(pointwise, context)
    assert set(blind.figures) == {"sine-1d", "sine-2d", "dots", "blurred-dots", "resized", "edges", "labels"}
    # The images themselves can be read off a pixel, their edges cannot.
    assert blind.figures["resized"] < 0.5 < blind.figures["edges"]
    assert later.figures["edges"] < blind.figures["edges"]
    assert blind.score == pytest.approx(-np.mean([each for name, each in blind.figures.items() if name != "labels"]))


def test_levels_weigh_the_kinds() -> None:
    context = TestGennasOnAgnn().context()
    network = context.network(context.space.sample(np.random.default_rng(0)))
    torch.manual_seed(0)
    levels = {"low": 3.0, "high": 1.0}
    with context.seeded():
        estimate = GennasEstimator(steps=2, levels=levels).estimate(network, context)
    expected = (3 * estimate.figures["low"] + estimate.figures["high"]) / 4
    assert estimate.score == pytest.approx(-expected)


def test_a_task_is_chosen_by_labelled_architectures_which_count() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(size=20)
    errors = {"low": -truth + 0.1 * generator.normal(size=20), "high": 5 * truth}
    estimates = [
        Estimate(0.0, figures={**{name: float(column[place]) for name, column in errors.items()}, "labels": 0.0})
        for place in range(20)
    ]
    tuned = GennasEstimator(steps=7).tuned([*estimates, Estimate.invalid("diverged")], [*truth, 9.0])
    assert tuned.levels["low"] > 0 == tuned.levels["high"]
    assert (tuned.steps, tuned.labels) == (7, 20)
    context = TestGennasOnAgnn().context()
    judged = tuned.estimate_all([context.space.sample(np.random.default_rng(0))], context)
    assert judged[0].figures["labels"] == 20
    with pytest.raises(ValueError, match="at least 3 valid architectures with scores; got 2"):
        tuned.tuned(estimates[:3], [0.0, 1.0, float("nan")])


def test_levels_that_leave_nothing_are_no_estimate() -> None:
    context = TestGennasOnAgnn().context()
    architecture = context.space.sample(np.random.default_rng(0))
    (estimate,) = GennasEstimator(steps=1, levels={"dots": 1.0}).estimate_all([architecture], context)
    assert estimate.reason.startswith("ValueError: levels of dots leave none of the signals that there are: low, high")
    with pytest.raises(ValueError, match="low is a number of at least 0"):
        GennasEstimator(levels={"low": -1.0})


def test_a_network_without_activations_is_read_at_its_outputs() -> None:
    context = TestGennasOnAutoDeepLab().context()
    assert GennasEstimator(steps=2).estimate_all([nn.Conv2d(3, 3, 1)], context)[0].valid
