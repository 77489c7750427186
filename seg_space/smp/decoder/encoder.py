"""Encoders of smp and timm: made, described, and asked for their feature maps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from automl_plugins.system.nearest import did_you_mean

DEPTH = 5
# What smp and timm raise where parts do not fit.
_REFUSALS = (AssertionError, AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError)


class EncoderFacts(NamedTuple):
    """The facts of an encoder that are known before one is made.

    Args:
        channels: of its five feature maps, the finest first; 0: there is none of that stride.
        unused: the names of parameters that no map depends on.
    """

    channels: tuple[int, ...]
    unused: frozenset[str]


@cache
def encoder_facts(name: str, stride: int) -> EncoderFacts:
    """The facts of an encoder whose last map has a stride, found by a backward pass without weights of value.

    Raises:
        ValueError: smp and timm have no such encoder, or it cannot have that stride.
    """
    _check_known(name)
    try:
        with torch.device("cpu"), torch.random.fork_rng(devices=[]):
            encoder = _built(name, 3, stride, None)
            maps = encoder(torch.zeros(2, 3, 64, 64))
    except _REFUSALS as error:
        cure = "another encoder" if stride == 32 else "give encoder_strides: [32], or another encoder"
        raise ValueError(f"the encoder {name!r} of stride {stride} cannot be had from smp: {error}; {cure}") from error
    strides = [64 // each.size(-1) for each in maps[1:]]
    if strides != [2, 4, 8, 16, stride]:
        raise ValueError(
            f"the encoder {name!r} gives maps of the strides {strides}, not of 2, 4, 8, 16 and {stride}; "
            "give encoder_strides: [32], or another encoder"
        )
    parameters = dict(encoder.named_parameters())
    total = torch.stack([each.sum() for each in maps[1:]]).sum()
    gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    unused = {each for each, gradient in zip(parameters, gradients, strict=True) if gradient is None}
    return EncoderFacts(tuple(each.size(1) for each in maps[1:]), frozenset(unused))


def _check_known(name: str) -> None:
    import segmentation_models_pytorch as smp
    import timm

    known = smp.encoders.get_encoder_names()
    if name not in known and not (name.startswith("tu-") and timm.is_model(name[3:])):
        names = [*known, *(f"tu-{each}" for each in timm.list_models())]
        raise ValueError(f"there is no encoder {name!r}; {did_you_mean(name, names)}")


def make_encoder(name: str, in_channels: int, stride: int, weights: str | None, frozen: bool) -> nn.Module:
    """An encoder on torch's default device; parameters that no map depends on ask for no gradient.

    Args:
        name: in smp.
        in_channels: of images.
        stride: of the last feature map, 16 or 32; 16 is had by dilation.
        weights: see `SmpDecoderSpace`.
        frozen: its parameters ask for no gradients, and its batch normalisations keep the statistics that they have,
            whatever is evaluated or measured anew around them.
    """
    device = torch.get_default_device()
    empty = device.type == "meta"
    # Parts of smp's encoders are made without heed of the device; nothing is drawn for weights of no value.
    with torch.device("cpu"), torch.random.fork_rng(devices=[], enabled=empty):
        encoder = _built(name, in_channels, stride, None if empty else weights)
    for each in encoder_facts(name, stride).unused:
        encoder.get_parameter(each).requires_grad_(False)
    if frozen:
        encoder = with_frozen_norms(encoder).requires_grad_(False)
    return encoder.to(device)


def with_frozen_norms(module: nn.Module) -> nn.Module:
    """The module, its batch normalisations replaced by such as keep their statistics in every mode."""
    layers: Any = import_module("timm.layers")
    frozen: nn.Module = layers.freeze_batch_norm_2d(module)
    return frozen


def _built(name: str, in_channels: int, stride: int, weights: str | None) -> nn.Module:
    import segmentation_models_pytorch as smp

    pretrained: Any = True if weights is not None and name.startswith("tu-") else weights
    encoder: nn.Module = smp.encoders.get_encoder(
        name, in_channels=in_channels, depth=DEPTH, weights=pretrained, output_stride=stride
    )
    return encoder


def feature_maps(encoder: nn.Module, images: Tensor, frozen: bool) -> dict[int, Tensor]:
    """The encoder's maps, `[batch, channels, height, width]`, by the strides that they have without dilation.

    Args:
        encoder: of `make_encoder`.
        images: `[batch, in_channels, height, width]`, both multiples of 32.
        frozen: compute them in evaluation mode, and without gradients.
    """
    if not frozen:
        maps = encoder(images)
    else:
        with torch.no_grad(), evaluated(encoder):
            maps = encoder(images)
    return {2**level: maps[level] for level in range(1, DEPTH + 1)}


@contextmanager
def evaluated(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards every part is in the mode that it was in."""
    modes = [(each, each.training) for each in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for each, training in modes:
            each.training = training
