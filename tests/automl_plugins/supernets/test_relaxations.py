"""How logits become gates: what every relaxation keeps, and what is each one's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from automl_plugins import registry
from automl_plugins.supernets.relaxations import Concrete, Relaxation, Sigmoid, Softmax, StraightThrough

ALL = (Softmax, Concrete, StraightThrough, Sigmoid)
SUMMING = (Softmax, Concrete, StraightThrough)
EVERY = pytest.mark.parametrize("kind", ALL)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@st.composite
def logits_and_mask(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Any logits, small or huge, of choices with any of their options closed, all of them included."""
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    values = st.one_of(st.floats(-3, 3), st.sampled_from((-1e4, 1e4)))
    logits = [draw(st.lists(values, min_size=columns, max_size=columns)) for _ in range(rows)]
    mask = [draw(st.lists(st.booleans(), min_size=columns, max_size=columns)) for _ in range(rows)]
    return torch.tensor(logits, dtype=draw(st.sampled_from((torch.float32, torch.float64)))), torch.tensor(mask)


TEMPERATURES = st.sampled_from((0.03, 0.5, 1.0, 7.0))


@EVERY
@given(given_=logits_and_mask(), temperature=TEMPERATURES, seed=st.none() | st.integers(0, 2**31))
def test_closed_options_are_exactly_zero_and_nothing_is_nan(
    kind: type[Relaxation], given_: tuple[Tensor, Tensor], temperature: float, seed: int | None
) -> None:
    logits, mask = given_
    logits.requires_grad_()
    relaxation = kind(temperature)
    gates = relaxation(logits, mask, None if seed is None else generator(seed))
    assert gates.shape == logits.shape
    assert gates.dtype == logits.dtype
    assert not gates[~mask].any()
    assert (gates >= 0).all()
    assert gates.isfinite().all()
    assert not relaxation.probabilities(logits, mask)[~mask].any()
    gates.square().sum().backward()
    assert logits.grad.isfinite().all()
    assert not logits.grad[~mask].any()


@pytest.mark.parametrize("kind", SUMMING)
@given(given_=logits_and_mask(), temperature=TEMPERATURES, seed=st.none() | st.integers(0, 2**31))
def test_rows_with_an_open_option_sum_to_one(
    kind: type[Relaxation], given_: tuple[Tensor, Tensor], temperature: float, seed: int | None
) -> None:
    logits, mask = given_
    expected = mask.any(dim=1).to(logits.dtype)
    relaxation = kind(temperature)
    for matrix in (
        relaxation(logits, mask, None if seed is None else generator(seed)),
        relaxation.probabilities(logits, mask),
    ):
        torch.testing.assert_close(matrix.sum(dim=1), expected, rtol=0, atol=1e-6)


@EVERY
def test_a_lower_temperature_makes_gates_sharper(kind: type[Relaxation]) -> None:
    logits, mask = torch.tensor([[0.3, -0.2, 0.1]], dtype=torch.float64), torch.ones(1, 3, dtype=torch.bool)
    relaxation = kind()
    spreads = []
    for temperature in (10.0, 1.0, 0.1):
        relaxation.temperature = temperature
        # A straight-through gate is one-hot at any temperature; its gradient is not.
        soft = Concrete(temperature)(logits, mask) if kind is StraightThrough else relaxation(logits, mask)
        spreads.append(float(soft.max() - soft.min()))
    assert spreads == sorted(spreads)
    assert spreads[2] > 5 * spreads[1] or kind is Sigmoid
    assert spreads[1] > 5 * spreads[0]


def test_the_temperature_reaches_the_gradient_of_straight_through_gates() -> None:
    mask = torch.ones(1, 2, dtype=torch.bool)
    gradients = []
    for temperature in (1.0, 4.0):
        logits = torch.tensor([[0.5, -0.5]], requires_grad=True)
        StraightThrough(temperature)(logits, mask, generator(3))[0, 0].backward()
        gradients.append(float(logits.grad[0, 0]))
    assert gradients[0] != pytest.approx(gradients[1], rel=0.1)


@EVERY
@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_a_temperature_that_is_not_above_zero_is_refused(kind: type[Relaxation], temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature is greater than 0; got"):
        kind(temperature)
    relaxation = kind()
    with pytest.raises(ValueError, match="temperature is greater than 0; got"):
        relaxation.temperature = temperature


def test_softmax_is_the_formula_and_sigmoid_gates_do_not_compete() -> None:
    logits, mask = torch.tensor([[0.0, math.log(3.0), 5.0]]), torch.tensor([[True, True, False]])
    torch.testing.assert_close(Softmax()(logits, mask), torch.tensor([[0.25, 0.75, 0.0]]))
    torch.testing.assert_close(Softmax(0.5)(logits, mask), torch.tensor([[0.1, 0.9, 0.0]]))
    torch.testing.assert_close(Sigmoid()(logits, mask), torch.tensor([[0.5, 0.75, 0.0]]))
    raised = logits + torch.tensor([[9.0, 0.0, 0.0]])
    assert Sigmoid()(raised, mask)[0, 1] == Sigmoid()(logits, mask)[0, 1]


@pytest.mark.parametrize("kind", [Concrete, StraightThrough])
@pytest.mark.parametrize("temperature", [0.2, 1.0, 5.0])
def test_the_largest_gate_falls_on_each_option_as_often_as_it_is_probable(
    kind: type[Relaxation], temperature: float
) -> None:
    draws = 20_000
    logits = torch.tensor([0.1, 1.2, -0.7, 0.4], dtype=torch.float64).repeat(draws, 1)
    mask = torch.tensor([True, True, True, False]).repeat(draws, 1)
    relaxation = kind(temperature)
    gates = relaxation(logits, mask, generator())
    frequencies = gates.argmax(dim=1).bincount(minlength=4) / draws
    expected = relaxation.probabilities(logits[:1], mask[:1])[0]
    # Five standard deviations of a frequency.
    assert float((frequencies - expected).abs().max()) < 5 * 0.5 / math.sqrt(draws)
    assert frequencies[3] == 0


def test_concrete_gates_are_the_softmax_of_the_logits_and_the_noise_by_temperature() -> None:
    logits, mask = torch.tensor([[0.3, -1.0, 2.0]], dtype=torch.float64), torch.ones(1, 3, dtype=torch.bool)
    uniform = torch.rand(1, 3, generator=generator(5), dtype=torch.float64)
    expected = ((logits - (-uniform.log()).log()) / 0.7).softmax(dim=1)
    torch.testing.assert_close(Concrete(0.7)(logits, mask, generator(5)), expected)


@given(given_=logits_and_mask(), temperature=TEMPERATURES, seed=st.integers(0, 2**31))
def test_straight_through_gates_are_exactly_one_hot(
    given_: tuple[Tensor, Tensor], temperature: float, seed: int
) -> None:
    logits, mask = given_
    gates = StraightThrough(temperature)(logits.requires_grad_(), mask, generator(seed))
    for row, open_options in zip(gates.tolist(), mask.tolist(), strict=True):
        assert sorted(row) == sorted([1.0] * any(open_options) + [0.0] * (len(row) - any(open_options)))


@given(seed=st.integers(0, 2**31))
def test_the_drawn_gate_has_the_gradient_of_the_soft_one(seed: int) -> None:
    values = torch.randn(1, 4, generator=generator(seed), dtype=torch.float64)
    mask = torch.tensor([[True, True, True, False]])
    gradients = []
    drawn = int(StraightThrough(0.8)(values, mask, generator(seed)).argmax())
    for kind in (StraightThrough, Concrete):
        logits = values.clone().requires_grad_()
        kind(0.8)(logits, mask, generator(seed))[0, drawn].backward()
        gradients.append(logits.grad)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-15)
    assert gradients[0][0, :3].abs().min() > 0


@EVERY
def test_without_a_generator_nothing_is_drawn(kind: type[Relaxation]) -> None:
    logits, mask = torch.tensor([[0.3, -0.2, 0.1]]), torch.ones(1, 3, dtype=torch.bool)
    assert torch.equal(kind()(logits, mask), kind()(logits, mask))
    if kind is Concrete:
        torch.testing.assert_close(kind()(logits, mask), Softmax()(logits, mask))
    if kind is StraightThrough:
        assert kind()(logits, mask).tolist() == [[1.0, 0.0, 0.0]]


@EVERY
def test_draws_are_settled_by_the_generator_and_no_global_one_is_touched(kind: type[Relaxation]) -> None:
    logits, mask = torch.tensor([[0.3, -0.2, 0.1]]), torch.ones(1, 3, dtype=torch.bool)
    torch_state, numpy_state = torch.get_rng_state(), repr(np.random.get_state(legacy=False))  # noqa: NPY002
    same = [kind()(logits, mask, generator(1)) for _ in range(2)]
    others = [kind()(logits, mask, generator(seed)) for seed in range(2, 12)]
    assert torch.equal(*same)
    assert any(not torch.equal(same[0], other) for other in others) == kind.stochastic
    assert torch.equal(torch_state, torch.get_rng_state())
    assert numpy_state == repr(np.random.get_state(legacy=False))  # noqa: NPY002


def test_each_is_found_by_its_name() -> None:
    expected = {"softmax": Softmax, "concrete": Concrete, "straight-through": StraightThrough, "sigmoid": Sigmoid}
    assert {name: registry.load("relaxations", name) for name in expected} == expected
    assert [kind.stochastic for kind in ALL] == [False, True, True, False]
    assert [kind.single_path for kind in ALL] == [False, False, True, False]
