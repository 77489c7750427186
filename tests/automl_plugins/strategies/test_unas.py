"""UNAS: the gradient is that of the expected loss of one-hot gates, on a problem that can be enumerated."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from on_spaces import OnEGNAS
from tiny import all_hard, gradient_of_expectation, gradients, loss, step_of, tiny_problem
from torch import Tensor

from automl_plugins.strategies import UNAS, SearchStep, Strategy
from automl_plugins.strategies.black_box import ridge
from automl_plugins.strategies.unas import draw
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.searchable import Searchable

DRAWS = 1000
STANDARD_ERRORS = 4.0
"""Of a mean over draws; one of five entries is beyond it by chance once in 3,000 times, and the draws are fixed."""
TEMPERATURE = 1.0
"""At which each of the three terms matters: without any of them the mean is further off."""


def exact_gradient(searchable: Searchable, gap: float) -> Tensor:
    """That of the expectation over all architectures, by enumeration."""

    def criterion(hard: Gates) -> Tensor:
        with searchable.hold(hard):
            training = loss(searchable, "training")
            return training + gap * (loss(searchable, "search data") - training).abs()

    return gradient_of_expectation(searchable, criterion)


def mean_and_error(searchable: Searchable, make_loss: Callable[[SearchStep], Tensor]) -> tuple[Tensor, Tensor]:
    """The mean gradient over draws, and its standard error."""
    drawn = gradients(searchable, make_loss, DRAWS)
    return drawn.mean(dim=0), drawn.std(dim=0) / DRAWS**0.5


def test_the_gradient_is_that_of_the_expected_loss_of_one_hot_gates() -> None:
    searchable = tiny_problem()
    exact = exact_gradient(searchable, gap=0.5)
    mean, error = mean_and_error(searchable, UNAS(gap=0.5, temperature=TEMPERATURE).architecture_loss)
    open_entries = searchable.mask & (exact != 0)
    deviations = ((mean - exact) / error)[open_entries]
    assert deviations.abs().max() < STANDARD_ERRORS
    assert error[open_entries].norm() < 0.1 * exact.norm(), "few enough draws would agree with anything"
    assert (mean[~searchable.mask] == 0).all(), "closed options do not learn"


def test_the_plain_concrete_gradient_would_be_told_apart() -> None:
    searchable = tiny_problem()
    strategy = UNAS(gap=0.5, temperature=TEMPERATURE)

    def biased(step: SearchStep) -> Tensor:
        matrix = strategy.relaxation()(searchable.logits, searchable.mask, step.generator)
        return strategy._criterion(step, {"net": type(searchable.gates())(searchable.choices, matrix)})

    exact = exact_gradient(searchable, gap=0.5)
    mean, error = mean_and_error(searchable, biased)
    deviations = ((mean - exact) / error)[searchable.mask & (exact != 0)]
    assert deviations.abs().max() > STANDARD_ERRORS


def test_the_conditional_sample_is_the_sample() -> None:
    searchable = tiny_problem()
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        hard, log_probability, soft = draw(searchable, 0.4, generator)
        assert torch.equal(hard.matrix.sum(dim=1), torch.ones(4, dtype=torch.float64))
        torch.testing.assert_close(soft.matrix.sum(dim=1), torch.ones(4, dtype=torch.float64))
        assert torch.equal(soft.matrix.argmax(dim=1), hard.matrix.argmax(dim=1))
        assert not (soft.matrix[~searchable.mask] != 0).any()
        shares = searchable.probabilities().matrix
        expected = (shares * hard.matrix).sum(dim=1).log().sum()
        torch.testing.assert_close(log_probability.detach(), expected)


@pytest.mark.parametrize("scale", [1.0, 30.0, 300.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_however_decided_the_logits_are(scale: float, dtype: torch.dtype) -> None:
    searchable = tiny_problem().to(dtype)
    with torch.no_grad():
        searchable.logits.mul_(scale)
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        made = UNAS(temperature=0.1).architecture_loss(step_of(searchable, generator))
        (gradient,) = torch.autograd.grad(made, searchable.logits)
        assert gradient.isfinite().all()


def test_a_step_trains_the_weights_with_the_sample_of_the_architecture() -> None:
    searchable = tiny_problem()
    step, strategy = step_of(searchable, torch.Generator()), UNAS()
    strategy.architecture_loss(step)
    gates = strategy.weight_gates(searchable, step)
    assert torch.equal(gates.matrix, step.shared[searchable].soft.matrix)
    assert not gates.matrix.requires_grad


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"gap": -1.0}, "gap is the weight of the generalisation gap, at least 0; got -1.0"),
        ({"gap": float("nan")}, "gap is the weight of the generalisation gap, at least 0; got nan"),
        ({"temperature": 0.0}, "temperature is a temperature, greater than 0; got 0.0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        UNAS(**arguments)


# A black-box cost


def parameters(searchable: Searchable, hard: Gates, target: float | None) -> float:
    """The excess of the parameters, counted from the network that the gates stand for."""
    network = searchable.space.network(searchable.space.decode(hard), searchable.task)
    count = sum(weight.numel() for weight in network.parameters())
    return count if target is None else max(count / target - 1.0, 0.0)


def no_loss(searchable: Searchable, batch: str) -> Tensor:
    return 0.0 * searchable.gates().matrix.sum()


def costly(searchable: Searchable) -> UNAS:
    """A cost alone, with a target that some architectures keep."""
    strategy = UNAS(gap=0.0, temperature=TEMPERATURE, cost_weight=1.0, cost="params", target=50.0, cost_samples=50)
    strategy.begin(step_of(searchable))
    return strategy


def drawn_gradients(searchable: Searchable, make_loss: Callable[[SearchStep], Tensor]) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    steps = (step_of(searchable, generator, of=no_loss) for _ in range(DRAWS))
    return torch.stack([torch.autograd.grad(make_loss(step), searchable.logits)[0] for step in steps])


def test_the_gradient_of_a_black_box_cost_is_unbiased_and_varies_less_than_reinforce() -> None:
    searchable = tiny_problem()
    exact = gradient_of_expectation(searchable, lambda hard: torch.tensor(parameters(searchable, hard, 50.0)))
    ours = drawn_gradients(searchable, costly(searchable).architecture_loss)
    known = {hard.matrix: parameters(searchable, hard, 50.0) for hard, _ in all_hard(searchable)}
    mean_cost = sum(known.values()) / len(known)

    def reinforce(baseline: float) -> Callable[[SearchStep], Tensor]:
        def made(step: SearchStep) -> Tensor:
            sample = draw(searchable, TEMPERATURE, step.generator)
            cost = next(value for matrix, value in known.items() if torch.equal(matrix, sample.hard.matrix))
            return (cost - baseline) * sample.log_probability

        return made

    error = ours.std(dim=0) / DRAWS**0.5
    open_entries = searchable.mask & (exact != 0)
    assert ((ours.mean(dim=0) - exact) / error)[open_entries].abs().max() < STANDARD_ERRORS
    plain, with_baseline = (drawn_gradients(searchable, reinforce(each)).var(dim=0).sum() for each in (0.0, mean_cost))
    variance = ours.var(dim=0).sum()
    assert variance <= 0.6 * plain
    assert variance < with_baseline


def test_the_regression_is_that_of_the_normal_equations() -> None:
    generator = torch.Generator().manual_seed(0)
    rows, values = (torch.randn(size, generator=generator, dtype=torch.float64) for size in ((30, 4), (30,)))
    found = ridge(rows, values).requires_grad_()
    penalised = (values - rows @ found[:-1] - found[-1]).square().sum() + found[:-1].square().sum()
    (slope,) = torch.autograd.grad(penalised, found)
    torch.testing.assert_close(slope, torch.zeros_like(slope))


def test_a_cost_below_the_target_is_none_and_each_architecture_is_measured_once() -> None:
    searchable = tiny_problem()
    strategy = costly(searchable)
    step = step_of(searchable)
    for hard, _ in all_hard(searchable):
        assert strategy._box.of(step, "net", hard) == pytest.approx(parameters(searchable, hard, 50.0))
    again = UNAS(cost_weight=1.0, cost="params")
    again.load_state_dict(strategy.state_dict())
    assert again.state_dict() == strategy.state_dict()
    strategy.begin(step)
    assert len(strategy.state_dict()["known"]["net"]) == 6


class TestCostlyOnEGNAS(OnEGNAS):
    """The contract with a cost: what was measured is in the checkpoint."""

    def strategy(self) -> Strategy:
        return UNAS(cost_weight=0.1, cost="macs", cost_samples=4)
