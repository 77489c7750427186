"""Plain data that EGNAS's networks and supernets are made of, beside the plan of their cells."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class EGNASSizes:
    """Channels, dropout and positional encodings of all networks of a space.

    Args:
        node_channels: of node states.
        edge_channels: of edge states.
        merge_node_channels: between the two maps of a cell's node output.
        merge_edge_channels: between the two maps of a cell's edge output.
        positional_encodings: Laplacian eigenvectors added to the nodes; 0: none.
        dropout: rate for the outputs of cells.

    Raises:
        ValueError: a number out of range.
    """

    node_channels: int = 50
    edge_channels: int = 25
    merge_node_channels: int = 60
    merge_edge_channels: int = 30
    positional_encodings: int = 0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), int(field.name.endswith("channels"))
            if field.name != "dropout" and value < least:
                raise ValueError(f"{field.name} is at least {least}; got {value}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is at least 0 and less than 1; got {self.dropout}")
