from __future__ import annotations

import sys
from pathlib import Path

import pytest

# The folder's own helpers, which write small data sets.
sys.path.insert(0, str(Path(__file__).parent))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Tiny sets lack classes of the benchmarks whose layouts they have.
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("ignore:no training mask holds"))
