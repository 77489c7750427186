from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gnn_space import aggregation, operations

# `small_batches`, which several files share.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(params=["messages", "products"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Either form of aggregation, whatever the size of the graph; in the second, scores a few edges at a time."""
    products = request.param == "products"
    monkeypatch.setattr(aggregation, "MESSAGES_BELOW", 0 if products else 2**40)
    monkeypatch.setattr(aggregation, "_SCORES_BELOW", 0 if products else 2**40)
    monkeypatch.setattr(operations, "_CHUNK", 2**6 if products else 2**40)
    return request.param
