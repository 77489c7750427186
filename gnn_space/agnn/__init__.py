"""AGNN: six choices for every layer."""

from gnn_space.agnn.space import AGNNSpace

__all__ = ["AGNNSpace"]
