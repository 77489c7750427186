"""The hand-made networks that are points of `GNNPlusSpace`, as values of its choices."""

from __future__ import annotations

from typing import Any

from automl_plugins.spaces.choice import Value
from automl_plugins.spaces.task import Task
from gnn_space.frame import drops_much, has_wide_features

_CHANNELS = 64


def reference_values(task: Task) -> dict[str, dict[str, Value]]:
    """The values of each hand-made network for a task, by name.

    GCN, GAT, GraphSAGE and GIN are those of `gnn_space.references`: two layers on node level, the last of which gives
    the outputs, three with batch normalisation elsewhere. The networks of GNN+ have four layers of all six techniques
    (Luo, Shi and Wu 2025), with the mean of a graph's nodes. They normalise batches, as published, but the channels of
    each node where features are wide, which are scaled by rows then: chosen by validation on Cora (.72, .75 and .67 for
    .22, .60 and .35) and CLUSTER, whose features are narrow (batches .48, .45 and .46, nodes .35, .34 and .38).
    All read a graph's own features where it has any.
    """
    is_wide = task.level == "node" and has_wide_features(task)
    found = {
        "gcn": _classic(task, "gcn"),
        "gat": _classic(task, "gat", activation="elu", node_dropout=0.6),
        "graphsage": _classic(task, "sage"),
        "gin": _classic(task, "gin"),
        "gated-gcn": _values(task, "gated", 4, input="linear", norm="batch", residual=True, readout="mean-sum-max"),
    }
    if task.level == "node" and not task.edge_channels:
        found["appnp"] = _values(
            task, "none", 1, dropout=0.5 if drops_much(task) else 0.0, propagation=10, teleport=0.1
        )
    for name, message in (("gcn+", "gcn"), ("gin+", "gin"), ("gated-gcn+", "gated")):
        found[name] = _values(
            task,
            message,
            4,
            input="linear",
            scaling="rows" if is_wide else "none",
            positional="random-walk" if task.level == "graph" else "none",
            norm="layer" if is_wide else "batch",
            residual=True,
            feed_forward=True,
            dropout=0.2,
        )
    return found


def _classic(task: Task, message: str, activation: str = "relu", node_dropout: float = 0.5) -> dict[str, Value]:
    if task.level == "node":
        dropout = node_dropout if drops_much(task) else 0.0
        return _values(task, message, 2, activation=activation, dropout=dropout, output="message")
    return _values(task, message, 3, activation=activation, norm="batch", readout="mean-sum-max")


def _values(task: Task, message: str, depth: int, **given: Any) -> dict[str, Value]:
    values: dict[str, Value] = {
        "depth": depth,
        "channels": _CHANNELS,
        "input": "features",
        "scaling": "none",
        "norm": "none",
        "residual": False,
        "feed_forward": False,
        "activation": "relu",
        "dropout": 0.0,
        "readout": "mean",
        "graph_features": "joined" if task.level == "graph" and task.graph_channels else "none",
        "propagation": 0,
        **given,
    }
    if task.level != "graph":
        values["readout"] = "mean"
    if values["input"] == "linear":
        values.setdefault("positional", "none")
    if depth > 1 and values.setdefault("output", "linear") == "linear":
        values.setdefault("jumping", "last")
    return values | {f"layer{layer}.message": message for layer in range(depth)}
