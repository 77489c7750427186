"""Ensembles: the mean of several networks' predictions, as one network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins.training.ensemble import Ensemble


class Fixed(nn.Module):
    """Gives the same outputs whatever it is given, plus a bias."""

    def __init__(self, outputs: Tensor) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, inputs: Tensor, bias: float = 0.0) -> Tensor:
        return self.outputs + bias


@pytest.fixture(params=[(5, 3), (2, 3, 4, 6)], ids=["rows", "pixels"])
def members(request: pytest.FixtureRequest) -> list[nn.Module]:
    generator = torch.Generator().manual_seed(0)
    return [Fixed(torch.randn(request.param, generator=generator, dtype=torch.float64)) for _ in range(3)]


def test_of_classes_it_is_the_mean_of_the_probabilities(members: list[nn.Module]) -> None:
    found = Ensemble(members, "classes")(torch.zeros(1))
    mean = torch.stack([functional.softmax(each.outputs, dim=1) for each in members]).mean(dim=0)
    torch.testing.assert_close(found.exp(), mean)
    torch.testing.assert_close(functional.softmax(found, dim=1), mean)


@pytest.mark.parametrize("target", ["binary", "multilabel"])
def test_of_yes_or_no_it_is_the_mean_of_the_probabilities_of_yes(members: list[nn.Module], target: str) -> None:
    found = Ensemble(members, target)(torch.zeros(1))
    torch.testing.assert_close(found.sigmoid(), torch.stack([each.outputs.sigmoid() for each in members]).mean(dim=0))


def test_of_values_it_is_their_mean_and_every_argument_is_handed_on(members: list[nn.Module]) -> None:
    mean = torch.stack([each.outputs for each in members]).mean(dim=0)
    torch.testing.assert_close(Ensemble(members, "regression")(torch.zeros(1), bias=2.0), mean + 2)


@pytest.mark.parametrize("target", ["classes", "binary", "regression"])
def test_of_one_network_it_predicts_what_that_predicts(target: str) -> None:
    logits = torch.tensor([[40.0, -40.0], [1000.0, 0.0]])  # where probabilities of 32 bits are 0 and 1
    found = Ensemble([Fixed(logits)], target)(torch.zeros(1))
    assert found.isfinite().all()
    expected = functional.log_softmax(logits, dim=1) if target == "classes" else logits
    torch.testing.assert_close(found, expected)


def test_other_outputs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"of tensors of one shape; its networks give \[\[2, 1\], \[2, 2\]\]"):
        Ensemble([Fixed(torch.zeros(2, 1)), Fixed(torch.zeros(2, 2))], "regression")(torch.zeros(1))
    with pytest.raises(ValueError, match="its networks give \\['tuple'\\]"):
        Ensemble([nn.LSTM(1, 1)], "regression")(torch.zeros(2, 1))
    with pytest.raises(ValueError, match="at least one network"):
        Ensemble([], "regression")
