"""Gates: a mapping from choices to weights of their options, over one matrix."""

from __future__ import annotations

import pytest
import torch

from automl_plugins import Choice
from automl_plugins.supernets.gates import Gates, matrix_shape, option_mask

CHOICES = (Choice("operation", ("sum", "mean", "max")), Choice("deep", (False, True)))
WEIGHTS = {"operation": torch.tensor([0.2, 0.0, 0.8]), "deep": torch.tensor([0.0, 1.0])}


def test_the_matrix_has_a_row_for_each_choice_and_a_column_for_each_option_of_the_largest() -> None:
    assert matrix_shape(CHOICES) == (2, 3)
    assert option_mask(CHOICES).tolist() == [[True, True, True], [True, True, False]]
    gates = Gates.of(CHOICES, WEIGHTS)
    torch.testing.assert_close(gates.matrix, torch.tensor([[0.2, 0.0, 0.8], [0.0, 1.0, 0.0]]))


def test_no_choices_have_gates_too() -> None:
    assert matrix_shape(()) == (0, 0)
    assert option_mask(()).shape == (0, 0)
    assert dict(Gates((), torch.zeros(0, 0))) == {}


def test_they_read_as_a_mapping_from_names_to_the_weights_of_the_options() -> None:
    gates = Gates.of(CHOICES, WEIGHTS)
    assert list(gates) == ["operation", "deep"]
    assert len(gates) == 2
    assert {name: gate.tolist() for name, gate in gates.items()} == {
        name: gate.tolist() for name, gate in WEIGHTS.items()
    }
    assert [gates.row("operation"), gates.row("deep")] == [0, 1]
    with pytest.raises(KeyError, match="width"):
        gates["width"]


def test_open_options_are_those_whose_weight_is_not_zero() -> None:
    gates = Gates.of(CHOICES, {**WEIGHTS, "deep": torch.zeros(2)})
    assert gates.open("operation") == (0, 2)
    assert gates.open("deep") == ()


def test_gates_pass_as_they_are_and_the_order_of_other_mappings_means_nothing() -> None:
    gates = Gates.of(CHOICES, WEIGHTS)
    assert Gates.of(CHOICES, gates) is gates
    assert torch.equal(Gates.of(CHOICES, dict(reversed(WEIGHTS.items()))).matrix, gates.matrix)


def test_gradients_reach_the_weights_that_they_were_made_of() -> None:
    weights = {name: gate.clone().requires_grad_() for name, gate in WEIGHTS.items()}
    Gates.of(CHOICES, weights)["operation"].square().sum().backward()
    torch.testing.assert_close(weights["operation"].grad, torch.tensor([0.4, 0.0, 1.6]))
    assert not weights["deep"].grad.any()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"operation": WEIGHTS["operation"]}, "'deep' is missing or unknown"),
        ({**WEIGHTS, "width": torch.ones(1)}, "'width' is missing or unknown"),
        ({**WEIGHTS, "deep": torch.ones(3)}, r"the gate of 'deep' is a tensor \[2\]; got \[3\]"),
        ({**WEIGHTS, "deep": torch.ones(1, 2)}, r"the gate of 'deep' is a tensor \[2\]; got \[1, 2\]"),
    ],
)
def test_weights_of_other_choices_or_options_are_named(weights: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Gates.of(CHOICES, weights)


def test_a_matrix_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the gates of 2 choices are a matrix \(2, 3\); got \(2, 2\)"):
        Gates(CHOICES, torch.zeros(2, 2))
