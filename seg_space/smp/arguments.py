"""The arguments of smp's models that an architecture of `SmpSpace` stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WIDTHS = (256, 128, 64, 32, 16)
"""Of smp's U-shaped decoders, the coarsest feature map first."""
_SCALES = {"full": 1.0, "half": 0.5, "quarter": 0.25}
# Squeeze-and-excitation divides the channels by 16.
_LEAST_WIDTH = 16
_NORMS = {
    "batchnorm": "batchnorm",
    "identity": "identity",
    # smp initialises weights that this norm has only where it is told to.
    "instancenorm": {"type": "instancenorm", "affine": True},
}
_NAMES = {
    "attention": "decoder_attention_type",
    "interpolation": "decoder_interpolation",
    "pyramid_channels": "decoder_pyramid_channels",
    "segmentation_channels": "decoder_segmentation_channels",
    "merge": "decoder_merge_policy",
    "separable": "decoder_aspp_separable",
    "output_stride": "encoder_output_stride",
}
_CHANNELS = {"PSPNet": "psp_out_channels", "Segformer": "decoder_segmentation_channels"}


def smp_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `smp.create_model` that an architecture of `SmpSpace` stands for, but weights and channels.

    Args:
        values: the architecture, by the last part of the choices' names (`Choice.kind`).
    """
    decoder, depth = values["decoder"], values["encoder_depth"]
    arguments = {"arch": decoder, "encoder_name": values["encoder"], "encoder_depth": depth}
    arguments |= {name: values[kind] for kind, name in _NAMES.items() if kind in values}
    if "norm" in values:
        arguments["decoder_use_norm"] = _NORMS[values["norm"]]
    arguments |= depth_arguments(decoder, depth)
    if "width" in values:
        scale = _SCALES[values["width"]]
        arguments["decoder_channels"] = [max(_LEAST_WIDTH, int(width * scale)) for width in _WIDTHS[-depth:]]
    if "channels" in values:
        arguments[_CHANNELS.get(decoder, "decoder_channels")] = values["channels"]
    if "rates" in values:
        arguments["decoder_atrous_rates"] = [int(rate) for rate in values["rates"].split("-")]
    return arguments


def depth_arguments(decoder: str, depth: int) -> dict[str, Any]:
    """The arguments of a decoder that depend on the encoder's depth: smp's defaults fail at all depths but one."""
    if decoder in ("Unet", "UnetPlusPlus", "MAnet"):
        # A feature map of one stride has one width, whatever the depth.
        return {"decoder_channels": list(_WIDTHS[-depth:])}
    # The outputs would be larger or smaller than the images.
    if decoder == "PSPNet":
        return {"upsampling": 2**depth}
    return {"upsampling": 2 ** (depth - 3)} if decoder == "FPN" else {}
