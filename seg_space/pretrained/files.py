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


def read_weights(path: Path, key: str = "encoder_weights") -> dict[str, Tensor]:
    """The tensors of a `state_dict`, or of a checkpoint around one; nothing is unpickled but tensors.

    Args:
        path: of the file.
        key: the argument that names it, for messages.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else, or tensors that are no plain values.
    """
    told = f"{key}={str(path)!r}"
    if not path.is_file():
        raise FileNotFoundError(f"{told}: there is no such file")
    try:
        content: Any = _read(path)
    except Exception as error:  # both libraries raise nearly anything for a file of another kind
        raise ValueError(
            f"{told}: it is no state_dict of torch or safetensors, or holds objects, which are not unpickled; save "
            "`model.state_dict()`"
        ) from error
    for around in _AROUND:
        if isinstance(content, Mapping) and isinstance(content.get(around), Mapping):
            content = content[around]
    tensors = content if isinstance(content, Mapping) else {}
    state = {str(name): value for name, value in tensors.items() if isinstance(value, Tensor)}
    if not state:
        raise ValueError(f"{told}: it holds no tensors by name; save `model.state_dict()`")
    odd = next((name for name, tensor in state.items() if not _is_plain(tensor)), None)
    if odd is not None:
        raise ValueError(f"{told}: {odd} is sparse, quantized, complex or without values; save `model.state_dict()`")
    return state


def _is_plain(tensor: Tensor) -> bool:
    is_odd = tensor.is_meta or tensor.is_quantized or tensor.is_complex() or tensor.is_nested
    return tensor.layout is torch.strided and not is_odd


def _read(path: Path) -> Any:
    if path.suffix.lower() == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path, device="cpu")
    return torch.load(path, map_location="cpu", weights_only=True)
