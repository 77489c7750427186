"""EGNAS: cells that update nodes and edges."""

from gnn_space.egnas.space import EGNASSpace

__all__ = ["EGNASSpace"]
