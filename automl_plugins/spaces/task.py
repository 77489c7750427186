"""The task that a network must fit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Level = Literal["node", "edge", "graph", "image", "pixel"]
Target = Literal["classes", "binary", "multilabel", "regression"]


@dataclass(frozen=True)
class Task:
    """The task, which a network must fit, as plain data.

    Args:
        level: what a prediction belongs to: a `node`, `edge` or `graph`; an `image`, or a `pixel` of one.
        target: what is predicted: one of several `classes` (cross entropy over `out_channels`
            logits), `binary` (one logit), `multilabel` (`out_channels` logits) or `regression`
            (`out_channels` real values).
        in_channels: features of a node, or channels of an image; with `node_categories`, its number of columns.
        out_channels: outputs of a prediction.
        edge_channels: features of an edge; 0: edges have none.
        node_categories: for categorical node features, the number of values of each column
            (`x` is then an integer tensor `[num_nodes, in_channels]`); empty: `x` is real-valued.
        edge_categories: the same for edges.
        graph_channels: real-valued features of a whole graph, which networks read beside its nodes (a molecule's
            descriptors); on graph level only; 0: there are none.

    Raises:
        ValueError: a number out of range, an unknown level or target, categories whose number
            is not that of the channels, or features of whole graphs on another level.
    """

    level: Level
    target: Target
    in_channels: int
    out_channels: int
    edge_channels: int = 0
    node_categories: tuple[int, ...] = ()
    edge_categories: tuple[int, ...] = ()
    graph_channels: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "node_categories", tuple(self.node_categories))
        object.__setattr__(self, "edge_categories", tuple(self.edge_categories))
        for name, value, valid in (("level", self.level, get_args(Level)), ("target", self.target, get_args(Target))):
            if value not in valid:
                raise ValueError(f"Task.{name} is one of {', '.join(valid)}; got {value!r}")
        for name, least in (("in_channels", 1), ("out_channels", 1), ("edge_channels", 0), ("graph_channels", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                cure = "; nodes without features have a constant one" if name == "in_channels" and value == 0 else ""
                raise ValueError(f"Task.{name} is an integer of at least {least}; got {value!r}{cure}")
        if self.graph_channels and self.level != "graph":
            raise ValueError(f"Task.graph_channels={self.graph_channels} is for the level graph; got {self.level!r}")
        if self.target == "binary" and self.out_channels != 1:
            raise ValueError(f"a binary task has one output; got Task.out_channels={self.out_channels}")
        for name, categories, channels in (
            ("node_categories", self.node_categories, self.in_channels),
            ("edge_categories", self.edge_categories, self.edge_channels),
        ):
            if categories and len(categories) != channels:
                raise ValueError(f"Task.{name} has {len(categories)} columns, but the task has {channels} channels")
            if any(type(count) is not int or count < 1 for count in categories):
                raise ValueError(f"Task.{name} holds integers of at least 1; got {categories}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `Task(**task.to_dict())` is the same task."""
        return asdict(self)
