from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau
from torch import nn

from automl_plugins import Architecture, SearchSpace, registry
from automl_plugins.estimators.predictors.base import Predictor, standardised
from automl_plugins.estimators.predictors.comparator import ComparatorPredictor
from automl_plugins.estimators.predictors.denoiser import DenoiserPredictor
from automl_plugins.estimators.predictors.features import one_hot, path_features
from automl_plugins.estimators.predictors.fitting import fit_network
from automl_plugins.estimators.predictors.graphs import dense_graphs
from automl_plugins.estimators.predictors.ranker import RankerPredictor, pairwise_loss
from automl_plugins.estimators.predictors.ridge import RidgePredictor
from automl_plugins.estimators.predictors.scored import ScoredPredictor, shares_beaten
from automl_plugins.estimators.predictors.trees import TreesPredictor
from automl_plugins.samplers import Observation, PredictorSampler, TrialLog
from automl_plugins.tables.cells import OPERATIONS, NASBench201Space, nas_bench_201
from automl_plugins.tables.files import numbers, read_csv
from automl_plugins.testing import PredictorContract

Make = Callable[[SearchSpace, int], Predictor]
FEW: dict[str, dict[str, int]] = {"comparator": {"epochs": 5}, "ranker": {"epochs": 5}, "trees": {"trees": 20}}
EVERY: dict[str, Make] = {
    "comparator": lambda space, seed: ComparatorPredictor(space, seed, width=16, epochs=60),
    "denoiser": lambda space, seed: DenoiserPredictor(space, seed, width=16),
    "ranker": lambda space, seed: RankerPredictor(space, seed, width=16, epochs=60),
    "ridge": RidgePredictor,
    "trees": lambda space, seed: TreesPredictor(space, seed, trees=60),
}


@pytest.fixture
def space() -> NASBench201Space:
    return NASBench201Space()


def sample(space: SearchSpace, count: int, seed: int = 0) -> list[Architecture]:
    generator = np.random.default_rng(seed)
    return [space.sample(generator) for _ in range(count)]


def convolutions(architecture: Architecture) -> float:
    return float(sum(value in ("conv1x1", "conv3x3") for value in architecture.values()))


def cell(space: SearchSpace, *operations: str) -> Architecture:
    return space.architecture({choice.name: name for choice, name in zip(space.choices, operations, strict=True)})


class Contract(PredictorContract):
    name: str

    def predictor(self, space: SearchSpace, seed: int) -> Predictor:
        return EVERY[self.name](space, seed)

    def space(self) -> NASBench201Space:
        return NASBench201Space()

    def truth(self, architecture: Architecture) -> float:
        return convolutions(architecture)


class TestComparator(Contract):
    name = "comparator"


class TestDenoiser(Contract):
    name = "denoiser"


class TestRanker(Contract):
    name = "ranker"


class TestRidge(Contract):
    name = "ridge"


class TestTrees(Contract):
    name = "trees"


class TestScored(Contract):
    def predictor(self, space: SearchSpace, seed: int) -> Predictor:
        return ScoredPredictor(space, three_scores)


def three_scores(architectures: Sequence[Architecture]) -> np.ndarray:
    """One with heavy tails, one that is missing for some, one that says nothing."""
    counts = np.array([convolutions(each) for each in architectures])
    return np.stack([10.0**counts, np.where(counts == 0, np.nan, -counts), np.zeros(len(counts))], axis=1)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=6), st.lists(st.integers(-4, 4), min_size=1, max_size=6))
def test_shares_count_those_that_are_beaten_and_half_of_equal_ones(known: list[int], others: list[int]) -> None:
    found = shares_beaten(np.array(known)[:, None], np.array(others)[:, None])
    expected = [sum((one > each) + 0.5 * (one == each) for each in known) / len(known) for one in others]
    np.testing.assert_allclose(found[:, 0], expected)


def test_scores_tell_more_than_choices_while_trials_are_few(shared_data: Path, space: NASBench201Space) -> None:
    content = read_csv(shared_data / "tables" / "nas_bench_201" / "nb201_zc_cifar10.csv.gz")
    table = nas_bench_201("cifar10", shared_data)
    names = ("nwot", "jacov", "flops")
    columns = np.stack([numbers(content[name]) for name in names], axis=1)
    cells = [cell(space, *(OPERATIONS[int(digit)] for digit in digits)) for digits in content["ops"]]
    published = dict(zip(cells, columns, strict=True))
    chosen = np.random.default_rng(0).choice(len(cells), 320, replace=False)
    architectures = [cells[place] for place in chosen]
    scores = np.array([table.columns["c10_test"][table.row(each)] for each in architectures])
    taus = {}
    for name, predictor in {
        "choices": RidgePredictor(space),
        "scores": ScoredPredictor(space, lambda some: np.stack([published[each] for each in some])),
    }.items():
        predictor.fit(architectures[:20], scores[:20])
        taus[name] = kendalltau(predictor.predict(architectures[20:]), scores[20:]).statistic
    assert taus["scores"] > 0.65
    assert taus["scores"] > taus["choices"] + 0.1


def test_a_ridge_learns_what_pairs_of_options_are_worth(space: NASBench201Space) -> None:
    def truth(architecture: Architecture) -> float:
        first, second = list(architecture.values())[:2]
        return float(first == second)  # no option is worth anything by itself

    known, others = sample(space, 300), sample(space, 200, seed=1)
    predictor = RidgePredictor(space)
    predictor.fit(known, [truth(each) for each in known])
    assert kendalltau(predictor.predict(others), [truth(each) for each in others]).statistic > 0.4


@pytest.mark.parametrize("name", EVERY)
def test_every_predictor_is_registered_and_drives_the_sampler(name: str, space: NASBench201Space) -> None:
    assert name in registry.names("predictors")
    sampler = PredictorSampler(space, predictor={"class_path": name, "init_args": FEW.get(name, {})}, candidates=2)
    tried = [Observation(number, each, (convolutions(each),)) for number, each in enumerate(sample(space, 20))]
    log = TrialLog(tried, len(tried), {one.architecture for one in tried}, 1, "a study")
    assert sampler.propose(log, np.random.default_rng(0)).architecture not in log.seen


def test_trees_meet_the_published_sample_efficiency(shared_data: Path, space: NASBench201Space) -> None:
    table = nas_bench_201("cifar10", shared_data)
    architectures = list(dict.fromkeys(sample(space, 1500)))
    scores = np.array([table.columns["c10_test"][table.row(each)] for each in architectures])
    predictor = TreesPredictor(space)
    predictor.fit(architectures[:100], scores[:100])
    assert kendalltau(predictor.predict(architectures[100:]), scores[100:]).statistic > 0.65


def test_one_network_that_did_not_train_does_not_decide_a_ridge(space: NASBench201Space) -> None:
    known = sample(space, 100)
    scores = np.array([convolutions(each) for each in known])
    scores[7] = -1e6
    predictor = RidgePredictor(space)
    predictor.fit(known, scores)
    others = sample(space, 100, seed=1)
    assert kendalltau(predictor.predict(others), [convolutions(each) for each in others]).statistic > 0.7


# Encodings.


@given(st.integers(0, 1000))
def test_many_encodings_at_once_are_those_of_the_space(seed: int) -> None:
    space = NASBench201Space()
    architectures = sample(space, 5, seed)
    np.testing.assert_array_equal(one_hot(space, architectures), [space.encode(each) for each in architectures])


@given(st.integers(0, 1000))
def test_dense_graphs_are_those_of_the_space(seed: int) -> None:
    space = NASBench201Space()
    architecture = sample(space, 1, seed)[0]
    graph = space.graph(architecture)
    features, adjacency, mask = dense_graphs(space, [architecture])
    np.testing.assert_array_equal(features[0, :, :-2], graph.features)
    assert sorted(zip(*np.nonzero(adjacency[0]), strict=True)) == sorted(map(tuple, graph.edge_index.t().tolist()))
    assert mask.all()
    assert np.flatnonzero(features[0, :, -2]).tolist() == [0]
    assert np.flatnonzero(features[0, :, -1]).tolist() == [7]


def test_path_features_of_a_cell_worked_out_by_hand(space: NASBench201Space) -> None:
    # Edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3: four ways, of which those over a `none` lead nowhere.
    architecture = cell(space, "conv3x3", "none", "conv3x3", "skip", "none", "conv3x3")
    row = path_features(space, [architecture])[0]
    sets = len(row) // 6
    parts = row.reshape(6, sets)
    names = [option for _, option in space.vocabulary[1:]]
    only = {name: 1 + index for index, name in enumerate(names)}
    without = {name: 1 + len(names) + index for index, name in enumerate(names)}
    count, from_input, to_output, ways, shortest, longest = parts
    assert np.expm1(ways[0]) == pytest.approx(4)
    assert (shortest[0], longest[0]) == (2, 4)  # arrows, from the input to the output
    assert np.expm1(ways[without["none"]]) == pytest.approx(2)
    assert np.expm1(ways[only["conv3x3"]]) == pytest.approx(1)
    assert (shortest[only["conv3x3"]], longest[only["conv3x3"]]) == (4, 4)
    assert (shortest[only["skip"]], longest[only["skip"]]) == (2, 2)
    assert (ways[only["avgpool"]], longest[only["avgpool"]]) == (0, 0)
    assert shortest[only["avgpool"]] == 8  # no way: longer than any
    assert count[only["conv3x3"]] == 3
    assert from_input[only["conv3x3"]] == 1
    assert to_output[only["conv3x3"]] == 1


# Losses, and the fit.


def test_the_learning_rate_falls_to_zero() -> None:
    def loss(network: nn.Linear, batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return network.weight.sum()  # a constant gradient, of which Adam makes steps of one learning rate

    fitted = fit_network(lambda: nn.Linear(1, 1), 10, loss, epochs=200, weight_decay=0.0, seed=0)
    torch.manual_seed(0)
    moved = nn.Linear(1, 1).weight - fitted.weight
    assert moved.item() == pytest.approx(200 * 3e-3 / 2, rel=0.05)
    assert not fitted.training


def test_the_pairwise_losses_are_means_over_pairs_that_differ() -> None:
    outputs, scores = torch.tensor([0.5, 0.0, 2.0]), torch.tensor([1.0, 0.0, 1.0])
    hinge = (max(0, 0.1 - 0.5) + max(0, 0.1 - 2.0)) / 2
    logistic = (np.log1p(np.exp(-0.5)) + np.log1p(np.exp(-2.0))) / 2
    assert pairwise_loss(outputs, scores, "hinge").item() == pytest.approx(hinge)
    assert pairwise_loss(outputs, scores, "logistic").item() == pytest.approx(logistic)
    assert pairwise_loss(-outputs, scores, "hinge").item() == pytest.approx((0.6 + 2.1) / 2)
    assert pairwise_loss(outputs, torch.ones(3), "logistic").item() == 0


def test_a_mistyped_loss_is_named(space: NASBench201Space) -> None:
    with pytest.raises(ValueError, match="loss is one of logistic, hinge, squared; got 'mse'"):
        RankerPredictor(space, loss="mse")


def test_standardised_scores_have_mean_0_and_deviation_1() -> None:
    assert standardised(np.full(3, 0.1)).tolist() == [0, 0, 0]
    scores = standardised(np.array([1.0, 2.0, 6.0]))
    assert (scores.mean(), scores.std()) == (pytest.approx(0), pytest.approx(1))


# The comparator.


def test_the_chances_of_a_pair_in_both_orders_add_up_to_one(space: NASBench201Space) -> None:
    known = sample(space, 40)
    predictor = ComparatorPredictor(space, width=16, epochs=20)
    predictor.fit(known, [convolutions(each) for each in known])
    ahead, behind = predictor.compare(known[:6], known[6:9]), predictor.compare(known[6:9], known[:6])
    assert ahead.shape == (6, 3)
    np.testing.assert_allclose(ahead + behind.T, 1, atol=1e-6)
