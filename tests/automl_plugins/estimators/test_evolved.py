"""Decoders by estimators: evolution by scores, and the fit to many losses with shared weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from automl_plugins import Task
from automl_plugins.decoders import Decoder, Evaluation
from automl_plugins.errors import DivergedError
from automl_plugins.estimators.evolved import Estimated, Fitted
from automl_plugins.estimators.make import FunctionEstimator
from automl_plugins.search import ArchitectureSearch
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.testing import DecoderContract
from gnn_space import AGNNSpace
from seg_space import AutoDeepLabSpace

GRAPH = Task("graph", "regression", 5, 1)
DECODERS: dict[str, Callable[[], Decoder]] = {
    "estimated": lambda: Estimated("params", population=4, generations=3),
    "fitted": lambda: Fitted(evaluations=10, finalists=4, predictor="ridge"),
}
SPACES: dict[str, tuple[Callable[[int | None], SupernetSpace], Task]] = {
    "agnn": (lambda cap: AGNNSpace(layers=1, hidden_channels=(4, 8), heads=(1, 2), max_parameters=cap), GRAPH),
    "auto-deeplab": (
        lambda cap: AutoDeepLabSpace(layers=2, blocks=1, filters=1, stem=(2, 2), max_parameters=cap),
        Task("pixel", "classes", 3, 4),
    ),
}


class TestDecoders(DecoderContract):
    @pytest.fixture(autouse=True, params=[(decoder, space) for decoder in DECODERS for space in SPACES], ids="-".join)
    def _case(self, request: pytest.FixtureRequest) -> None:
        self.names: tuple[str, str] = request.param

    def decoder(self) -> Decoder:
        return DECODERS[self.names[0]]()

    def space(self, max_parameters: int | None) -> SupernetSpace:
        return SPACES[self.names[1]][0](max_parameters)

    def task(self) -> Task:
        return SPACES[self.names[1]][1]


def agnn() -> Searchable:
    return AGNNSpace(layers=3, hidden_channels=(2, 4, 8, 16), heads=(1, 2)).searchable(GRAPH).eval()


# By an estimator.


def test_evolution_finds_what_an_estimator_rates_highest() -> None:
    searchable = agnn()
    found = Estimated("params", population=20, generations=15)(searchable, lambda: math.nan)
    space = searchable.space
    sizes = [space.num_parameters(each.architecture, GRAPH) for each in found]
    assert [each.figures["score"] for each in found] == sizes == sorted(sizes, reverse=True)
    generator = torch.Generator().manual_seed(0)
    assert sizes[0] > max(space.num_parameters(space.sample(generator), GRAPH) for _ in range(300))


def test_an_estimator_of_untrained_networks_is_asked_in_a_context_of_the_searchables() -> None:
    found = Estimated({"class_path": "naswot", "init_args": {"samples": 8}}, population=3, generations=2)(
        agnn(), lambda: 0.0
    )
    scores = [each.figures["score"] for each in found]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) > 2


def test_an_estimator_that_fails_for_all_says_so() -> None:
    def fails(architecture: Architecture) -> float:
        raise RuntimeError("no")

    with pytest.raises(DivergedError, match=r"none of \d+ architectures has a finite score: the estimator fails"):
        Estimated(FunctionEstimator(fails), population=2, generations=2)(agnn(), lambda: 0.0)


@pytest.mark.parametrize(
    ("decoder", "message"),
    [
        (Estimated("training:1"), "estimator: TrainingEstimator does not fit here: .* needs a project"),
        (Estimated("ranks:[params,macs]"), "estimator: RankSumEstimator compares what it is asked for together"),
        (Estimated("ridge"), "estimator: RidgePredictor learns from scores and has seen none; the decoder `fitted`"),
        (Estimated("naswott"), "estimator='naswott' is unknown; did you mean 'naswot'"),
        (Fitted(predictor="naswot"), "predictor: NaswotEstimator is fitted to no scores; take denoiser or ranker"),
    ],
)
def test_what_cannot_judge_is_refused_before_anything_is_trained(
    decoder: Any, message: str, trainer: Callable[..., Any]
) -> None:
    from search_project import LitUser, UserData

    module, steps = LitUser(), []
    module.register_forward_pre_hook(lambda *_: steps.append(1))
    with pytest.raises(ValueError, match=message):
        trainer(ArchitectureSearch("random", decoder=decoder)).fit(module, UserData())
    assert not steps


# By a fit to shared weights.


class Noise(nn.Module):
    """Losses of architectures: their distance from one of them, and an error that is each one's own."""

    def __init__(self, searchable: Searchable, noise: float) -> None:
        super().__init__()
        self.searchable, self.noise = searchable, noise
        self.target = searchable.space.gates(searchable.space.sample(torch.Generator().manual_seed(100))).matrix

    def truth(self, matrix: torch.Tensor) -> float:
        return float((matrix - self.target).abs().sum())

    def loss(self, batch: int) -> float:
        matrix = self.searchable.gates().matrix.detach()
        seed = int((matrix.flatten() * torch.arange(matrix.numel())).sum())
        return self.truth(matrix) + self.noise * float(torch.randn((), generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("predictor", ["ridge", {"class_path": "denoiser", "init_args": {"epochs": 60}}], ids=str)
def test_a_fit_finds_better_architectures_than_the_least_of_noisy_losses(predictor: Any) -> None:
    searchable = agnn()
    noise = Noise(searchable, 6.0)
    decoder = Fitted(evaluations=150, finalists=10, predictor=predictor)
    losses = decoder._evaluated(searchable, Evaluation(noise.loss))
    space = searchable.space

    def truth(architectures: list[Architecture]) -> float:
        return sum(noise.truth(space.gates(each).matrix) for each in architectures) / len(architectures)

    found = decoder(searchable, Evaluation(noise.loss))
    least = sorted(losses, key=losses.__getitem__)[:10]
    assert len(found) == 10
    assert truth([each.architecture for each in found]) < truth(least)
    scores = [each.figures["fitted_score"] for each in found]
    assert scores == sorted(scores, reverse=True)
    assert all(math.isfinite(each.figures["search_loss"]) for each in found)


def test_losses_that_are_not_finite_are_left_out_of_the_fit() -> None:
    searchable, asked = agnn(), []

    def loss(batch: int) -> float:
        asked.append(1)
        return math.nan if len(asked) % 3 == 0 else float(len(asked))

    found = Fitted(evaluations=12, finalists=3, predictor="ridge")(searchable, Evaluation(loss))
    assert all(math.isfinite(each.figures["fitted_score"]) for each in found)
    with pytest.raises(DivergedError, match="the shared weights have diverged"):
        Fitted(evaluations=4, predictor="ridge")(searchable, Evaluation(lambda _: math.nan))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"evaluations": 1}, "evaluations is at least 2; got 1"), ({"finalists": 0}, "finalists is at least 1; got 0")],
)
def test_numbers_out_of_range_are_named(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Fitted(**arguments)
