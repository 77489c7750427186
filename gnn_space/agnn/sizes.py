"""Plain data that AGNN's networks and supernets are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from gnn_space.frame import RowNorm, batch_norm


class LayerOptions(NamedTuple):
    """The options of one layer: one of each of the paper's six action classes."""

    hidden_channels: int
    attention: str
    heads: int
    aggregation: str
    combine: str
    activation: str


CLASSES = LayerOptions._fields
"""The action classes: the choices of each layer."""


@dataclass(frozen=True)
class AGNNSizes:
    """Settings of the parts around AGNN's layers, which are the same in every network of a space.

    Args:
        skip_connections: add every layer's input to its output, from the second layer on.
        layer_norm: normalise the channels of each node before each activation.
        batch_norm: normalise each channel over the batch there instead.
        dropout: rate for the inputs of each layer and for attention coefficients while training.
        node_embedding: channels that categorical node features are embedded in.
        edge_embedding: channels that categorical edge features are embedded in.

    Raises:
        ValueError: less than one channel, or a dropout rate outside [0, 1).
    """

    skip_connections: bool = False
    layer_norm: bool = True
    batch_norm: bool = False
    dropout: float = 0.3
    node_embedding: int = 64
    edge_embedding: int = 16

    def __post_init__(self) -> None:
        for argument, value in (("node_embedding", self.node_embedding), ("edge_embedding", self.edge_embedding)):
            if value < 1:
                raise ValueError(f"{argument} is at least 1; got {value}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is at least 0 and less than 1; got {self.dropout}")

    def make_norm(self, channels: int) -> nn.Module | None:
        """The normalisation before an activation; None: there is none."""
        if self.batch_norm:
            return batch_norm(channels)
        return RowNorm(channels) if self.layer_norm else None
