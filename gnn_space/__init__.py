"""Search spaces of graph neural networks, with the modules and data to train them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnn_space.aggregation import aggregate
    from gnn_space.agnn import AGNNSpace
    from gnn_space.compressed import CompressedEdges
    from gnn_space.egnas import EGNASSpace
    from gnn_space.gnn_plus import GNNPlusSpace
    from gnn_space.layers import GATLayer, GCNLayer, GINLayer, PropagationLayer, SAGELayer
    from gnn_space.modules import EdgeClassification, GraphClassification, GraphRegression, NodeClassification
    from gnn_space.nas_bench_graph import NASBenchGraphSpace

_HOMES = {
    "AGNNSpace": "gnn_space.agnn",
    "CompressedEdges": "gnn_space.compressed",
    "EGNASSpace": "gnn_space.egnas",
    "EdgeClassification": "gnn_space.modules",
    "GATLayer": "gnn_space.layers",
    "GCNLayer": "gnn_space.layers",
    "GINLayer": "gnn_space.layers",
    "GNNPlusSpace": "gnn_space.gnn_plus",
    "GraphClassification": "gnn_space.modules",
    "GraphRegression": "gnn_space.modules",
    "NASBenchGraphSpace": "gnn_space.nas_bench_graph",
    "NodeClassification": "gnn_space.modules",
    "PropagationLayer": "gnn_space.layers",
    "SAGELayer": "gnn_space.layers",
    "aggregate": "gnn_space.aggregation",
}

__all__ = [
    "AGNNSpace",
    "CompressedEdges",
    "EGNASSpace",
    "EdgeClassification",
    "GATLayer",
    "GCNLayer",
    "GINLayer",
    "GNNPlusSpace",
    "GraphClassification",
    "GraphRegression",
    "NASBenchGraphSpace",
    "NodeClassification",
    "PropagationLayer",
    "SAGELayer",
    "aggregate",
]


def __getattr__(name: str) -> Any:
    # PyG and Lightning take seconds to import, so they wait until a name is used.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
