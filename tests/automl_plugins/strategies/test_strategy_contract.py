"""Every registered strategy on every real space: within a cap, with closed options, and on two processes."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from on_spaces import OnAGNN, OnAutoDeepLab, OnEGNAS, OnGNNPlus, OnSeveralPaths, OnSpace
from torch import Tensor

from automl_plugins import ParameterCapError, registry
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.strategies import SearchStep, SingleLevel, Strategy
from automl_plugins.supernets.searchable import Searchable

# DiNTS needs independent connections, DARTS- options that are identities; they refuse other spaces.
OTHERS: dict[str, tuple[type[OnSpace], ...]] = {"dints": (OnSeveralPaths,), "darts-minus": (OnEGNAS, OnAutoDeepLab)}
SPACES: tuple[type[OnSpace], ...] = (OnAGNN, OnEGNAS, OnGNNPlus, OnAutoDeepLab)


def suites() -> dict[str, type[OnSpace]]:
    """Every strategy on every space that it takes; all but one of a strategy's are slow together."""
    made = {}
    for place, strategy in enumerate(registry.names("strategies")):
        spaces = OTHERS.get(strategy, SPACES)
        for number, space in enumerate(spaces):
            title = strategy.title().replace("-", "")
            own = {"name": strategy, "__module__": __name__}
            if number != place % len(spaces):
                own["pytestmark"] = pytest.mark.slow
            name = space.__name__.removeprefix("On")
            made[f"{strategy}, {name}"] = type(f"Test{title}{space.__name__}", (space,), own)
    return made


SUITES = suites()
globals().update({suite.__name__: suite for suite in SUITES.values()})
FIRST = [next(each for each in SUITES if each.startswith(f"{name}, ")) for name in registry.names("strategies")]
SAMPLE = {"darts", "random", "gdas", "unas"}
"""One for each kind of step: a mixture, a held architecture, drawn gates, gates of the strategy's own."""


def sampled(suite: str) -> Any:
    return pytest.param(suite, marks=() if suite.partition(",")[0] in SAMPLE else pytest.mark.slow)


class Fair(SingleLevel):
    """Two paths in each step of the weights, and a distance to the initial ones: a loss, a beginning and a state."""

    def begin(self, step: SearchStep) -> None:
        weights = [weight for each in step.searchables.values() for weight in each.weight_parameters()]
        self.initial = torch.cat([weight.detach().flatten() for weight in weights])
        self.seen = 0

    def architecture_loss(self, step: SearchStep) -> Tensor:
        self.seen += 1
        weights = [weight for each in step.searchables.values() for weight in each.weight_parameters()]
        distance = (torch.cat([weight.detach().flatten() for weight in weights]) - self.initial).norm()
        return super().architecture_loss(step) * (1 + self.seen + distance)

    def weight_gates(self, searchable: Searchable, step: SearchStep) -> Any:
        return searchable.sample(step.generator)

    def weight_loss(self, step: SearchStep) -> Tensor:
        paths = [{name: self.sample(each, step) for name, each in step.searchables.items()} for _ in range(2)]
        return step.mean_loss(paths)

    def sample(self, searchable: Searchable, step: SearchStep) -> Architecture:
        return searchable.sample(step.generator)

    def single_path(self, progress: float) -> bool:
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"initial": self.initial, "seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.initial, self.seen = state["initial"], state["seen"]


class TestFairOnAGNN(OnAGNN):
    made: ClassVar[type[Strategy]] = Fair

    def strategy(self) -> Strategy:
        return self.made()


class Forgetful(Fair):
    """A part of what it remembers is not in the checkpoint."""

    def state_dict(self) -> dict[str, Any]:
        return {"initial": self.initial}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.initial, self.seen = state["initial"], 0


class NeverForgets(Fair):
    """What the fit before has left is still there."""

    def begin(self, step: SearchStep) -> None:
        seen = getattr(self, "seen", 0)
        super().begin(step)
        self.seen = seen


class NotPlain(Fair):
    """Its state is an object, which would have to be unpickled."""

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "counter": Counter(self.initial)}


class Counter:
    def __init__(self, values: Tensor) -> None:
        self.values = values


class BeyondLimits(Fair):
    """Trains paths that the searchable would not draw."""

    def sample(self, searchable: Searchable, step: SearchStep) -> Architecture:
        return searchable.space.sample(step.generator)


def assert_fails(strategy: type[Strategy], test: Callable[[TestFairOnAGNN], None], error: Any, match: str) -> None:
    suite = TestFairOnAGNN()
    suite.made = strategy  # type: ignore[misc]
    with pytest.raises(error, match=match):
        test(suite)


def test_faults_that_are_planted_are_found(tmp_path: Path) -> None:
    """The contract can fail, each part of it."""
    resume = partial(TestFairOnAGNN.test_a_search_goes_on_from_a_checkpoint_to_the_last_bit, tmp_path=tmp_path)
    settled = partial(
        TestFairOnAGNN.test_a_search_is_settled_moves_logits_and_gives_the_searchable_back, tmp_path=tmp_path
    )
    within = partial(
        TestFairOnAGNN.test_what_is_closed_or_beyond_the_cap_is_neither_trained_nor_found, tmp_path=tmp_path
    )
    assert_fails(Forgetful, resume, AssertionError, "the search ends differently where it was interrupted")
    assert_fails(NotPlain, resume, pickle.UnpicklingError, "Counter")
    assert_fails(NeverForgets, settled, AssertionError, "two equal searches end differently")
    assert_fails(BeyondLimits, partial(within, limits="cap"), AssertionError, "beyond the cap was trained")
    assert_fails(BeyondLimits, partial(within, limits="closed"), ValueError, "closed")


@pytest.mark.filterwarnings("ignore:It is recommended to use `self.log")
@pytest.mark.parametrize("suite", [*map(sampled, FIRST)])
def test_two_processes_agree_bit_for_bit_within_limits(suite: str, tmp_path: Path) -> None:
    SUITES[suite]().assert_ranks_agree("closed", tmp_path)


@pytest.mark.filterwarnings("ignore:It is recommended to use `self.log")
def test_two_processes_agree_within_a_cap(tmp_path: Path) -> None:
    SUITES["random, EGNAS"]().assert_ranks_agree("cap and closed", tmp_path)


@pytest.mark.parametrize("suite", [*map(sampled, FIRST)])
def test_every_strategy_lives_with_half_precision_and_accumulation(suite: str, tmp_path: Path) -> None:
    made = SUITES[suite]()
    searchable = made.searchable()
    before = searchable.logits.detach().clone()
    made.search(searchable, tmp_path, precision="bf16-mixed", accumulate_grad_batches=2)
    assert searchable.logits.dtype == torch.float32
    assert searchable.logits.isfinite().all()
    assert not torch.equal(before, searchable.logits)
    made.assert_found(searchable, ~searchable.mask)


@pytest.mark.filterwarnings("ignore:It is recommended to use `self.log")
def test_two_processes_agree_where_the_strategy_gives_the_weights_loss(tmp_path: Path) -> None:
    TestFairOnAGNN().assert_ranks_agree("cap and closed", tmp_path)


def test_a_cap_that_nothing_keeps_is_refused_before_training(tmp_path: Path) -> None:
    suite = SUITES["darts, AGNN"]()
    searchable = suite.space(10).searchable(suite.task())
    before = searchable.logits.detach().clone()
    with pytest.raises(ParameterCapError, match="max_parameters=10 admits no network of the space 'agnn'"):
        suite.search(searchable, tmp_path)
    assert torch.equal(before, searchable.logits)
