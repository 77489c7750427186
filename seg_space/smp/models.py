"""Models of segmentation_models_pytorch on the backbones that Auto-DeepLab's space has: make, save and load them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import nn

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.system.nearest import did_you_mean
from seg_space.auto_deeplab.encoder import AutoDeepLabEncoder
from seg_space.auto_deeplab.space import AutoDeepLabSpace
from seg_space.smp.arguments import depth_arguments
from seg_space.smp.space import DECODERS

# smp keeps arguments that begin so in a model's config.json, and does not hand them to the model.
_IN_CONFIG = "_auto_deeplab"
_OF_ENCODERS = ("layers", "blocks", "filters", "stem", "stem_stride", "drop_path")
# smp looks for such encoders elsewhere, or has rules of its own for them.
_TAKEN = ("tu-", "timm-", "mit_b", "vgg")


def register_encoder(name: str, architecture: Architecture, space: AutoDeepLabSpace) -> None:
    """Make the backbone of an architecture an encoder of smp: `smp.create_model("Unet", name, encoder_weights=None)`.

    Args:
        name: what smp will know it by. It has no pretrained weights, so `encoder_weights=None` is needed.
        architecture: of the space.
        space: with the filters and the stem that the encoder will have.

    Raises:
        ValueError: the architecture is not of the space or has several paths, smp treats such a name in a way of its
            own, or another encoder has it.
        RuntimeError: this version of smp keeps its encoders in another way.
    """
    for prefix in _TAKEN:
        if name.startswith(prefix):
            raise ValueError(f"{name!r}: smp has rules of its own for encoders whose name begins with {prefix!r}")
    parameters = encoder_parameters(architecture, space)
    entry = {"encoder": AutoDeepLabEncoder, "pretrained_settings": {}, "params": parameters}
    known = getattr(smp.encoders, "encoders", None)
    if not isinstance(known, dict):
        raise RuntimeError(f"segmentation_models_pytorch {smp.__version__} has no dictionary of encoders to add one to")
    if known.setdefault(name, entry) != entry:
        raise ValueError(f"there is an encoder {name!r} already; give this one another name")


def encoder_parameters(architecture: Architecture, space: AutoDeepLabSpace) -> dict[str, Any]:
    """The arguments of an `AutoDeepLabEncoder`, as plain JSON: the architecture, and the sizes that matter.

    Raises:
        ValueError: the architecture is not of the space, or has several paths.
    """
    space.validate(architecture)
    space.path(architecture)
    sizes = {**asdict(space.sizes), "stem": list(space.sizes.stem)}
    return {
        "architecture": json.loads(architecture.to_json()),
        "space": {name: sizes[name] for name in _OF_ENCODERS},
    }


def create_model(
    decoder: str,
    architecture: Architecture,
    space: AutoDeepLabSpace,
    in_channels: int = 3,
    classes: int = 1,
    depth: int = 5,
    **arguments: Any,
) -> nn.Module:
    """A model of smp on the backbone of an architecture, which its `save_pretrained` writes into `config.json`.

    `seg_space.from_pretrained` reads it in any process; `smp.from_pretrained` where the encoder has been registered.

    Args:
        decoder: one of `SmpSpace`'s.
        architecture: of the space.
        space: with the filters and the stem that the encoder will have.
        in_channels: of images.
        classes: channels of the outputs.
        depth: of the encoder; 3, 4 or 5.
        arguments: further ones of smp's model, such as `encoder_output_stride`.

    Raises:
        ValueError: the architecture is not of the space or has several paths, or the decoder cannot have this
            encoder; the message says why.
    """
    parameters = encoder_parameters(architecture, space)
    _check_decoder(decoder, parameters, depth)
    name = _name_of(parameters)
    register_encoder(name, architecture, space)
    arguments = {**depth_arguments(decoder, depth), "encoder_depth": depth, **arguments}
    model: Any = smp.create_model(
        decoder, name, encoder_weights=None, in_channels=in_channels, classes=classes, **arguments
    )
    model.config[_IN_CONFIG] = parameters
    return model


def from_pretrained(folder: str | Path) -> nn.Module:
    """Load what `save_pretrained` of a model of `create_model` wrote; nothing is unpickled.

    Raises:
        ValueError: its `config.json` has no architecture.
        OSError: a file is missing.
    """
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    parameters = config.get(_IN_CONFIG)
    if parameters is None:
        raise ValueError(
            f"{str(folder)!r}: its config.json has no architecture of the encoder {config.get('encoder_name')!r}; "
            "if it is a found one, call register_encoder with that name, and then smp.from_pretrained"
        )
    space = AutoDeepLabSpace(**parameters["space"])
    architecture = Architecture.from_json(json.dumps(parameters["architecture"]))
    register_encoder(config["encoder_name"], architecture, space)
    model: nn.Module = smp.from_pretrained(str(folder))
    return model


def _name_of(parameters: Mapping[str, Any]) -> str:
    text = json.dumps(parameters, sort_keys=True)
    return f"auto-deeplab-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _check_decoder(decoder: str, parameters: Mapping[str, Any], depth: int) -> None:
    if decoder == "DPT":
        raise ValueError("DPT reads the tokens of a vision transformer of timm; a convolutional encoder has none")
    if decoder not in DECODERS:
        raise ValueError(f"there is no decoder {decoder!r}; {did_you_mean(decoder, DECODERS)}")
    with torch.device("meta"):
        encoder: Any = AutoDeepLabEncoder(**parameters, depth=depth)
    channels = encoder.out_channels[1:]
    if decoder == "PSPNet" and channels[-1] % 4:
        raise ValueError(
            "PSPNet pools its last feature map to four sizes with a quarter of the channels each, but it has "
            f"{channels[-1]}; give the space other filters or blocks, or the encoder another depth"
        )
    if decoder == "Linknet" and min(channels) < 4:
        raise ValueError(
            "Linknet has a quarter of each feature map's channels between its convolutions, but a map has "
            f"{min(channels)}; give the space more filters, or a wider stem"
        )
