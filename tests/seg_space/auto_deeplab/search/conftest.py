from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl

# The helpers of the callback's own tests, and what they import.
_TESTS = Path(__file__).parents[3]
sys.path[:0] = [str(_TESTS / "automl_plugins" / "search"), str(_TESTS / "third_party")]


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., pl.Trainer]:
    """Makes a quiet Trainer of two epochs on the CPU; whatever is given comes over that."""
    from search_project import make_trainer

    def make(*callbacks: pl.Callback, **given: Any) -> pl.Trainer:
        return make_trainer(tmp_path, *callbacks, **given)

    return make
