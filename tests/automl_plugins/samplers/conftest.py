from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def space():
    from automl_plugins.testing.toy_space import ToySpace

    return ToySpace()
