"""The contracts that every estimator keeps, and every predictor, as test suites to subclass.

A few small networks will do::

    from automl_plugins.testing import EstimatorContract

    class TestMyEstimator(EstimatorContract):
        def estimator(self):
            return MyEstimator()

        def context(self):
            return Context(AGNNSpace(layers=1), Task("node", "classes", in_channels=4, out_channels=3))
"""

from __future__ import annotations

import copy
import math
import pickle
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from automl_plugins.estimators.base import Estimate, Estimator, rank
from automl_plugins.estimators.context import Context
from automl_plugins.estimators.predictors.base import Predictor
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.system.randomness import random_state


class EstimatorContract(ABC):
    """The promises of every estimator: it is a function of candidate and context, and leaves both as they are."""

    judges_modules = True
    """A module that is no architecture has an estimate too."""

    @abstractmethod
    def estimator(self) -> Estimator:
        """The estimator, fitted where it learns; equal at every call."""

    @abstractmethod
    def context(self) -> Context:
        """A context whose space has small networks; equal at every call."""

    def architectures(self) -> list[Architecture]:
        """The architectures that are judged, of which the estimator fails for none."""
        generator = np.random.default_rng(0)
        space = self.context().space
        return list(dict.fromkeys(space.sample(generator) for _ in range(3)))

    # The contract.

    def test_an_estimate_is_settled(self) -> None:
        architectures, estimates = self.architectures(), []
        for seed in range(2):
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002 - nothing may depend on it
            estimates.append(self.estimator().estimate_all(architectures, self.context()))
        scores = [[estimate.score for estimate in several] for several in estimates]
        assert scores[0] == scores[1], "equal candidates in equal contexts have different scores"
        estimator, context = self.estimator(), self.context()
        backwards = estimator.estimate_all(architectures[::-1], context)
        assert [estimate.score for estimate in backwards][::-1] == scores[0], "the order of candidates matters"

    def test_an_estimate_says_what_it_is(self) -> None:
        estimates = self.estimator().estimate_all(self.architectures(), self.context())
        for estimate in estimates:
            assert isinstance(estimate, Estimate)
            assert estimate.valid, f"no estimate: {estimate.reason}"
            assert math.isfinite(estimate.score)
            assert math.isnan(estimate.std) or estimate.std >= 0
            assert estimate.cost_s >= 0
            assert all(isinstance(name, str) and float(value) is not None for name, value in estimate.figures.items())
        assert sorted(rank(estimates)) == list(range(len(estimates)))

    def test_random_generators_are_left_alone(self) -> None:
        estimator, context, architectures = self.estimator(), self.context(), self.architectures()[:1]
        torch.manual_seed(3)
        before = random_state(torch.device("cpu"))
        estimator.estimate_all(architectures, context)
        after = random_state(torch.device("cpu"))
        assert torch.equal(after.pop("torch"), before.pop("torch"))
        assert after == before

    def test_torch_is_left_as_it_was(self) -> None:
        def settings() -> tuple[object, ...]:
            hooks = nn.modules.module
            several = (hooks._global_forward_hooks, hooks._global_forward_pre_hooks, hooks._global_backward_hooks)
            return torch.get_default_dtype(), torch.is_grad_enabled(), [len(each) for each in several]

        before = settings()
        self.estimator().estimate_all(self.architectures()[:1], self.context())
        assert settings() == before

    def test_inputs_are_left_as_they_were(self) -> None:
        context = self.context()
        before = copy.deepcopy(context.inputs)
        self.estimator().estimate_all(self.architectures()[:1], context)
        for one, other in zip(before, context.inputs, strict=True):
            if isinstance(one, Tensor):
                assert torch.equal(one, other)
                assert (other.requires_grad, other.grad) == (False, None)

    def test_an_estimator_comes_through_pickle(self) -> None:
        estimator, architectures = self.estimator(), self.architectures()[:1]
        copied: Estimator = pickle.loads(pickle.dumps(estimator))
        first, second = (one.estimate_all(architectures, self.context())[0] for one in (estimator, copied))
        assert first.score == second.score

    def test_a_module_is_judged_and_left_as_it_was(self) -> None:
        if not self.judges_modules:
            pytest.skip("this estimator judges architectures alone")
        context = self.context()
        architecture = self.architectures()[0]
        network = context.network(architecture)
        next(iter(network.modules())).training = False
        before = _state(network)
        judged = self.estimator().estimate_all([network], context)[0]
        assert judged.valid, judged.reason
        assert _differing(before, _state(network)) == [], "the candidate is not what it was"

    def test_a_module_is_worth_what_its_architecture_is(self) -> None:
        if not self.judges_modules:
            pytest.skip("this estimator judges architectures alone")
        context = self.context()
        architecture = self.architectures()[0]
        of_both = self.estimator().estimate_all([architecture, context.network(architecture)], context)
        assert of_both[0].score == pytest.approx(of_both[1].score, rel=1e-6)

    def test_what_cannot_be_judged_ranks_last_and_harms_no_other(self) -> None:
        architectures = self.architectures()
        foreign = Architecture("no such space", 1, {"width": 1})
        broken: list[Any] = [foreign, *([_Broken()] if self.judges_modules else [nn.Identity()])]
        estimates = self.estimator().estimate_all([*broken, *architectures], self.context())
        alone = self.estimator().estimate_all(architectures, self.context())
        assert [estimate.score for estimate in estimates[2:]] == [estimate.score for estimate in alone]
        assert not estimates[0].valid, "an architecture of another space was judged"
        assert estimates[0].reason
        assert 0 in rank(estimates)[-2:]
        assert estimates[1].valid or 1 in rank(estimates)[-2:]


class _Broken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, *inputs: Any) -> Tensor:
        raise RuntimeError("this network cannot be run")


def _state(network: nn.Module) -> dict[str, Any]:
    state: dict[str, Any] = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state |= {f"{name}: buffer": tensor.clone() for name, tensor in network.named_buffers()}
    for name, module in network.named_modules():
        hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
        state[f"{name}: mode and hooks"] = (module.training, [len(each) for each in hooks])
    for name, weight in network.named_parameters():
        state[f"{name}: learned"] = (weight.requires_grad, weight.grad is None)
    return state


def _differing(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    def same(one: Any, other: Any) -> bool:
        return torch.equal(one, other) if isinstance(one, Tensor) else one == other

    return [name for name in first if name not in second or not same(first[name], second[name])]


class PredictorContract(ABC):
    """The promises of every predictor: it learns from few scores of any size, and forgets what it learned before."""

    least_correlation = 0.6
    """Kendall's tau to the truth, of 120 architectures learned from."""

    @abstractmethod
    def predictor(self, space: SearchSpace, seed: int) -> Predictor:
        """The predictor, not fitted; equal at every call."""

    @abstractmethod
    def space(self) -> SearchSpace:
        """A space of architectures."""

    @abstractmethod
    def truth(self, architecture: Architecture) -> float:
        """A score that can be learned: a sum of what each choice contributes, say."""

    def sampled(self, count: int, seed: int = 0) -> list[Architecture]:
        """Random architectures."""
        generator = np.random.default_rng(seed)
        return [self.space().sample(generator) for _ in range(count)]

    def fitted(self, architectures: Sequence[Architecture], scores: Any = None) -> Predictor:
        """A new predictor, fitted to the truth, or to other scores."""
        predictor = self.predictor(self.space(), 0)
        predictor.fit(architectures, [self.truth(each) for each in architectures] if scores is None else scores)
        return predictor

    # The contract.

    def test_architectures_that_were_not_seen_are_ranked(self) -> None:
        others = self.sampled(100, seed=1)
        predictor = self.fitted(self.sampled(120))
        predicted = predictor.predict(others)
        assert predicted.shape == (100,)
        assert _kendall(predicted, np.array([self.truth(each) for each in others])) > self.least_correlation
        assert predictor.rank(others) == rank(predicted)

    def test_a_predictor_is_an_estimator(self) -> None:
        others = self.sampled(5, seed=1)
        predictor = self.fitted(self.sampled(30))
        assert isinstance(predictor, Estimator)
        assert predictor.learns
        estimates = predictor.estimate_all(others)
        assert [estimate.score for estimate in estimates] == pytest.approx(predictor.predict(others))
        # Networks of single precision round otherwise in a batch of one.
        assert predictor.estimate(others[0]).score == pytest.approx(estimates[0].score, rel=1e-5)

    def test_a_prediction_is_settled_by_seed_and_data_and_leaves_the_world_as_it_was(self) -> None:
        known, others = self.sampled(30), self.sampled(10, seed=1)
        predictions = []
        for _ in range(2):
            torch.rand(3)
            before = torch.get_rng_state()
            predictor = self.fitted(known)
            predictor.fit(known, [self.truth(each) for each in known])  # what was learned before is forgotten
            predictions.append(predictor.predict(others))
            assert torch.equal(before, torch.get_rng_state())
        np.testing.assert_array_equal(predictions[0], predictions[1])
        assert predictions[0].dtype == np.float64

    def test_a_fitted_predictor_comes_through_pickle(self) -> None:
        predictor, others = self.fitted(self.sampled(20)), self.sampled(4, seed=1)
        copied: Predictor = pickle.loads(pickle.dumps(predictor))
        np.testing.assert_array_equal(copied.predict(others), predictor.predict(others))

    def test_equal_scores_are_no_error_and_nothing_to_predict_is_none(self) -> None:
        predictor = self.fitted(self.sampled(8), np.full(8, 3.0))
        assert np.isfinite(predictor.predict(self.sampled(4, seed=1))).all()
        assert predictor.predict([]).shape == (0,)

    @pytest.mark.parametrize(
        "scores", [[0.1, 0.1, 0.1], [1.0, 2.0, 1e90], [-1e90, 1e90, 0.0], [0.0, 5e-324, 0.0]], ids=str
    )
    def test_few_scores_of_any_size_give_finite_predictions(self, scores: list[float]) -> None:
        for architectures in (self.sampled(3), self.sampled(1) * 3):
            predictor = self.fitted(architectures, scores)
            assert np.isfinite(predictor.predict(self.sampled(4, seed=1))).all()

    @pytest.mark.parametrize(
        ("count", "scores", "message"),
        [
            (1, [1.0], "at least two architectures; got 1"),
            (3, [1.0, 2.0], r"3 architectures need as many scores; got the shape \(2,\)"),
            (2, [1.0, math.nan], "not finite, nan of architecture 1"),
            (2, [-math.inf, 1.0], "not finite, -inf of architecture 0"),
            (2, [1e300, 1.0], r"not finite, 1e\+300 of architecture 0"),
        ],
        ids=str,
    )
    def test_data_that_cannot_be_fitted_are_named(self, count: int, scores: list[float], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            self.predictor(self.space(), 0).fit(self.sampled(count), scores)

    def test_predicting_before_fitting_is_refused(self) -> None:
        with pytest.raises(RuntimeError, match="predicts after `fit`"):
            self.predictor(self.space(), 0).predict(self.sampled(2))


def _kendall(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's tau-b."""
    signs = [np.sign(scores[:, None] - scores[None]) for scores in (first, second)]
    return float((signs[0] * signs[1]).sum() / np.sqrt((signs[0] ** 2).sum() * (signs[1] ** 2).sum()))
