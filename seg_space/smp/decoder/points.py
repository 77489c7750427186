"""The hand-made decoders that are points of `SmpDecoderSpace`, as values of its choices."""

from __future__ import annotations

from automl_plugins.spaces.choice import Value
from seg_space.auto_deeplab.cell import IDENTITY
from seg_space.smp.decoder.sizes import LAST_MAP, NO_SKIP, STRIDES, EncoderSizes

_UNET_FILTERS = {16: 256, 8: 128, 4: 64, 2: 32, 1: 16}


def reference_values(sizes: EncoderSizes) -> dict[str, dict[str, Value]]:
    """The values of U-Net, FPN and DeepLabV3+, with the channels that smp gives them.

    smp's U-Net has further convolutions at the coarsest stride of a VGG, so it is left out there.
    """
    found = {"fpn": _fpn(), "deeplabv3+": _deeplab()}
    return found if sizes.name.startswith("vgg") else {"unet": _unet(sizes), **found}


def _unet(sizes: EncoderSizes) -> dict[str, Value]:
    values: dict[str, Value] = {"encoder_stride": LAST_MAP, "context": "none"}
    for stride, filters in _UNET_FILTERS.items():
        has_map = stride > 1 and sizes.map_channels(stride) > 0
        values |= _stage(stride, "conv_3x3", stride if has_map else NO_SKIP, "concat", 2, filters)
    return {**values, "upsampling": "nearest", "head": "last", "head.kernel": 3}


def _fpn() -> dict[str, Value]:
    values: dict[str, Value] = {"encoder_stride": LAST_MAP, "context": "linear", "context.filters": 256}
    for stride in STRIDES:
        values |= _stage(stride, IDENTITY, stride) if stride >= 4 else {f"stride{stride}.visited": False}
    return {**values, "upsampling": "nearest", "head": "pyramid", "head.filters": 128}


def _deeplab() -> dict[str, Value]:
    values: dict[str, Value] = {
        "encoder_stride": 16,
        "context": "aspp",
        "context.filters": 256,
        "context.rates": "12-24-36",
    }
    for stride in STRIDES:
        visited = _stage(stride, "separable_3x3", stride, "projected", 1, 256)
        values |= visited if stride == 4 else {f"stride{stride}.visited": False}
    return {**values, "upsampling": "bilinear", "head": "last", "head.kernel": 1}


def _stage(
    stride: int, operation: str, skip: Value, fusion: str = "", layers: int = 0, filters: int = 0
) -> dict[str, Value]:
    prefix = f"stride{stride}."
    values: dict[str, Value] = {prefix + "visited": True, prefix + "skip": skip, prefix + "operation": operation}
    if operation != IDENTITY:
        if skip != NO_SKIP:
            values[prefix + "fusion"] = fusion
        values |= {prefix + "layers": layers, prefix + "filters": filters}
    return values
