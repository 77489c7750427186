"""Real-valued targets of a size that single precision cannot hold."""

from __future__ import annotations

import pytest
import torch

from automl_plugins.training.data.targets import check_labels

VALUES = torch.arange(40, dtype=torch.float64).view(-1, 1)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (
            VALUES + 1.7e9,
            r"energy has a standard deviation of 11\.5 about values of up to 1\.7e\+09.*subtract their mean",
        ),
        (
            VALUES * 1e-25,
            "standard deviation of 1.15e-24, whose square single precision cannot hold; write it in another",
        ),
        (VALUES * 1e22, "standard deviation of 1.15e.23, whose square"),
    ],
)
def test_they_are_refused_with_the_cure(targets: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_labels("table.csv", ["energy"], "regression", targets, targets, targets)


@pytest.mark.parametrize("targets", [VALUES, VALUES + 1e5, VALUES * 1e-9, VALUES * 1e9, VALUES - 1e4])
def test_ordinary_units_are_taken(targets: torch.Tensor) -> None:
    check_labels("table.csv", ["energy"], "regression", targets, targets, targets)
