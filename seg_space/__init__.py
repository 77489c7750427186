"""Search spaces of networks of pixels and of whole images, with the modules and data to train them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seg_space.auto_deeplab import AutoDeepLabSpace
    from seg_space.auto_deeplab.encoder import AutoDeepLabEncoder
    from seg_space.auto_deeplab.sized_space import AutoDeepLabSizesSpace
    from seg_space.modules import DenseRegression, ImageClassification, ImageRegression, SemanticSegmentation
    from seg_space.nas_bench_201 import NASBench201Space
    from seg_space.smp.decoder import SmpDecoderSpace
    from seg_space.smp.implant import ImplantSpace
    from seg_space.smp.models import create_model, from_pretrained, register_encoder
    from seg_space.smp.network import SmpNetwork
    from seg_space.smp.space import SmpSpace
    from seg_space.smp.trained_implant import TrainedImplantSpace

_HOMES: dict[str, str] = {
    "AutoDeepLabEncoder": "seg_space.auto_deeplab.encoder",
    "AutoDeepLabSizesSpace": "seg_space.auto_deeplab.sized_space",
    "AutoDeepLabSpace": "seg_space.auto_deeplab",
    "DenseRegression": "seg_space.modules.dense",
    "ImageClassification": "seg_space.modules.images",
    "ImageRegression": "seg_space.modules.images",
    "ImplantSpace": "seg_space.smp.implant",
    "NASBench201Space": "seg_space.nas_bench_201",
    "SemanticSegmentation": "seg_space.modules.segmentation",
    "SmpDecoderSpace": "seg_space.smp.decoder",
    "SmpNetwork": "seg_space.smp.network",
    "SmpSpace": "seg_space.smp.space",
    "TrainedImplantSpace": "seg_space.smp.trained_implant",
    "create_model": "seg_space.smp.models",
    "from_pretrained": "seg_space.smp.models",
    "register_encoder": "seg_space.smp.models",
}

__all__ = [
    "AutoDeepLabEncoder",
    "AutoDeepLabSizesSpace",
    "AutoDeepLabSpace",
    "DenseRegression",
    "ImageClassification",
    "ImageRegression",
    "ImplantSpace",
    "NASBench201Space",
    "SemanticSegmentation",
    "SmpDecoderSpace",
    "SmpNetwork",
    "SmpSpace",
    "TrainedImplantSpace",
    "create_model",
    "from_pretrained",
    "register_encoder",
]


def __getattr__(name: str) -> Any:
    # Lightning and segmentation_models_pytorch take seconds to import, so they wait until a name is used.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
