"""The contracts of estimators, predictors and samplers find what they are for: each plugin here breaks one promise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from automl_plugins import Architecture, SearchSpace, Task
from automl_plugins.estimators import Candidate, Context, Estimate, Estimator
from automl_plugins.estimators.predictors.base import Predictor
from automl_plugins.estimators.predictors.ridge import RidgePredictor
from automl_plugins.samplers import ArchitectureSampler, EvolutionSampler, Proposal, TrialLog
from automl_plugins.testing import EstimatorContract, PredictorContract, SamplerContract
from automl_plugins.testing.toy_space import ToySpace, score
from gnn_space import AGNNSpace

SPACE, TASK = AGNNSpace(layers=1), Task("node", "classes", in_channels=4, out_channels=3)


class Sound(Estimator):
    """The mean of the outputs."""

    def value(self, network: nn.Module, context: Context) -> float:
        with torch.no_grad():
            return float(network(*context.inputs).mean())

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        return Estimate(self.value(context.network(candidate).eval(), context))


class InPlace(Sound):
    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        network = candidate if isinstance(candidate, nn.Module) else context.network(candidate)
        return Estimate(self.value(network.eval(), context))


class OwnRandomness(Sound):
    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        return Estimate(float(np.random.default_rng().normal()))


class Counting(Sound):
    seen = 0

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        self.seen += 1
        return Estimate(float(self.seen))


class Unguarded(Sound):
    def estimate_all(self, candidates: Any, context: Context | None) -> list[Estimate]:
        assert context is not None
        return [self.estimate(candidate, context) for candidate in candidates]


class LeavesTheGeneratorMoved(Sound):
    def estimate_all(self, candidates: Any, context: Context | None) -> list[Estimate]:
        torch.rand(1)
        return super().estimate_all(candidates, context)


class Unpicklable(Sound):
    def __init__(self) -> None:
        self.helper = lambda: None


class OfArchitecturesAlone(Sound):
    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        return super().estimate(candidate, context) if isinstance(candidate, Architecture) else Estimate(0.0)


class OfEstimators(EstimatorContract):
    def __init__(self, kind: type[Estimator]) -> None:
        self.kind = kind

    def estimator(self) -> Estimator:
        return self.kind()

    def context(self) -> Context:
        return Context(SPACE, TASK)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("test_an_estimate_is_settled", OwnRandomness),
        ("test_an_estimate_is_settled", Counting),
        ("test_an_estimate_says_what_it_is", Unguarded),
        ("test_random_generators_are_left_alone", LeavesTheGeneratorMoved),
        ("test_an_estimator_comes_through_pickle", Unpicklable),
        ("test_a_module_is_judged_and_left_as_it_was", InPlace),
        ("test_a_module_is_worth_what_its_architecture_is", OfArchitecturesAlone),
        ("test_what_cannot_be_judged_ranks_last_and_harms_no_other", Unguarded),
    ],
)
def test_an_estimator_that_breaks_a_promise_is_found(name: str, kind: type[Estimator]) -> None:
    getattr(OfEstimators(Sound), name)()
    with pytest.raises((AssertionError, AttributeError, RuntimeError, TypeError, ValueError)):
        getattr(OfEstimators(kind), name)()


class Unchecked(RidgePredictor):
    def _checked(self, architectures: Sequence[Architecture], scores: Any) -> np.ndarray:
        return np.nan_to_num(np.resize(np.asarray(scores, dtype=np.float64), len(architectures)))


class Backwards(RidgePredictor):
    def predict(self, architectures: Sequence[Architecture]) -> np.ndarray:
        return -super().predict(architectures)


class NotFitted(RidgePredictor):
    def predict(self, architectures: Sequence[Architecture]) -> np.ndarray:
        return super().predict(architectures) if self._solution else np.zeros(len(architectures))


class Drawn(RidgePredictor):
    def predict(self, architectures: Sequence[Architecture]) -> np.ndarray:
        return super().predict(architectures) + 1e-3 * torch.rand(len(architectures)).numpy()


class OfPredictors(PredictorContract):
    def __init__(self, kind: type[Predictor]) -> None:
        self.kind = kind

    def predictor(self, space: SearchSpace, seed: int) -> Predictor:
        return self.kind(space, seed)

    def space(self) -> SearchSpace:
        return ToySpace()

    def truth(self, architecture: Architecture) -> float:
        return score(architecture)


@pytest.mark.parametrize(
    ("name", "kind", "arguments"),
    [
        ("test_architectures_that_were_not_seen_are_ranked", Backwards, {}),
        (
            "test_a_prediction_is_settled_by_seed_and_data_and_leaves_the_world_as_it_was",
            Drawn,
            {},
        ),
        (
            "test_data_that_cannot_be_fitted_are_named",
            Unchecked,
            {"count": 3, "scores": [1.0, 2.0], "message": "need as many scores"},
        ),
        ("test_predicting_before_fitting_is_refused", NotFitted, {}),
    ],
)
def test_a_predictor_that_breaks_a_promise_is_found(
    name: str, kind: type[Predictor], arguments: dict[str, Any]
) -> None:
    getattr(OfPredictors(RidgePredictor), name)(**arguments)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(OfPredictors(kind), name)(**arguments)


class Remembering(EvolutionSampler):
    """Knows how often it was asked, which no other worker does."""

    asked = 0

    def propose(self, log: TrialLog, generator: np.random.Generator) -> Proposal:
        self.asked += 1
        return super().propose(log, np.random.default_rng(self.asked))


class Repeating(EvolutionSampler):
    def propose(self, log: TrialLog, generator: np.random.Generator) -> Proposal:
        return Proposal(self.space.sample(generator))


class Unseeded(EvolutionSampler):
    def propose(self, log: TrialLog, generator: np.random.Generator) -> Proposal:
        return super().propose(log, np.random.default_rng(0))


class BlindToConditions(EvolutionSampler):
    def propose(self, log: TrialLog, generator: np.random.Generator) -> Proposal:
        shallow = [one for one in (self.space.sample(generator) for _ in range(64)) if one["depth"] == 2]
        return Proposal(next(one for one in shallow if one not in log.seen))


class OfSamplers(SamplerContract):
    def __init__(self, kind: type[EvolutionSampler]) -> None:
        self.kind = kind

    def sampler(self, space: SearchSpace, seed: int) -> ArchitectureSampler:
        return self.kind(space, seed, population=6, tournament=3)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("test_a_sampler_made_anew_for_every_trial_asks_for_the_same", Remembering),
        ("test_one_sampler_serves_several_studies", Remembering),
        ("test_a_search_is_settled_by_its_seed", Unseeded),
        ("test_conditional_choices_are_there_where_they_are_active", BlindToConditions),
        ("test_nothing_is_tried_twice_until_everything_was", Repeating),
    ],
)
def test_a_sampler_that_breaks_a_promise_is_found(name: str, kind: type[EvolutionSampler]) -> None:
    getattr(OfSamplers(EvolutionSampler), name)()
    with pytest.raises(AssertionError):
        getattr(OfSamplers(kind), name)()
