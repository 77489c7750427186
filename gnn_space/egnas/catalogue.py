"""All operations of EGNAS's cells by name: the paper's, and those of hand-made networks beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

from torch import Tensor, nn

from gnn_space.egnas.extended import AttentionNodes, GatedEdges, GatedNodes, GINENodes
from gnn_space.egnas.extended_updates import attention_nodes, gated_edges, gated_nodes, gine_nodes
from gnn_space.egnas.graph_index import GraphIndex
from gnn_space.egnas.operations import AGGREGATIONS, EDGE_UPDATES, EdgeOperation, NodeOperation
from gnn_space.egnas.plan import IDENTITY, Kind
from gnn_space.egnas.updates import Weights, edge_updates, node_updates

Form = Literal["node", "edge", "both"]
"""The form in which the joint cell gives states: as the paper's node operations read them, as its edge operations do,
or as they are."""

_Update = Callable[[Weights, Tensor, Tensor, GraphIndex], Tensor]
_EXTENDED: Mapping[tuple[Kind, str], tuple[type[nn.Module], _Update]] = {
    ("node", "gated"): (GatedNodes, gated_nodes),
    ("node", "gine"): (GINENodes, gine_nodes),
    ("node", "attention"): (AttentionNodes, attention_nodes),
    ("edge", "gated"): (GatedEdges, gated_edges),
}

_PAPER: Mapping[Kind, tuple[str, ...]] = {"node": (IDENTITY, *AGGREGATIONS), "edge": (IDENTITY, *EDGE_UPDATES)}
OPERATIONS: Mapping[str, Mapping[Kind, tuple[str, ...]]] = {
    "paper": _PAPER,
    "extended": {kind: (*names, *(name for each, name in _EXTENDED if each == kind)) for kind, names in _PAPER.items()},
}
"""The operations of nodes and of edges that `EGNASSpace(operations=...)` offers."""


def make_operation(kind: Kind, name: str, node_channels: int, edge_channels: int, affine: bool) -> nn.Module:
    """An operation with weights, by its name."""
    if (kind, name) in _EXTENDED:
        return _EXTENDED[kind, name][0](node_channels, edge_channels, affine)
    return (NodeOperation if kind == "node" else EdgeOperation)(node_channels, edge_channels, name, affine)


def joint_form(kind: Kind, name: str) -> tuple[Form, _Update]:
    """The form in which operations of one name read states, and the function that computes them side by side."""
    if (kind, name) in _EXTENDED:
        return "both", _EXTENDED[kind, name][1]
    return kind, partial(node_updates if kind == "node" else edge_updates, name)
