"""Samplers that ask estimators: RoBoT's weights, and screening."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import optuna
import pytest

from automl_plugins import Architecture
from automl_plugins.estimators.make import FunctionEstimator
from automl_plugins.estimators.rank_sum import RankSumEstimator
from automl_plugins.samplers import EvolutionSampler, PredictorSampler
from automl_plugins.samplers.base import Observation, TrialLog
from automl_plugins.samplers.robot import RobotSampler, _first, _posterior, _ranked
from automl_plugins.samplers.screen import ScreenSampler
from automl_plugins.samplers.uniform import UniformSampler
from automl_plugins.testing.toy_space import ToySpace, score

SPACE = ToySpace()
optuna.logging.set_verbosity(optuna.logging.WARNING)


def widths(architecture: Architecture) -> float:
    return sum(value == 2 for name, value in architecture.items() if name.endswith("width"))


def letters(architecture: Architecture) -> float:
    """High where the truth is low."""
    return -sum(value == "b" for name, value in architecture.items() if name.endswith("operation"))


def best_of(sampler: optuna.samplers.BaseSampler, trials: int) -> float:
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(lambda trial: score(SPACE.suggest(trial)), n_trials=trials)
    return study.best_value


def test_robot_finds_that_a_score_has_to_be_turned_round() -> None:
    """No score is right as it is; the truth is one of them backwards, and a bit of another."""
    estimators = [FunctionEstimator(each) for each in (letters, widths)]
    found = [best_of(RobotSampler(SPACE, seed, estimators, pool=2000), 40) for seed in range(3)]
    assert min(found) == pytest.approx(3.6)


def test_weights_are_those_of_a_bayesian_regression() -> None:
    """With many trials, the weights that the truth was made of; with none, the belief that estimators are right."""
    generator = np.random.default_rng(0)
    ranks = np.stack([_ranked(each) for each in generator.normal(size=(3, 500))])
    truth = np.array([1.0, -2.0, 0.0]) @ ranks
    mean, covariance = _posterior(ranks, [(0.0, each) for each in truth])
    np.testing.assert_allclose(mean / mean[0], [1, -2, 0], atol=0.25)
    assert np.trace(covariance) < 0.01
    first = RobotSampler(SPACE, 0, [FunctionEstimator(score), FunctionEstimator(score)], pool=2000)
    log = TrialLog([], 0, frozenset(), 1, "a study")
    found = [score(first.propose(log, np.random.default_rng(seed)).architecture) for seed in range(20)]
    assert np.mean(np.isclose(found, 3.6)) > 0.7


def test_a_missing_score_is_the_worst_whatever_its_weight() -> None:
    ranks = np.stack([_ranked(np.array([1.0, math.nan, 3.0])), _ranked(np.array([2.0, 2.0, 1.0]))])
    np.testing.assert_allclose(ranks[:, [0, 2]], [[-1, 1], [2**-0.5, -(2**0.5)]])
    for sign in (1.0, -1.0):
        assert _first(ranks, np.array([sign, 0.0]), range(3)) == (2 if sign > 0 else 0)


def test_robot_without_any_score_says_so() -> None:
    sampler = RobotSampler(SPACE, 0, [FunctionEstimator(lambda _: math.nan)] * 2)
    with pytest.raises(ValueError, match="no estimator has a score for any architecture"):
        best_of(sampler, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"estimators": ["macs"]}, "estimators is a list of at least two"),
        ({"estimators": "macs"}, "estimators is a list of at least two; got 'macs'"),
        ({"estimators": ["ridge", "ridge"]}, "RidgePredictor learns from trials"),
        ({"estimators": ["mcas", "macs"]}, "did you mean 'macs'"),
        ({}, "NaswotEstimator judges networks, so a sampler needs context"),
    ],
)
def test_what_robot_cannot_weigh_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RobotSampler(SPACE, **arguments)


def test_of_the_screened_the_best_is_proposed() -> None:
    sampler = ScreenSampler(SPACE, 0, FunctionEstimator(score), pool=30, sampler=UniformSampler(SPACE))
    log = TrialLog([], 0, frozenset(), 1, "a study")
    proposed = sampler.propose(log, np.random.default_rng(0)).architecture
    generator = np.random.default_rng(0)
    pool = [UniformSampler(SPACE).propose(log, generator).architecture for _ in range(30)]
    assert proposed == max(pool, key=score)


def test_screening_by_the_truth_beats_the_sampler_alone() -> None:
    screened = [best_of(ScreenSampler(SPACE, seed, FunctionEstimator(score), pool=20), 5) for seed in range(3)]
    alone = [best_of(EvolutionSampler(SPACE, seed), 5) for seed in range(3)]
    assert np.mean(screened) > np.mean(alone)


def test_what_the_estimator_fails_for_is_not_proposed() -> None:
    sampler = ScreenSampler(SPACE, 0, FunctionEstimator(lambda each: math.nan if each["depth"] == 3 else 0.0), pool=20)
    log = TrialLog([], 0, frozenset(), 1, "a study")
    for seed in range(5):
        assert sampler.propose(log, np.random.default_rng(seed)).architecture["depth"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"estimator": "ridge"}, "RidgePredictor learns from trials"),
        ({"estimator": FunctionEstimator(len), "pool": 0}, "pool is at least 1"),
        ({"estimator": FunctionEstimator(len), "sampler": "optuna.samplers.TPESampler"}, "screening asks one of the"),
        ({"estimator": FunctionEstimator(len), "sampler": "evolutoin"}, "did you mean 'evolution'"),
    ],
)
def test_what_cannot_be_screened_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScreenSampler(SPACE, **arguments)


def test_scores_that_compare_within_one_call_are_no_ground_to_climb() -> None:
    ranks = RankSumEstimator([FunctionEstimator(len), FunctionEstimator(score)])
    with pytest.raises(ValueError, match="RankSumEstimator compare those that it is asked for together"):
        PredictorSampler(SPACE, predictor=ranks, context=lambda: None)  # type: ignore[arg-type]
    assert EvolutionSampler(SPACE, proxy=ranks, context=lambda: None).proxy is not None  # type: ignore[arg-type]


# Scores as features.


def hidden(architecture: Architecture) -> float:
    """A number between 0 and 1 that no choice tells."""
    return int.from_bytes(hashlib.sha256(architecture.to_json().encode()).digest()[:4], "big") / 2**32


def test_scores_as_features_tell_what_choices_do_not() -> None:
    tried = [SPACE.sample(np.random.default_rng(seed)) for seed in range(30)]
    observed = [Observation(number, each, (hidden(each),)) for number, each in enumerate(dict.fromkeys(tried))]
    log = TrialLog(observed, len(observed), frozenset(tried), 1, "a study")
    means = {}
    for name, features in {"plain": [], "scored": [FunctionEstimator(lambda each: 10 ** hidden(each))]}.items():
        sampler = PredictorSampler(SPACE, startup=5, candidates=8, features=features)
        proposals = [sampler.propose(log, np.random.default_rng(seed)).architecture for seed in range(15)]
        assert not log.seen & set(proposals)
        means[name] = np.mean([hidden(each) for each in proposals])
    assert means["plain"] < 0.75
    assert means["scored"] > 0.88


def test_each_architecture_is_scored_once_and_few_of_them() -> None:
    asked: list[Architecture] = []

    def counted(architecture: Architecture) -> float:
        asked.append(architecture)
        return widths(architecture)

    best_of(PredictorSampler(SPACE, 0, startup=4, features=[FunctionEstimator(counted)], scored=5), 10)
    assert len(asked) == len(set(asked))
    # The trials that a model was fitted to, and five for each of the six proposals of a model.
    assert len(asked) <= 9 + 6 * 5


def test_a_feature_that_fails_leaves_the_others_to_tell() -> None:
    def fails(architecture: Architecture) -> float:
        raise RuntimeError("no")

    sampler = PredictorSampler(SPACE, 0, startup=5, features=[FunctionEstimator(fails), FunctionEstimator(score)])
    assert best_of(sampler, 20) > 3


def test_features_serve_studies_of_several_objectives() -> None:
    sampler = PredictorSampler(SPACE, 0, startup=5, features=[FunctionEstimator(score), FunctionEstimator(widths)])
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)

    def objectives(trial: optuna.Trial) -> tuple[float, float]:
        architecture = SPACE.suggest(trial)
        return score(architecture), widths(architecture)

    study.optimize(objectives, n_trials=12)
    assert len({tuple(trial.params.items()) for trial in study.trials}) == 12


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (["ridge"], "features: RidgePredictor learns from trials; give estimators that score without, as naswot"),
        (["ranks:[params,macs]"], "features: scores of RankSumEstimator compare those that it is asked for together"),
        (["naswot"], "NaswotEstimator judges networks, so a sampler needs context="),
        (["naswott"], "estimator='naswott' is unknown"),
    ],
)
def test_features_that_cannot_be_are_refused(features: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PredictorSampler(SPACE, features=features)
