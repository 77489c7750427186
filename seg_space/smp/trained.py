"""A trained model of smp from a file of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from automl_plugins.system.nearest import did_you_mean
from seg_space.pretrained.files import read_weights
from seg_space.pretrained.fitting import fit_weights, refuse_nan
from seg_space.pretrained.normalisation import InputNormalisation
from seg_space.smp.building import idle_in
from seg_space.smp.encoder_names import check_encoder
from seg_space.smp.network import SmpNetwork
from seg_space.smp.space import DECODERS

_NORMALISATION = "normalisation."


def load_trained(arguments: Mapping[str, Any], checkpoint: str) -> SmpNetwork:
    """A network around a model of smp, with the weights that a training has left.

    The file is the model's `state_dict`, or a checkpoint of a network or a LightningModule around it. The normalisation
    of images that a network with pretrained weights has beside its model (`network.pt` of a study) is taken over too.
    Weights of parts that no output depends on may be missing.

    Args:
        arguments: of `smp.create_model`: `arch`, `encoder_name`, `classes` and others. `encoder_weights` is not read.
        checkpoint: the path of the file.

    Raises:
        ValueError: smp makes no such model, the file cannot be read, or holds another one's weights or values that are
            not finite; the message says what does not fit.
    """
    if not isinstance(checkpoint, str):
        raise ValueError(f"checkpoint is the path of a file; got {checkpoint!r}")
    network, idle = _made(arguments)
    told = f"checkpoint={checkpoint!r}"
    try:
        state = read_weights(Path(checkpoint).expanduser(), "checkpoint")
    except OSError as error:
        raise ValueError(str(error)) from error
    fit = fit_weights(network.model, state, adapt=False)
    unused = tuple(f"{name.removeprefix('model.')}." for name in idle)
    needed = [name for name in fit.missing if not f"{name}.".startswith(unused)]
    if needed or fit.wrong:
        raise ValueError(f"{told}, for the {arguments['arch']} that model says: {fit}")
    refuse_nan(fit.fitting, told)
    network.model.load_state_dict(fit.fitting, strict=False)
    network.normalisation = _normalisation(state, _in_channels(network), told)
    return network


def _made(arguments: Mapping[str, Any]) -> tuple[SmpNetwork, tuple[str, ...]]:
    """A network, and the names of its parts that no output depends on."""
    import segmentation_models_pytorch as smp

    if not isinstance(arguments, Mapping):
        raise ValueError(
            f"model is a mapping of smp's arguments, such as {{arch: Unet, classes: 4}}; got {arguments!r}"
        )
    arch = arguments.get("arch")
    if arch not in DECODERS:
        raise ValueError(f"model.arch={arch!r}: there is no such model; {did_you_mean(arch, DECODERS)}")
    if "encoder_name" in arguments:
        check_encoder(arguments["encoder_name"])
    if arguments.get("activation") not in (None, "identity") or arguments.get("aux_params") is not None:
        raise ValueError("model.activation and model.aux_params: modules take a model's logits alone; leave them out")
    try:
        with torch.device("cpu"), torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
            network = SmpNetwork(smp.create_model(**{**arguments, "encoder_weights": None})).eval()
            return network, idle_in(network, _in_channels(network))
    except Exception as error:  # smp, timm and torch raise nearly anything for arguments that do not fit
        reason = " ".join(str(error).split())
        raise ValueError(f"model: smp cannot make it: {type(error).__name__}: {reason}") from error


def _in_channels(network: SmpNetwork) -> int:
    encoder: Any = network.model.encoder
    return int(encoder.out_channels[0])


def _normalisation(state: Mapping[str, Tensor], channels: int, told: str) -> InputNormalisation | None:
    """The normalisation of images that a file has beside a model's weights."""
    own = {name.rpartition(_NORMALISATION)[2]: tensor for name, tensor in state.items() if _NORMALISATION in name}
    made = InputNormalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), channels)
    if own.keys() != made.state_dict().keys():
        return None
    refuse_nan(own, told)
    try:
        made.load_state_dict(own)
    except RuntimeError as error:
        raise ValueError(f"{told}: its normalisation is not of {channels} channels") from error
    return made
