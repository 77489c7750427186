"""UNAS: the gradient is that of the expected loss of one-hot gates, on a problem that can be enumerated."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tiny import gradient_of_expectation, gradients, loss, step_of, tiny_problem
from torch import Tensor

from automl_plugins.strategies import UNAS, SearchStep
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
