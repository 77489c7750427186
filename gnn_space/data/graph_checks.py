"""Graphs that are not what they should be: refused by name, before a network meets them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from automl_plugins.training.once import warn_once
from gnn_space.data.store import GraphStore

_LISTED = 10


def check_finite(where: str, what: str, values: Tensor) -> None:
    """Refuse nan and inf.

    Args:
        where: the data, for the message.
        what: the values: `node features`, for one.
        values: `[num_rows, ...]`, of any type.

    Raises:
        ValueError: a value is not finite; the message names the first one's place.
    """
    if values.is_floating_point() and not values.isfinite().all():
        wrong = ~values.isfinite()
        place = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"{where}: the {what} have {int(wrong.sum())} values that are not finite, the first of them "
            f"{values[tuple(place)].item()} at {place}; replace them, or leave those rows out"
        )


def check_edges(where: str, edge_index: Tensor, nodes: Tensor | int) -> None:
    """Refuse edges to nodes that are not there, negative numbers among them.

    Args:
        where: the data, for the message.
        edge_index: `[2, num_edges]`.
        nodes: of the graph; or for each edge, how many its graph has, `[num_edges]`.

    Raises:
        ValueError: an edge's end is out of range.
    """
    if edge_index.dim() != 2 or edge_index.size(0) != 2 or edge_index.is_floating_point():
        raise ValueError(f"{where}: edges are integers of the shape [2, num_edges]; got {list(edge_index.shape)}")
    wrong = ((edge_index < 0) | (edge_index >= nodes)).any(dim=0)
    if wrong.any():
        place = int(wrong.nonzero()[0])
        ends = " to ".join(str(end) for end in edge_index[:, place].tolist())
        count = nodes if isinstance(nodes, int) else int(nodes[place])
        raise ValueError(f"{where}: edge {place} is from {ends}, but its graph has {count} nodes, counted from 0")


def check_parts(where: str, masks: Mapping[str, Tensor], num_nodes: int) -> None:
    """Refuse parts of nodes that are empty, overlap, or are of another graph.

    Args:
        where: the data, for the message.
        masks: by the parts' names, booleans `[num_nodes]`.
        num_nodes: of the graph.

    Raises:
        ValueError: they are not disjoint parts of the nodes.
    """
    for name, mask in masks.items():
        if mask.dtype != torch.bool or mask.shape != (num_nodes,):
            found = f"{str(mask.dtype).removeprefix('torch.')} of the shape {list(mask.shape)}"
            raise ValueError(f"{where}: the mask of {name} nodes has {num_nodes} booleans; got {found}")
        if not mask.any():
            raise ValueError(f"{where}: there is no {name} node; training, validation and test need some each")
    names = list(masks)
    for first in range(len(names)):
        for second in range(first + 1, len(names)):
            common = masks[names[first]] & masks[names[second]]
            if common.any():
                raise ValueError(
                    f"{where}: {names[first]} and {names[second]} share {int(common.sum())} nodes, "
                    f"the first of them {int(common.nonzero()[0])}; a node is in one part"
                )


def check_classes(
    where: str, kind: str, y: Tensor, parts: Mapping[str, Tensor], names: Sequence[str] | None = None
) -> int:
    """Refuse classes that do not count from 0, and name those that cannot be learned.

    Args:
        where: the data, for the message.
        kind: the plural of what has a class: `nodes`, or `graphs`.
        y: classes, integers `[num_rows]`.
        parts: the rows of `training`, `validation` and `test`, masks or indices; y of other rows may be anything.
        names: of the classes; their numbers where left out.

    Returns:
        The number of classes.

    Raises:
        ValueError: a class is negative, there is one only, or most numbers up to the greatest are no class.
    """
    found = {name: y[part].unique() for name, part in parts.items()}
    present = torch.cat(list(found.values())).unique()

    def named(number: int) -> str:
        return str(number) if names is None else names[number]

    if len(present) and int(present[0]) < 0:
        part = next(name for name, classes in found.items() if int(classes[0]) < 0)
        raise ValueError(
            f"{where}: {part} {kind} have the class {int(present[0])}; classes count from 0, and {kind} without one "
            "are in no part"
        )
    if len(present) < 2:
        raise ValueError(
            f"{where}: all {kind} have the class {', '.join(map(named, present.tolist())) or 'of nothing'}: "
            "there is nothing to learn"
        )
    count = int(present[-1]) + 1
    if count > 2 * len(present):
        raise ValueError(
            f"{where}: there are {len(present)} classes, but the greatest is {count - 1}; "
            f"number them 0 to {len(present) - 1}"
        )
    train = found["training"]
    unlearned = sorted(set(range(count)) - set(train.tolist()))
    if unlearned:
        listed = ", ".join(map(named, unlearned[:_LISTED])) + ", ..." * (len(unlearned) > _LISTED)
        warn_once(f"{where}: no training {kind.removesuffix('s')} has the class {listed}, so nothing learns it")
    return count


def check_store(where: str, store: GraphStore) -> None:
    """Refuse graphs with values that are not finite, without nodes, or with edges to nodes that are not there.

    Raises:
        ValueError: the first thing that is wrong.
    """
    if (store.nodes == 0).any():
        raise ValueError(f"{where}: graph {int((store.nodes == 0).nonzero()[0])} has no nodes; leave it out")
    check_finite(where, "node features", store.x)
    if store.edge_attr is not None:
        check_finite(where, "edge features", store.edge_attr)
    check_edges(where, store.edge_index, torch.repeat_interleave(store.nodes, store.edges))
