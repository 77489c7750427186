"""The estimator's interface: estimates, ranks, the context, and estimators by name."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from automl_plugins import Architecture, Task
from automl_plugins.estimators import Candidate, Context, Estimate, Estimator, make_estimator, rank
from automl_plugins.estimators.predictors.ridge import RidgePredictor
from gnn_space import AGNNSpace

TASK = Task("node", "classes", in_channels=4, out_channels=3)
SPACE = AGNNSpace(layers=1)


def architectures(count: int, seed: int = 0) -> list[Architecture]:
    generator = np.random.default_rng(seed)
    return [SPACE.sample(generator) for _ in range(count)]


class Params(Estimator):
    """Fewer parameters are better; attention by GAT cannot be judged."""

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        if isinstance(candidate, Architecture) and candidate["layer0.attention"] == "gat":
            raise ArithmeticError("singular\nmatrix")
        network = context.network(candidate)
        return Estimate(
            -float(sum(weight.numel() for weight in network.parameters())), figures={"draw": torch.rand(())}
        )


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=20))
def test_the_best_rank_first_and_what_is_no_number_last(scores: list[float]) -> None:
    order = rank(scores)
    assert sorted(order) == list(range(len(scores)))
    numbers = [scores[place] for place in order if math.isfinite(scores[place])]
    assert numbers == sorted(numbers, reverse=True)
    assert not any(math.isfinite(scores[place]) for place in order[len(numbers) :])
    assert rank([Estimate(score) for score in scores]) == order


def test_equal_scores_keep_their_order() -> None:
    assert rank([1.0, math.nan, 2.0, 1.0, math.inf, 2.0]) == [2, 5, 0, 3, 1, 4]


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_no_valid_estimate(score: float) -> None:
    estimate = Estimate(score)
    assert not estimate.valid
    assert math.isnan(estimate.score)
    assert estimate.reason == f"the score is {score}"
    assert math.isnan(Estimate(3.0, valid=False).score)


def test_an_estimator_that_raises_costs_its_candidate_alone(recwarn: pytest.WarningsRecorder) -> None:
    several = architectures(30)
    estimates = Params().estimate_all(several, Context(SPACE, TASK))
    failed = [architecture["layer0.attention"] == "gat" for architecture in several]
    assert [not estimate.valid for estimate in estimates] == failed
    assert {estimate.reason for estimate in estimates if not estimate.valid} == {"ArithmeticError: singular"}
    assert all(estimate.cost_s > 0 for estimate in estimates)
    assert not any(failed[place] for place in rank(estimates)[: failed.count(False)])


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (0.5, "TypeError: estimate gave a float; it gives an Estimate"),
        (None, "TypeError: estimate gave a NoneType; it gives an Estimate"),
        ({"score": None}, "TypeError"),
        ({"score": 1.0, "cost_s": None}, "TypeError"),
        ({"score": 1.0, "std": "small"}, "ValueError"),
        ({"score": 1.0, "figures": {"loss": None}}, "TypeError"),
    ],
)
def test_an_estimator_that_gives_no_estimate_costs_its_candidate_alone(given: object, reason: str) -> None:
    class Careless(Estimator):
        def estimate(self, candidate: Candidate, context: Context) -> Estimate:
            return Estimate(**given) if isinstance(given, dict) else given  # type: ignore[return-value]

    (estimate,) = Careless().estimate_all(architectures(1), Context(SPACE, TASK))
    assert not estimate.valid
    assert estimate.reason.startswith(reason)
    assert estimate.cost_s >= 0


def test_an_estimate_is_settled_by_the_context_s_seed_and_disturbs_no_generator() -> None:
    one = [each for each in architectures(5) if each["layer0.attention"] != "gat"][:1]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (Params().estimate_all(one, Context(SPACE, TASK, seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert first[0].figures == again[0].figures != other[0].figures


def test_a_module_is_judged_on_a_copy() -> None:
    network = nn.Linear(2, 3)
    context = Context(SPACE, TASK)
    copied = context.network(network)
    assert copied is not network
    assert torch.equal(copied.weight, network.weight)
    assert Params().estimate(network, context).score == -9


def test_an_estimator_that_learns_nothing_says_so() -> None:
    with pytest.raises(TypeError, match="Params learns nothing from scores"):
        Params().fit(architectures(2), [0.0, 1.0])


def test_a_predictor_is_an_estimator() -> None:
    known, others = architectures(30), architectures(10, seed=1)
    predictor = make_estimator("ridge", SPACE)
    assert isinstance(predictor, RidgePredictor)
    assert predictor.learns
    predictor.fit(known, [float(each["layer0.hidden_channels"]) for each in known])
    context = Context(SPACE, TASK)
    estimates = predictor.estimate_all(others, context)
    assert [estimate.score for estimate in estimates] == pytest.approx(predictor.predict(others))
    assert predictor.estimate(others[3], context).score == pytest.approx(estimates[3].score)
    assert rank(estimates) == predictor.rank(others)
    mixed = predictor.estimate_all([others[0], nn.Linear(1, 1)], context)
    assert [estimate.valid for estimate in mixed] == [True, False]
    assert mixed[1].reason == "TypeError: RidgePredictor knows architectures alone; got a Linear"


def test_a_predictor_without_a_number_for_an_architecture_ranks_it_last() -> None:
    class Partly(RidgePredictor):
        def predict(self, several: Sequence[Architecture]) -> np.ndarray:
            return np.array([math.inf, 1.0, math.nan, 2.0])

    assert Partly(SPACE).rank(architectures(4)) == [3, 1, 0, 2]


def test_an_estimator_is_a_name_a_mapping_an_object_or_a_function() -> None:
    own = Params()
    assert make_estimator(own, SPACE) is own
    path = "automl_plugins.estimators.predictors.ranker.RankerPredictor"
    made = make_estimator({"class_path": path, "init_args": {"epochs": 3}}, SPACE, seed=7)
    assert (made.epochs, made.seed, made.space) == (3, 7, SPACE)
    assert isinstance(make_estimator(Params, SPACE), Params)
    assert make_estimator(RidgePredictor, SPACE, seed=4).seed == 4
    function = make_estimator(lambda architecture: 2.0, SPACE)
    context = Context(SPACE, TASK)
    assert function.estimate(architectures(1)[0], context).score == 2.0
    assert not function.estimate_all([nn.Linear(1, 1)], context)[0].valid


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("rigde", "estimator='rigde' is unknown; did you mean 'ridge'?"),
        ({"class_path": "collections.Counter"}, "estimator='collections.Counter' is no Estimator"),
        ("collections.Counter", "is unknown; an import path is given as {class_path: ...}"),
        ({"class_path": "no_such_package.Estimator"}, "cannot be imported: No module named 'no_such_package'"),
        ("inherited", "estimator.init_args.searchable is missing: InheritedEstimator is not made without it"),
        ({"init_args": {}}, "an estimator needs a class_path beside its init_args"),
        ({"class_path": "ridge", "args": 1}, "estimator.args is not valid; did you mean 'init_args'?"),
        ({"class_path": "ranker", "init_args": {"epoch": 1}}, "epoch is no argument of RankerPredictor; did you mean"),
    ],
    ids=str,
)
def test_a_wrong_name_or_argument_is_named(config: object, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make_estimator(config, SPACE)
    with pytest.raises(TypeError, match="an estimator is a name, a mapping with class_path, or an Estimator; got 3"):
        make_estimator(3, SPACE)
