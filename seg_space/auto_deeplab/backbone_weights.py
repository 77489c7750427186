"""The stem and the layers of a network with the weights that another training of the architecture has left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from seg_space.pretrained.files import read_weights
from seg_space.pretrained.fitting import refuse_nan

_PARTS = ("stem.", "layers.", "nodes.")
"""The beginnings of the names of a backbone's tensors."""
_FIRST = "stem.0.0.weight"
_NAMED = 5
"""The number of tensors that a message lists."""


def load_backbone(network: nn.Module, path: Path) -> None:
    """Load the stem and the layers from a file; the head stays as it is, whatever the file's task was.

    The file is a `state_dict` (a study's `network.pt`) or a checkpoint of Lightning's around the network. Nothing but
    tensors is unpickled.

    Args:
        network: of the same architecture and sizes.
        path: of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no such backbone, or that of another architecture, or values that are not finite; the
            message names what does not fit.
    """
    told = f"backbone_weights={str(path)!r}"
    theirs = _backbone(read_weights(path, "backbone_weights"), told)
    ours = {name: tensor for name, tensor in network.state_dict().items() if name.startswith(_PARTS)}
    lacking = [f"{name} is missing" for name in ours if name not in theirs]
    odd = [f"{name} is not the network's" for name in theirs if name not in ours]
    wrong = [
        f"{name} is {list(theirs[name].shape)} for {list(tensor.shape)}"
        for name, tensor in ours.items()
        if name in theirs and theirs[name].shape != tensor.shape
    ]
    if wrong or lacking or odd:
        raise ValueError(
            f"{told}: it is the backbone of another architecture, or of other sizes: {_some([*wrong, *lacking, *odd])}"
            "; give the weights of the same architecture, in a space of the same filters and stem"
        )
    refuse_nan(theirs, told)
    network.load_state_dict(theirs, strict=False)


def _backbone(state: Mapping[str, Tensor], told: str) -> dict[str, Tensor]:
    """The tensors of the backbone by a network's own names."""
    prefixes = [name.removesuffix(_FIRST) for name in state if name.endswith(_FIRST)]
    if not prefixes:
        raise ValueError(
            f"{told}: it holds no {_FIRST}, so no backbone of Auto-DeepLab's; give a trained network's file"
        )
    prefix = min(prefixes, key=len)
    own = {name.removeprefix(prefix): each for name, each in state.items() if name.startswith(prefix)}
    return {name: each for name, each in own.items() if name.startswith(_PARTS)}


def _some(told: Sequence[str]) -> str:
    return ", ".join(told[:_NAMED]) + (f", and {len(told) - _NAMED} more" if len(told) > _NAMED else "")
