"""GNN+: what people build graph networks of, with the networks they made by hand as points."""

from gnn_space.gnn_plus.space import GNNPlusSpace

__all__ = ["GNNPlusSpace"]
