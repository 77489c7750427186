"""Regularizers, perturbations, relaxations and decoders go with any strategy, or are refused with the reason."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from on_spaces import OnAGNN
from tiny import all_hard, factors, loss, step_of, tiny_problem
from torch import Tensor

from automl_plugins import registry
from automl_plugins.search import ArchitectureSearch
from automl_plugins.strategies import DARTS, GDAS, SNAS, UNAS, RandomSearch, Strategy, composition
from automl_plugins.strategies.perturbations import SDARTSAdversarial, SDARTSRandom
from automl_plugins.strategies.regularizers import BetaDecay, ExpectedCost, ZeroOne
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.relaxations import Sigmoid
from automl_plugins.supernets.searchable import Searchable

EVERYTHING: dict[str, Any] = {"regularizers": ["beta", "cost", "zero-one"], "perturbation": "sdarts-adversarial"}


def open_rows(searchable: Searchable) -> list[list[float]]:
    """The logits of open options, of rows with several of them."""
    rows = zip(searchable.logits.tolist(), searchable.mask.tolist(), strict=True)
    found = [[value for value, is_open in zip(*row, strict=True) if is_open] for row in rows]
    return [row for row in found if len(row) > 1]


@pytest.mark.parametrize("progress", [0.0, 0.25, 1.0])
def test_beta_decay_is_the_mean_of_the_rows_smoothed_maxima(progress: float) -> None:
    searchable = tiny_problem()
    smoothed = [math.log(sum(map(math.exp, row))) for row in open_rows(searchable)]
    term = BetaDecay(weight=8.0)(step_of(searchable, progress=progress))
    assert term.item() == pytest.approx(8.0 * progress * sum(smoothed) / len(smoothed))
    (gradient,) = torch.autograd.grad(term, searchable.logits)
    # Its gradient is the softmax of each row: a decay that is stronger where a logit stands out.
    expected = searchable.probabilities().matrix * 8.0 * progress / len(smoothed)
    several = searchable.mask.sum(dim=1, keepdim=True) > 1
    torch.testing.assert_close(gradient, torch.where(several, expected, 0.0))


def test_zero_one_is_the_mean_square_distance_from_one_half() -> None:
    searchable = tiny_problem()
    searchable.relaxation = Sigmoid()
    term = ZeroOne(weight=3.0)(step_of(searchable))
    rows = zip(searchable.logits.flatten().tolist(), searchable.mask.flatten().tolist(), strict=True)
    distances = [(1 / (1 + math.exp(-value)) - 0.5) ** 2 for value, is_open in rows if is_open]
    assert term.item() == pytest.approx(-3.0 * sum(distances) / len(distances))


def test_the_expected_cost_is_that_of_all_architectures_by_their_probability(trainer: Callable[..., Any]) -> None:
    searchable = tiny_problem()
    searchable.open("layer1.width", 2, 4)
    costs = searchable.space.option_costs(searchable.task, figure="params")
    cost = ExpectedCost(weight=2.0)
    cost.load_state_dict({"net": costs})
    expected = torch.zeros((), dtype=torch.float64)

    for hard, probability in all_hard(searchable):
        expected = expected + probability * (hard.matrix * costs).sum()
    torch.testing.assert_close(cost(step_of(searchable)), 2.0 * expected)


# Perturbations.


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.floats(0, 2), scale=st.floats(0.1, 20))
def test_perturbed_gates_are_near_within_the_simplex_and_closed_where_they_were(
    seed: int, size: float, scale: float
) -> None:
    searchable = tiny_problem()
    with torch.no_grad():
        searchable.logits.mul_(scale)
    plain = searchable.gates()
    before = Gates(plain.choices, plain.matrix.detach())
    generator = torch.Generator().manual_seed(seed)
    (after,) = SDARTSRandom(size, size)(step_of(searchable, generator), {"net": before}).values()
    assert (after.matrix[~searchable.mask] == 0).all()
    assert (after.matrix >= 0).all()
    torch.testing.assert_close(after.matrix.sum(dim=1), before.matrix.sum(dim=1))
    # A row of n gates is moved by size at most, and scaled by at most 1 / (1 - n size).
    if size == 0:
        torch.testing.assert_close(after.matrix, before.matrix)


def test_the_size_of_a_perturbation_grows_from_start_to_end() -> None:
    searchable = tiny_problem()
    before = {"net": Gates(searchable.choices, searchable.gates().matrix.detach())}
    distances = []
    for progress in (0.0, 0.5, 1.0):
        after = SDARTSRandom(0.01, 0.2)(step_of(searchable, progress=progress), before)["net"]
        distances.append(float((after.matrix - before["net"].matrix).abs().max()))
    assert distances[0] < 0.02
    assert distances == sorted(distances)


def linear(searchable: Searchable, batch: str) -> Tensor:
    return (searchable.gates().matrix * factors(searchable, batch)).sum()


def test_the_adversary_finds_the_worst_gates_of_a_linear_loss() -> None:
    """Of two options whose gates add up to 1, it takes the size from the better one and gives it to the worse one."""
    searchable = tiny_problem()
    with torch.no_grad():
        searchable.logits.zero_()
    before = Gates(searchable.choices, searchable.gates().matrix.detach())
    step = step_of(searchable, of=linear)
    after = SDARTSAdversarial(0.1, 0.1)(step, {"net": before})["net"].matrix
    row = next(row for row, choice in enumerate(searchable.choices) if choice.name == "activation")
    slopes = factors(searchable, "training")[row][:2].tolist()
    expected = [0.6, 0.4] if slopes[0] > slopes[1] else [0.4, 0.6]
    # Both are moved by as much as they may be, so that they still add up to 1.
    assert after[row][:2].tolist() == pytest.approx(expected)


def test_the_adversary_is_worse_than_noise() -> None:
    searchable = tiny_problem()
    plain = {"net": Gates(searchable.choices, searchable.gates().matrix.detach())}

    def raised(made: SDARTSRandom, seed: int) -> float:
        step = step_of(searchable, torch.Generator().manual_seed(seed))
        return float(step.loss_of(made(step, plain), "training"))

    noise = [raised(SDARTSRandom(0.1, 0.1), seed) for seed in range(20)]
    assert min(raised(SDARTSAdversarial(0.1, 0.1), seed) for seed in range(3)) >= max(noise)


# Composition.


def test_the_loss_of_the_logits_is_that_of_the_strategy_and_of_all_terms() -> None:
    searchable = tiny_problem()
    step = step_of(searchable, progress=0.5)
    strategy = DARTS(regularizers=[BetaDecay(2.0), ZeroOne(3.0)])
    expected = loss(searchable, "search data") + BetaDecay(2.0)(step) + ZeroOne(3.0)(step)
    torch.testing.assert_close(composition.loss_of_logits(strategy, step), expected)


def test_a_relaxation_that_is_given_takes_the_place_of_the_strategys_own() -> None:
    strategy = DARTS(relaxation=Sigmoid(2.0))
    first, second = strategy.starting_relaxation(), strategy.starting_relaxation()
    assert isinstance(first, Sigmoid)
    assert first.temperature == 2.0
    assert first is not second, "each searchable has its own"


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (
            lambda: RandomSearch(regularizers=["beta"]),
            "regularizers cannot be combined with RandomSearch: it",
        ),
        (lambda: RandomSearch(perturbation="sdarts-random"), "perturbation cannot be combined with RandomSearch"),
        (
            lambda: UNAS(relaxation="sigmoid"),
            "relaxation cannot be combined with UNAS: its gradient is one of concrete",
        ),
        (lambda: DARTS(regularizers="beta"), r"regularizers is a list of names, .* got 'beta'; write \[beta\]"),
        (lambda: DARTS(regularizers=["bta"]), "there is no 'bta' among the regularizers; did you mean 'beta'"),
        (lambda: DARTS(regularizers=[3]), "regularizers has 3, which is neither a registered name nor"),
        (lambda: DARTS(perturbation=3), "perturbation is a registered name or a Perturbation; got 3"),
        (lambda: BetaDecay(-1.0), "weight is a number of at least 0; got -1.0"),
        (lambda: ZeroOne(float("nan")), "weight is a number of at least 0; got nan"),
        (lambda: SDARTSRandom(end=-0.1), "end is a number of at least 0; got -0.1"),
        (lambda: SDARTSAdversarial(steps=0), "steps is at least 1; got 0"),
        (lambda: ExpectedCost(figure="seconds"), "figure is one of params, macs, activation_mib, latency_ms; got 'sec"),
    ],
)
def test_what_cannot_be_combined_is_refused_with_the_reason(make: Callable[[], Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make()


@pytest.mark.parametrize(
    ("search", "complaint"),
    [
        (
            lambda: ArchitectureSearch(GDAS(perturbation="sdarts-random")),
            "perturbation=SDARTSRandom cannot be combined with StraightThrough of GDAS, which runs one option",
        ),
        (
            lambda: ArchitectureSearch("random", decoder="most-likely"),
            "decoder=MostLikely reads logits, and RandomSearch learns none; take one that compares",
        ),
    ],
)
def test_parts_that_do_not_go_together_are_refused_before_training(
    trainer: Callable[..., pl.Trainer], search: Callable[[], ArchitectureSearch], complaint: str
) -> None:
    from search_project import LitUser, UserData

    with pytest.raises(ValueError, match=complaint):
        trainer(search()).fit(LitUser(), datamodule=UserData())


def test_the_searchs_decoder_takes_the_place_of_the_strategys(trainer: Callable[..., pl.Trainer]) -> None:
    from search_project import LitUser, UserData

    seen: list[Searchable] = []
    best_sampled = registry.load("decoders", "best-sampled")

    class Spy(best_sampled):  # type: ignore[misc]
        def __call__(self, searchable: Searchable, evaluate: Any) -> Any:
            seen.append(searchable)
            return super().__call__(searchable, evaluate)

    module = LitUser()
    trainer(ArchitectureSearch("darts", decoder=Spy(samples=3)), max_epochs=1).fit(module, datamodule=UserData())
    assert seen == [module.net]


class TestEverythingAtOnce(OnAGNN):
    """The contract of strategies with all components, whose memory is in the checkpoint."""

    def strategy(self) -> Strategy:
        return SNAS(cost_weight=0.1, cost="macs", **EVERYTHING)
