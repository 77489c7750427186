"""A network as a flow: weights without their signs, no normalisation, ones for features."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from automl_plugins.spaces.probe import Inputs

_LAYER_NORMS = (functional.layer_norm, functional.rms_norm)
"""Their weight is the third argument and has the shape of the last dimensions."""
_CHANNEL_NORMS: dict[Callable[..., Any], int] = {
    functional.batch_norm: 3,
    functional.instance_norm: 3,
    functional.group_norm: 2,
}
"""The position of the weight, `[channels]`."""


class WithoutNormalisation(TorchFunctionMode):
    """Normalisations, in a `with` block, only multiply by their weights: a constant minus its mean would be nothing."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        is_channels = func in _CHANNEL_NORMS
        if not (is_channels or func in _LAYER_NORMS):
            return func(*args, **kwargs)
        features = args[0] if args else kwargs["input"]
        place = _CHANNEL_NORMS.get(func, 2)
        weight: Tensor | None = args[place] if len(args) > place else kwargs.get("weight")
        if weight is None:
            return features
        if is_channels and features.dim() > 2:
            weight = weight.reshape(-1, *[1] * (features.dim() - 2))
        return features * weight


def as_flow(network: nn.Module) -> nn.Module:
    """The network itself, in float64 and evaluation mode, its weights without their signs."""
    network.double().eval().requires_grad_(True)
    with torch.no_grad():
        for weight in network.parameters():
            weight.abs_()
    return network


def flow_inputs(inputs: Inputs) -> Inputs:
    """Inputs in float64 where they are real-valued."""
    return tuple(each.double() if isinstance(each, Tensor) and each.is_floating_point() else each for each in inputs)
