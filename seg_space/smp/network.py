"""Networks of segmentation_models_pytorch: their arguments, for images of any size, without idle weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_WIDTHS = (256, 128, 64, 32, 16)
"""Of smp's U-shaped decoders, the coarsest map first."""
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
# They normalise the average over the whole map: one value a channel and image.
_NORMALISE_AVERAGES = ("DeepLabV3", "DeepLabV3Plus", "PAN", "UPerNet")

# What smp and timm raise where parts do not fit.
_REFUSALS = (AssertionError, AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError)


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
    """What a decoder needs for an encoder of a depth: smp's defaults are those of one depth, and fail at others."""
    if decoder in ("Unet", "UnetPlusPlus", "MAnet"):
        # A map of one stride has one width, whatever the depth.
        return {"decoder_channels": list(_WIDTHS[-depth:])}
    # The outputs would be larger or smaller than the images.
    if decoder == "PSPNet":
        return {"upsampling": 2**depth}
    return {"upsampling": 2 ** (depth - 3)} if decoder == "FPN" else {}


class SmpNetwork(nn.Module):
    """A model of smp for images of any size: they are padded to what it needs, and the outputs cropped.

    Below and on the right, the image's border is repeated up to the multiple of the encoder's stride that smp
    asks for, and to twice the stride at least (eight times for PAN, which pools its coarsest map three times).

    Shapes:
        images `[batch, in_channels, height, width]`; output `[batch, classes, height, width]`.

    Args:
        model: of smp, without an auxiliary head; its own methods (`save_pretrained` and others) stay its own.

    Raises:
        ValueError: in training, for a batch of one image, where the decoder normalises over the batch alone.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.decoder_name = type(model).__name__
        encoder: Any = model.encoder
        self.multiple = int(encoder.output_stride)
        self.least = self.multiple * (8 if self.decoder_name == "PAN" else 2)

    def forward(self, images: Tensor) -> Tensor:
        if self.training and images.size(0) == 1 and self.decoder_name in _NORMALISE_AVERAGES:
            raise ValueError(
                f"{self.decoder_name} normalises averages of whole images over the batch, so it cannot train on a "
                "batch of one image; give it two or more, and drop a last batch that is smaller"
            )
        height, width = images.shape[-2:]
        below, right = (max(size, self.least) - size for size in (height, width))
        below, right = below + -(height + below) % self.multiple, right + -(width + right) % self.multiple
        if below or right:
            images = functional.pad(images, (0, right, 0, below), mode="replicate")
        outputs: Tensor = self.model(images)
        return outputs[..., :height, :width]


def create_network(
    values: Mapping[str, Any], in_channels: int, out_channels: int, weights: str | None = None
) -> SmpNetwork:
    """Build a model of smp, on torch's default device, without the parts that never count.

    smp keeps all of an encoder's stages whatever the depth (92 % of a ResNet-18 of depth 3), the last
    convolution of an EfficientNet's classifier, and more. Nothing depends on them, so a module without weights
    stands in their place. `smp.from_pretrained(folder, strict=False)` loads what such a model saved.

    Args:
        values: see `smp_arguments`.
        in_channels: of images.
        out_channels: of outputs.
        weights: a name among smp's pretrained weights of the encoder, which are downloaded; None: random.

    Raises:
        ValueError: smp cannot build it; the message says why.
    """
    network = SmpNetwork(_model(smp_arguments(values), in_channels, out_channels, weights))
    modules = dict(network.named_modules())
    for name in idle_parts(tuple(values.items())):
        if name in modules:
            parent, _, child = name.rpartition(".")
            setattr(modules[parent], child, _Idle())
        else:
            network.get_parameter(name).requires_grad_(False)
    return network


class _Idle(nn.Module):
    """In place of a module whose output is not used; smp calls some with further arguments."""

    def forward(self, x: Tensor, *others: Any) -> Tensor:
        return x


@cache
def idle_parts(values: tuple[tuple[str, Any], ...]) -> tuple[str, ...]:
    """The names of modules, and of parameters beside them, that no output of an `SmpNetwork` depends on.

    Found by a backward pass that computes nothing, on torch's `meta` device.

    Args:
        values: the items of what `smp_arguments` takes.

    Raises:
        ValueError: smp cannot build or run it.
    """
    arguments = smp_arguments(dict(values))
    with torch.device("meta"):
        network = SmpNetwork(_model(arguments, 3, 1, None))
        images = torch.zeros(2, 3, network.least, network.least)
        with _explained(arguments):
            outputs = network(images)
    if outputs.shape[-2:] != images.shape[-2:]:
        raise ValueError(f"{_told(arguments)}: the outputs have the size {tuple(outputs.shape[-2:])}, not the images'")
    parameters = dict(network.named_parameters())
    found = torch.autograd.grad(outputs.sum(), list(parameters.values()), allow_unused=True)
    used = {name for name, gradient in zip(parameters, found, strict=True) if gradient is not None}
    return tuple(_idle(network, "", used))


def _idle(module: nn.Module, prefix: str, used: set[str]) -> list[str]:
    found = [prefix + name for name, _ in module.named_parameters(recurse=False) if prefix + name not in used]
    for name, child in module.named_children():
        own = {f"{prefix}{name}.{each}" for each, _ in child.named_parameters()}
        if own and not own & used:
            found.append(prefix + name)
        elif not own <= used:
            found += _idle(child, f"{prefix}{name}.", used)
    return found


def _model(arguments: Mapping[str, Any], in_channels: int, out_channels: int, weights: str | None) -> nn.Module:
    import segmentation_models_pytorch as smp

    device = torch.get_default_device()
    empty = device.type == "meta"
    given: Any = None if empty else weights
    if given is not None and arguments["encoder_name"].startswith("tu-"):
        # For an encoder of timm smp takes a yes: the name of its weights is part of its own.
        given = True
    # A MiT reads its drop rates while it is built, which `meta` cannot; and smp's own encoders replace their first
    # convolution without heed of the device. Nothing is drawn from torch's global generator for weights of no value.
    place = torch.device("cpu") if arguments["encoder_name"].startswith("mit_b") else device
    with place, torch.random.fork_rng(devices=[], enabled=empty), _explained(arguments):
        model: nn.Module = smp.create_model(
            **arguments, encoder_weights=given, in_channels=in_channels, classes=out_channels
        )
    return model.to(device)


@contextmanager
def _explained(arguments: Mapping[str, Any]) -> Iterator[None]:
    try:
        yield
    except _REFUSALS as error:
        raise ValueError(f"{_told(arguments)} cannot be had from smp: {error}") from error


def _told(arguments: Mapping[str, Any]) -> str:
    return f"{arguments['arch']} on {arguments['encoder_name']!r} of depth {arguments['encoder_depth']}"
