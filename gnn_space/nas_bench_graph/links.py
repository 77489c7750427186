"""The nine structures: which earlier node, or 0 for the features, each of the four nodes reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from automl_plugins.spaces.choice import Value
from gnn_space.nas_bench_graph.operations import SKIP

LINKS = ("0000", "0001", "0011", "0012", "0013", "0111", "0112", "0122", "0123")
NODES = (1, 2, 3, 4)
LINK = "link"


def operation_name(node: int) -> str:
    """The name of a node's choice."""
    return f"node{node}.operation"


def source_of(link: str, node: int) -> int:
    """The node that a node reads; 0: the features."""
    return int(link[node - 1])


def leaves_of(link: str) -> tuple[int, ...]:
    """The nodes that no other reads: they go to the output."""
    return tuple(node for node in NODES if str(node) not in link)


def raw_nodes(link: str, operations: Sequence[str]) -> frozenset[int]:
    """The nodes whose state is the features as they are, 0 among them: nothing but skips leads there.

    Args:
        link: of the structure.
        operations: of the nodes, in order.
    """
    raw = {0}
    for node, operation in zip(NODES, operations, strict=True):
        if operation == SKIP and source_of(link, node) in raw:
            raw.add(node)
    return frozenset(raw)


def operations_of(values: Mapping[str, Value]) -> tuple[str, ...]:
    """The operations of an architecture's nodes, in order."""
    return tuple(str(values[operation_name(node)]) for node in NODES)
