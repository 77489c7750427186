"""Search spaces of semantic segmentation and dense regression, with the modules and data to train them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seg_space.auto_deeplab import AutoDeepLabSpace
    from seg_space.modules import DenseRegression, SemanticSegmentation
    from seg_space.smp_space import SmpSpace

_HOMES: dict[str, str] = {
    "AutoDeepLabSpace": "seg_space.auto_deeplab",
    "DenseRegression": "seg_space.modules",
    "SemanticSegmentation": "seg_space.modules",
    "SmpSpace": "seg_space.smp_space",
}

__all__ = [
    "AutoDeepLabSpace",
    "DenseRegression",
    "SemanticSegmentation",
    "SmpSpace",
]


def __getattr__(name: str) -> Any:
    # Lightning and segmentation_models_pytorch take seconds to import, so they wait until a name is used.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
