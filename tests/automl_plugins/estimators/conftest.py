from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl

# The project of the tests of searches.
sys.path.insert(0, str(Path(__file__).parents[1] / "search"))


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., pl.Trainer]:
    """Makes a quiet Trainer of two epochs on the CPU; whatever is given comes over that."""
    from search_project import make_trainer

    def make(*callbacks: pl.Callback, **given: Any) -> pl.Trainer:
        return make_trainer(tmp_path, *callbacks, **given)

    return make
