"""The pretrained encoders of a network in training: their parameters, frozen or not, and their batch statistics."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def pretrained_encoders(network: nn.Module) -> Iterator[nn.Module]:
    """The encoders in a network that began with pretrained weights.

    A part of the network has one where its attribute `pretrained_encoder` is a module.
    """
    for part in network.modules():
        encoder = getattr(part, "pretrained_encoder", None)
        if isinstance(encoder, nn.Module):
            yield encoder


class Encoders:
    """The pretrained encoders of a network, to be frozen and thawed.

    Args:
        network: with such encoders, or with none.
    """

    def __init__(self, network: nn.Module) -> None:
        self._encoders = tuple(pretrained_encoders(network))
        found = {id(weight): weight for encoder in self._encoders for weight in encoder.parameters()}
        self.weights = tuple(weight for weight in found.values() if weight.requires_grad)

    def freeze(self, frozen: bool) -> None:
        """Have the encoders' weights ask for no gradients, or for them again."""
        for weight in self.weights:
            weight.requires_grad_(not frozen)

    def forget_gradients(self) -> None:
        """Take the gradients away, so that an optimizer leaves the encoders as they are."""
        for weight in self.weights:
            weight.grad = None

    def fix_statistics(self, fixed: bool) -> None:
        """Have the batch normalisations use and keep the statistics that they have, or learn them again."""
        for encoder in self._encoders:
            for part in encoder.modules():
                if isinstance(part, _BatchNorm):
                    part.train(not fixed)
