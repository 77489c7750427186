"""Estimators of gradients, against the gradient of the expected loss of one-hot gates by enumeration."""

from __future__ import annotations

import pytest
import torch
from tiny import all_hard, factors, gradient_of_expectation, loss, step_of, tiny_problem
from torch import Tensor
from torch.nn import functional

from automl_plugins.strategies import GAEA
from automl_plugins.strategies.drnas import divergence
from automl_plugins.supernets.dirichlet import Dirichlet, concentrations
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.reinmax import ReinMax, second_order
from automl_plugins.supernets.relaxations import Concrete, Relaxation
from automl_plugins.supernets.searchable import Searchable

DRAWS = 20_000


def batched_loss(searchable: Searchable, gates: Tensor) -> Tensor:
    """`tiny.loss` on the training batch of many gates at once, `[draws]`."""
    each = factors(searchable, "training")
    return (2 * (gates * each).sum(dim=(1, 2))).tanh() + (gates * each.flip(0)).sum(dim=(1, 2)).square()


def mean_gradient(searchable: Searchable, relaxation: Relaxation) -> Tensor:
    """The mean over many draws, taken at once: each row of logits as often as there are draws."""
    logits = searchable.logits.detach().repeat(DRAWS, 1).requires_grad_()
    gates = relaxation(logits, searchable.mask.repeat(DRAWS, 1), torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad(batched_loss(searchable, gates.view(DRAWS, *searchable.mask.shape)).sum(), logits)
    return gradient.view(DRAWS, *searchable.mask.shape).mean(dim=0)


def exact(searchable: Searchable) -> Tensor:
    def criterion(hard: Gates) -> Tensor:
        with searchable.hold(hard):
            return loss(searchable, "training")

    return gradient_of_expectation(searchable, criterion)


def cosine(first: Tensor, second: Tensor) -> float:
    return float(functional.cosine_similarity(first.flatten(), second.flatten(), dim=0))


def test_many_losses_at_once_are_those_of_one_after_the_other() -> None:
    searchable = tiny_problem()
    hards = [hard for hard, _ in all_hard(searchable)]
    many = batched_loss(searchable, torch.stack([hard.matrix for hard in hards]))
    for value, hard in zip(many, hards, strict=True):
        with searchable.hold(hard):
            torch.testing.assert_close(value, loss(searchable, "training"))


def test_the_concrete_gradient_of_snas_points_where_the_exact_one_does() -> None:
    searchable = tiny_problem()
    assert cosine(mean_gradient(searchable, Concrete(0.5)), exact(searchable)) >= 0.9


# ReinMax


def quadratic(searchable: Searchable, gates: Tensor) -> Tensor:
    each = factors(searchable, "training")
    return (gates * each).sum().square() + (gates * each.flip(1)).sum()


def mean_over_draws(searchable: Searchable, temperature: float) -> Tensor:
    """The exact mean of ReinMax's gradient, by enumeration of all that it may draw."""
    mean = torch.zeros_like(searchable.logits)
    for hard, probability in all_hard(searchable):
        gates = second_order(searchable.logits, searchable.mask, hard.matrix, temperature)
        (gradient,) = torch.autograd.grad(quadratic(searchable, gates), searchable.logits)
        mean = mean + probability.detach() * gradient
    return mean


def test_reinmax_is_exact_in_the_mean_for_quadratic_losses() -> None:
    searchable = tiny_problem()
    expected = gradient_of_expectation(searchable, lambda hard: quadratic(searchable, hard.matrix))
    torch.testing.assert_close(mean_over_draws(searchable, 1.0), expected, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(mean_over_draws(searchable, 2.0), expected, rtol=1e-2), "at another temperature it is not"


def test_reinmax_draws_options_by_their_probability_and_runs_all_open_ones() -> None:
    searchable = tiny_problem()
    logits, mask = searchable.logits.repeat(DRAWS, 1), searchable.mask.repeat(DRAWS, 1)
    gates = ReinMax()(logits, mask, torch.Generator().manual_seed(0)).detach()
    assert ((gates != 0) == mask).all()
    drawn = (gates == 1).view(DRAWS, *searchable.mask.shape).double()
    assert (drawn.sum(dim=2) == 1).all()
    shares = searchable.probabilities().matrix
    error = (shares * (1 - shares) / DRAWS).sqrt()
    assert ((drawn.mean(dim=0) - shares).abs() <= 4.5 * error + 1e-12).all()


# DrNAS


def test_dirichlet_gates_have_the_mean_of_the_distribution_and_its_derivative() -> None:
    searchable = tiny_problem()
    weights = factors(searchable, "training")
    logits = searchable.logits.detach().repeat(DRAWS, 1).requires_grad_()
    gates = Dirichlet()(logits, searchable.mask.repeat(DRAWS, 1), torch.Generator().manual_seed(0))
    gates = gates.view(DRAWS, *searchable.mask.shape)
    assert (gates[:, ~searchable.mask] == 0).all()
    (drawn,) = torch.autograd.grad((gates * weights).sum(), logits)
    drawn = drawn.view(DRAWS, *searchable.mask.shape)
    # The mean of a Dirichlet distribution is the share of each concentration, in closed form.
    own = searchable.logits.detach().clone().requires_grad_()
    c = torch.where(searchable.mask, functional.elu(own) + 1, 0.0)
    means = c / c.sum(dim=1, keepdim=True)
    (expected,) = torch.autograd.grad((means * weights).sum(), own)
    for values, exact_ones in ((gates.detach(), means.detach()), (drawn, expected)):
        error = values.std(dim=0) / DRAWS**0.5
        assert ((values.mean(dim=0) - exact_ones).abs() <= 4.5 * error + 1e-9).all()
    torch.testing.assert_close(Dirichlet().probabilities(searchable.logits, searchable.mask), means)


@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_dirichlet_gates_and_gradients_are_finite_however_decided_the_logits_are(scale: float) -> None:
    searchable = tiny_problem()
    logits = (searchable.logits.detach() * scale).float().requires_grad_()
    for seed in range(50):
        gates = Dirichlet()(logits, searchable.mask, torch.Generator().manual_seed(seed))
        (gradient,) = torch.autograd.grad(gates.square().sum(), logits)
        assert gates.isfinite().all()
        assert gradient.isfinite().all()


def test_the_divergence_is_that_of_torchs_distributions() -> None:
    searchable = tiny_problem()
    expected = torch.zeros((), dtype=torch.float64)
    for logits, mask in zip(searchable.logits, searchable.mask, strict=True):
        c = concentrations(logits[mask])
        if len(c) > 1:
            pair = (torch.distributions.Dirichlet(each) for each in (c, torch.ones_like(c)))
            expected = expected + torch.distributions.kl_divergence(*pair)
    found = divergence(searchable.logits, searchable.mask)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(each, searchable.logits)[0] for each in (found, expected)]
    torch.testing.assert_close(*gradients)


# GAEA


def test_gaea_multiplies_gates_by_the_exponential_of_their_gradient() -> None:
    searchable, rate = tiny_problem(), 0.3
    strategy = GAEA()
    searchable.relaxation = strategy.relaxation()
    optimizer = strategy.optimizer([searchable.logits], rate, 0.0, (0.5, 0.999))
    for _ in range(3):
        before = searchable.gates().matrix.detach().clone().requires_grad_()
        with searchable.hold(Gates(searchable.choices, before)):
            (slope,) = torch.autograd.grad(loss(searchable, "search data"), before)
        multiplied = torch.where(searchable.mask, before.detach() * (-rate * slope).exp(), 0.0)
        expected = multiplied / multiplied.sum(dim=1, keepdim=True)
        optimizer.zero_grad()
        strategy.architecture_loss(step_of(searchable)).backward()
        optimizer.step()
        torch.testing.assert_close(searchable.gates().matrix.detach(), expected)
