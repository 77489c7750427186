"""Weights in files, of which nothing but tensors is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")
"""Of the files that weights are read from; whatever does not end so is a name."""

_AROUND = ("state_dict", "model", "model_state_dict")
"""Keys under which checkpoints keep a `state_dict`."""


def is_file_name(weights: str) -> bool:
    """True where `encoder_weights` names a file, and not weights that a library knows."""
    return weights.lower().endswith(SUFFIXES)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a `state_dict`, or of a checkpoint around one; nothing is unpickled but tensors.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"encoder_weights={str(path)!r}: there is no such file")
    try:
        content: Any = _read(path)
    except Exception as error:  # both libraries raise nearly anything for a file of another kind
        raise ValueError(
            f"encoder_weights={str(path)!r}: it is no state_dict of torch or safetensors, or holds objects, which are "
            "not unpickled; save `model.state_dict()`"
        ) from error
    for key in _AROUND:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    tensors = content if isinstance(content, Mapping) else {}
    state = {str(name): value for name, value in tensors.items() if isinstance(value, Tensor)}
    if not state:
        raise ValueError(f"encoder_weights={str(path)!r}: it holds no tensors by name; save `model.state_dict()`")
    return state


def _read(path: Path) -> Any:
    if path.suffix.lower() == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path, device="cpu")
    return torch.load(path, map_location="cpu", weights_only=True)
