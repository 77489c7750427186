"""Plain data that EGNAS's networks and supernets are made of, beside the plan of their cells."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

MergeForm = Literal["maps", "sum"]
"""The forms of a cell's output: maps of all its states, or the sum of its new ones."""


@dataclass(frozen=True)
class EGNASSizes:
    """Channels, dropout, positional encodings and frame of all networks of a space.

    Args:
        node_channels: of node states.
        edge_channels: of edge states.
        merge_node_channels: between the two maps of a cell's node output.
        merge_edge_channels: between the two maps of a cell's edge output.
        positional_encodings: Laplacian eigenvectors added to the nodes; 0: none.
        dropout: rate for the outputs of cells, and for the features that `gnn_space.frame.drops_much` names.
        residual: add the output of the cell before to each cell's.
        merge: how a cell's output is made of its states.
        sum_readout: let graph level read sums, beside means and maxima.

    Raises:
        ValueError: a number out of range, or an unknown form of the merge.
    """

    node_channels: int = 50
    edge_channels: int = 25
    merge_node_channels: int = 60
    merge_edge_channels: int = 30
    positional_encodings: int = 0
    dropout: float = 0.0
    residual: bool = False
    merge: MergeForm = "maps"
    sum_readout: bool = True

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), int(field.name.endswith("channels"))
            if field.type == "int" and value < least:
                raise ValueError(f"{field.name} is at least {least}; got {value}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is at least 0 and less than 1; got {self.dropout}")
        if self.merge not in get_args(MergeForm):
            raise ValueError(f"merge is one of {', '.join(get_args(MergeForm))}; got {self.merge!r}")

    def merged_states(self, states: int) -> range:
        """The states of a cell, of `states`, that its output is made of."""
        return range(states) if self.merge == "maps" else range(2, states)

    def read_states(self, states: int) -> tuple[int, ...]:
        """The same, with the one that the residual connection adds."""
        return tuple(sorted({*self.merged_states(states), *((1,) if self.residual else ())}))
