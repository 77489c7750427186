from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from automl_plugins.cli import DEBUG
from automl_plugins.studies.study import Study

# The third party's space, as plain modules: small networks of plain torch that train in milliseconds.
sys.path.insert(0, str(Path(__file__).parents[1] / "third_party"))


@pytest.fixture(autouse=True)
def _unforeseen_errors_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEBUG, "1")


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., Study]:
    """A tiny study over the third party's space; whatever is given comes over the defaults."""
    from perceptron_space.data import WavesData
    from perceptron_space.module import PixelRegression
    from perceptron_space.space import PerceptronSpace

    def make(**given: Any) -> Study:
        defaults = {
            "space": PerceptronSpace(),
            "data": WavesData(),
            "folder": tmp_path / "run",
            "module": PixelRegression,
            "trials": 3,
            "trainer": {"max_epochs": 2, "accelerator": "cpu"},
            "random_search": False,
            "references": [],
            "finalists": 1,
            "seeds": 1,
        }
        return Study(**{**defaults, **given})

    return make
