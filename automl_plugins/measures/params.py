"""The figure `params`: trainable parameters of a network."""

from __future__ import annotations

from torch import nn


def params(network: nn.Module) -> int:
    """The number of trainable parameters; shared ones count once."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
