"""A folder of weights for a network that was put in place, where the project's own one writes such folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn

from automl_plugins.scripts.checkpoints import network_of
from automl_plugins.system.files import write_whole
from automl_plugins.system.finite import strict_json

_WEIGHTS, _CONFIG = "model.safetensors", "config.json"


def keep_writing(original: nn.Module, network: nn.Module, name: Callable[[nn.Module], Any]) -> None:
    """Give a network the method `save_pretrained` where the one in whose place it comes has it.

    Args:
        original: the project's own.
        network: the other one.
        name: names a network as plain values, see `checkpoints.named_network`.
    """
    if callable(getattr(original, "save_pretrained", None)):
        vars(network)["save_pretrained"] = partial(save_pretrained, network, name)


def save_pretrained(network: nn.Module, name: Callable[[nn.Module], Any], save_directory: Any, **_: Any) -> None:
    """Write a network's weights and what names it into a folder, in the layout of the hub.

    Args:
        network: the network.
        name: see `keep_writing`.
        save_directory: the folder.
    """
    folder = Path(save_directory)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {key: value.contiguous() for key, value in network.state_dict().items()}
    save_file(weights, folder / _WEIGHTS)
    write_whole(folder / _CONFIG, strict_json(name(network)))


def load_pretrained(folder: Any) -> nn.Module:
    """The network of a folder that `save_pretrained` has written.

    Raises:
        ValueError: it is of a space that is neither registered nor imported.
    """
    network = network_of(json.loads(Path(folder, _CONFIG).read_text(encoding="utf-8")))
    network.load_state_dict(load_file(Path(folder, _WEIGHTS)))
    return network
