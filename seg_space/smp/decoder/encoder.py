"""Encoders of smp and timm: made, described, and asked for their feature maps."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from automl_plugins.system.to_be_loaded import is_to_be_loaded
from seg_space.pretrained.encoders import pretrain
from seg_space.pretrained.sources import Weights
from seg_space.smp.encoder_names import check_encoder

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
    check_encoder(name)
    try:
        with torch.device("cpu"), torch.random.fork_rng(devices=[]):
            encoder = encoder_template(name, 3, stride)
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


class Encoder(nn.Module):
    """An encoder of smp, asked for its feature maps; parameters that no map depends on ask for no gradient.

    Args:
        name: in smp.
        in_channels: of images.
        stride: of the last feature map, 16 or 32; 16 is had by dilation.
        weights: that it begins with; see `seg_space.pretrained.sources.Weights`.
        frozen: its parameters ask for no gradients, and its batch normalisations keep the statistics that they have,
            whatever is evaluated or measured anew around them.
    """

    def __init__(self, name: str, in_channels: int, stride: int, weights: Weights, frozen: bool) -> None:
        super().__init__()
        device = torch.get_default_device()
        if device.type == "meta" or is_to_be_loaded():
            # Weights are of no value here: the space counts many networks, and making an encoder takes a second.
            model = encoder_template(name, in_channels, stride)
        else:
            # Parts of smp's encoders are made without heed of the device.
            with torch.device("cpu"):
                model = _made(name, in_channels, stride)
        self.normalisation = pretrain(model, name, weights, in_channels)
        for each in encoder_facts(name, stride).unused:
            model.get_parameter(each).requires_grad_(False)
        self.frozen = frozen
        self.model = (with_frozen_norms(model).requires_grad_(False) if frozen else model).to(device)

    @property
    def pretrained_encoder(self) -> nn.Module | None:
        """The encoder, where it began with pretrained weights and is trained further."""
        return None if self.normalisation is None or self.frozen else self.model

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """The maps, `[batch, channels, height, width]`, by the strides that they have without dilation.

        Args:
            images: `[batch, in_channels, height, width]`, both sides multiples of 32.
        """
        if self.normalisation is not None:
            images = self.normalisation(images)
        if not self.frozen:
            maps = self.model(images)
        else:
            with torch.no_grad(), evaluated(self.model):
                maps = self.model(images)
        return {2**level: maps[level] for level in range(1, DEPTH + 1)}


def with_frozen_norms(module: nn.Module) -> nn.Module:
    """The module, its batch normalisations replaced by such as keep their statistics in every mode."""
    layers: Any = import_module("timm.layers")
    frozen: nn.Module = layers.freeze_batch_norm_2d(module)
    return frozen


def encoder_template(name: str, in_channels: int, stride: int) -> nn.Module:
    """An encoder of smp on the CPU, with weights of no value; made once, and copied."""
    return copy.deepcopy(_template(name, in_channels, stride))


@cache
def _template(name: str, in_channels: int, stride: int) -> nn.Module:
    with torch.device("cpu"), torch.random.fork_rng(devices=[]), torch.inference_mode(False):
        return _made(name, in_channels, stride)


def _made(name: str, in_channels: int, stride: int) -> nn.Module:
    import segmentation_models_pytorch as smp

    encoder: nn.Module = smp.encoders.get_encoder(
        name, in_channels=in_channels, depth=DEPTH, weights=None, output_stride=stride
    )
    return encoder


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
