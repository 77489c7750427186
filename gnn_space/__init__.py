"""Search spaces of graph neural networks, with the modules and data to train them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnn_space.agnn import AGNNSpace
    from gnn_space.egnas import EGNASSpace
    from gnn_space.modules import EdgeClassification, GraphClassification, GraphRegression, NodeClassification

_HOMES = {
    "AGNNSpace": "gnn_space.agnn",
    "EGNASSpace": "gnn_space.egnas",
    "EdgeClassification": "gnn_space.modules",
    "GraphClassification": "gnn_space.modules",
    "GraphRegression": "gnn_space.modules",
    "NodeClassification": "gnn_space.modules",
}

__all__ = [
    "AGNNSpace",
    "EGNASSpace",
    "EdgeClassification",
    "GraphClassification",
    "GraphRegression",
    "NodeClassification",
]


def __getattr__(name: str) -> Any:
    # PyG and Lightning take seconds to import, so they wait until a name is used.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
