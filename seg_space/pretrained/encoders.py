"""Pretrained weights in encoders of smp, and the normalisation that goes with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from automl_plugins.errors import WeightsError
from automl_plugins.system.to_be_loaded import is_to_be_loaded
from seg_space.pretrained.fitting import load_weights
from seg_space.pretrained.normalisation import IMAGENET_DEVIATION, IMAGENET_MEAN, InputNormalisation
from seg_space.pretrained.sources import find_weights


def pretrain(
    encoder: nn.Module, name: str, weights: str | Mapping[str, Any] | None, in_channels: int
) -> InputNormalisation | None:
    """Load pretrained weights into an encoder, whose first layer has the images' channels already.

    On `meta`, and within `to_be_loaded`, no weights are read or downloaded.

    Args:
        encoder: of smp, whole.
        name: that smp knows it by.
        weights: see `sources.Weights`; None: nothing is done.
        in_channels: of the images.

    Returns:
        The normalisation of the images that the network has to have; None without weights.

    Raises:
        WeightsError: the weights cannot be had, or do not fit; the message says what does not.
    """
    if weights is None:
        return None
    if is_to_be_loaded() or torch.get_default_device().type == "meta":
        return InputNormalisation(IMAGENET_MEAN, IMAGENET_DEVIATION, in_channels)
    told = weights if isinstance(weights, str) else weights["file"]
    try:
        found = find_weights(name, weights)
        load_weights(encoder, found.state, f"encoder_weights={told!r} for {name!r}")
    except (ImportError, OSError, ValueError) as error:
        raise WeightsError(str(error)) from error
    return InputNormalisation(found.mean, found.deviation, in_channels)
