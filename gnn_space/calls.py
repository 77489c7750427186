"""The reading of calls of graph networks: which parts are nodes, edges and graphs, and what a prediction belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from automl_plugins.spaces.calls import Reading, SeenCall, UnreadCallError, last_name, one_of

_NODES = ("x", "feat", "feats", "features", "node_feat", "node_feats", "node_features", "node_attr", "nodes", "h")
_EDGES = ("edge_index", "edges", "edge_idx", "adj", "ei")
_EDGE_FEATURES = ("edge_attr", "edge_feat", "edge_feats", "edge_features", "edge_weight", "e")
_GRAPHS = ("batch", "batch_index", "batch_idx", "graph_index", "graph_ids", "node_graph", "b")
_GRAPH_FEATURES = ("graph_attr", "graph_features", "u", "global_features")
_COUNTS = ("num_graphs", "batch_size", "size")
_TARGETS = ("y", "label", "labels", "target", "targets", "y_true")
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.uint8)


class GraphReader:
    """The reading of calls of graph networks, see `automl_plugins.spaces.calls.CallReader`."""

    inputs = ("x", "edge_index", "edge_attr", "batch", "num_graphs", "graph_attr")
    numbers = ("num_graphs", "batch_size")

    def read(self, seen: SeenCall, named: Mapping[str, str], task: Mapping[str, Any]) -> Reading:
        """See `CallReader.read`."""
        return _GraphCall(seen, named, task).reading()


class _GraphCall:
    """One call, being read."""

    def __init__(self, seen: SeenCall, named: Mapping[str, str], task: Mapping[str, Any]) -> None:
        self.seen, self.task = seen, task
        self.tensors = {path: part for path, part in seen.parts.items() if isinstance(part, Tensor)}
        self.found: dict[str, str] = {}
        for role, path in named.items():
            if role in GraphReader.inputs:
                if path not in seen.parts:
                    raise UnreadCallError(f"call.{role}={path!r}: the call has {', '.join(seen.parts) or 'no tensors'}")
                self.found[role] = path

    def reading(self) -> Reading:
        """The inputs of networks among the parts, and the task."""
        self._find("edge_index", self._edge_indices(), _EDGES, "edges [2, number of edges]")
        self._needs("edge_index", "an integer tensor [2, number of edges]")
        self._find("x", self._node_features(), _NODES, "node features")
        self._needs("x", "a tensor of node features [number of nodes, channels]")
        self._find("batch", self._memberships(), _GRAPHS, "the graph of each node")
        self._find("edge_attr", self._edge_features(), _EDGE_FEATURES, "edge features")
        self._find("graph_attr", self._graph_features(), _GRAPH_FEATURES, "features of graphs")
        if "batch" in self.found:
            self._find("num_graphs", self._counts(), _COUNTS, "the number of graphs")
        self.num_graphs = int(self._part("batch").max()) + 1 if "batch" in self.found else 1
        if "num_graphs" in self.found:
            self.num_graphs = int(self.seen.parts[self.found["num_graphs"]])
        outputs = self.seen.outputs
        if outputs.dim() > 2:
            raise UnreadCallError(
                f"the network gives a tensor of the shape {list(outputs.shape)}; networks here give one row of outputs "
                "for each node, edge or graph"
            )
        level, rows = self._level(len(outputs))
        return Reading(
            inputs=dict(self.found),
            task={"level": level, "out_channels": outputs.shape[1] if outputs.dim() == 2 else 1, **self._channels()},
            reals=tuple(role for role in ("x", "edge_attr") if self._counts_numbers(role)),
            columns=tuple(role for role in ("x", "edge_attr") if role in self.found and self._part(role).dim() == 1),
            rows=rows,
            squeezed=outputs.dim() == 1,
        )

    def _part(self, role: str) -> Tensor:
        return self.tensors[self.found[role]]

    def _find(self, role: str, candidates: list[str], names: tuple[str, ...], described: str) -> None:
        if role not in self.found:
            path = one_of(role, candidates, names, described)
            if path is not None:
                self.found[role] = path

    def _needs(self, role: str, described: str) -> None:
        if role not in self.found:
            shapes = [f"{path} {list(part.shape)}" for path, part in self.tensors.items()]
            raise UnreadCallError(f"the call has no {role}, {described}: it has {', '.join(shapes) or 'no tensors'}")

    # Candidates.

    def _edge_indices(self) -> list[str]:
        return [
            path
            for path, part in self.tensors.items()
            if part.dtype in _INTEGERS and part.dim() == 2 and part.shape[0] == 2
        ]

    def _node_features(self) -> list[str]:
        least = int(self._part("edge_index").max()) + 1 if self._part("edge_index").numel() else 1
        fitting = [
            path
            for path, part in self.tensors.items()
            if path != self.found["edge_index"] and part.dim() in (1, 2) and len(part) >= least
        ]
        return _preferred(fitting, _NODES, [path for path in fitting if self.tensors[path].dim() == 2])

    def _memberships(self) -> list[str]:
        nodes = len(self._part("x"))
        fitting = [
            path
            for path, part in self._others()
            if part.dtype in _INTEGERS and part.shape == (nodes,) and nodes and int(part.min()) >= 0
        ]
        # An argument of its own may have any name; of what a graph holds, the name counts.
        sorted_ = [path for path in fitting if "." not in path and bool((self.tensors[path].diff() >= 0).all())]
        return _preferred(fitting, _GRAPHS, sorted_)

    def _edge_features(self) -> list[str]:
        edges = self._part("edge_index").shape[1]
        fitting = [path for path, part in self._others() if part.dim() in (1, 2) and len(part) == edges]
        return _preferred(fitting, _EDGE_FEATURES, [path for path in fitting if "." not in path])

    def _graph_features(self) -> list[str]:
        return [path for path, part in self._others() if last_name(path) in _GRAPH_FEATURES and part.dim() == 2]

    def _counts(self) -> list[str]:
        least = int(self._part("batch").max()) + 1
        numbers = [path for path, part in self.seen.parts.items() if type(part) is int and part >= least]
        return [path for path in numbers if last_name(path) in _COUNTS]

    def _others(self) -> list[tuple[str, Tensor]]:
        taken = {*self.found.values()}
        return [
            (path, part)
            for path, part in self.tensors.items()
            if path not in taken and last_name(path).lower() not in _TARGETS
        ]

    # The task.

    def _level(self, rows: int) -> tuple[str, str]:
        """The level, and the path of the number of rows where not all nodes have one."""
        counts = {"node": len(self._part("x")), "edge": self._part("edge_index").shape[1], "graph": self.num_graphs}
        if "level" in self.task:
            fitting = [self.task["level"]]
        else:
            fitting = [level for level, count in counts.items() if count == rows]
        if len(fitting) > 1:
            raise UnreadCallError(
                f"the network gives {rows} rows, and there are as many {'s and '.join(fitting)}s; say what a "
                f"prediction belongs to with --task.level {fitting[0]}"
            )
        if fitting and counts[fitting[0]] == rows:
            return fitting[0], ""
        seeds = [path for path, part in self.seen.parts.items() if type(part) is int and part == rows < counts["node"]]
        if seeds and fitting in ([], ["node"]):
            return "node", seeds[0]
        told = ", ".join(f"{count} {level}s" for level, count in counts.items())
        raise UnreadCallError(f"the network gives {rows} rows for {told}; networks here give one for each of a kind")

    def _channels(self) -> dict[str, Any]:
        task: dict[str, Any] = {"in_channels": _width(self._part("x"))}
        if "edge_attr" in self.found:
            task["edge_channels"] = _width(self._part("edge_attr"))
        if "graph_attr" in self.found:
            task["graph_channels"] = _width(self._part("graph_attr"))
        for role, name in (("x", "node_categories"), ("edge_attr", "edge_categories")):
            if role in self.found and self.found[role] in self.seen.categories:
                task[name] = self.seen.categories[self.found[role]]
        return task

    def _counts_numbers(self, role: str) -> bool:
        """True for integers that the project's own network does not embed, so that it takes them for numbers."""
        name = {"x": "node_categories", "edge_attr": "edge_categories"}[role]
        if role not in self.found or self.task.get(name) or self._part(role).is_floating_point():
            return False
        return self.found[role] not in self.seen.categories


def _width(part: Tensor) -> int:
    return part.shape[1] if part.dim() == 2 else 1


def _preferred(fitting: list[str], names: tuple[str, ...], unnamed: list[str]) -> list[str]:
    """Those with a usual name, else the others that may do."""
    return [path for path in fitting if last_name(path).lower() in names] or unnamed
