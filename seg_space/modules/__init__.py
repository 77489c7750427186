"""LightningModules that train a network of images, one for each kind of task."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seg_space.modules.dense import DenseRegression
    from seg_space.modules.images import ImageClassification, ImageRegression
    from seg_space.modules.segmentation import SemanticSegmentation

_HOMES = {
    "DenseRegression": "dense",
    "ImageClassification": "images",
    "ImageRegression": "images",
    "SemanticSegmentation": "segmentation",
}

__all__ = ["DenseRegression", "ImageClassification", "ImageRegression", "SemanticSegmentation"]


def __getattr__(name: str) -> Any:
    # The losses of segmentation take seconds to import.
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
