"""LightningDataModules for graphs; each names the task that a network must fit."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnn_space.data.amazon import AmazonData, CoauthorData
    from gnn_space.data.block_models import ClusterData, EdgeCommunityData, PatternData
    from gnn_space.data.molecules import FreesolvData, SmilesTable, SolubilityData
    from gnn_space.data.npz import NpzGraphData
    from gnn_space.data.planetoid import PlanetoidData
    from gnn_space.data.tudataset import TUData

_MODULES = {
    "AmazonData": "amazon",
    "ClusterData": "block_models",
    "CoauthorData": "amazon",
    "EdgeCommunityData": "block_models",
    "FreesolvData": "molecules",
    "NpzGraphData": "npz",
    "PatternData": "block_models",
    "PlanetoidData": "planetoid",
    "SmilesTable": "molecules",
    "SolubilityData": "molecules",
    "TUData": "tudataset",
}

__all__ = [
    "AmazonData",
    "ClusterData",
    "CoauthorData",
    "EdgeCommunityData",
    "FreesolvData",
    "NpzGraphData",
    "PatternData",
    "PlanetoidData",
    "SmilesTable",
    "SolubilityData",
    "TUData",
]


def __getattr__(name: str) -> Any:
    # Importing PyG takes seconds, and nobody needs all of the data.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
