"""The images that pretrained weights expect, made of those that a datamodule gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's photographs, by channel, in values between 0 and 1."""


class InputNormalisation(nn.Module):
    """Brings images to the scale that pretrained weights expect; all that it knows is in its `state_dict`.

    Weights expect photographs between 0 and 1, less a mean, over a deviation of each channel. Datamodules give
    images that are normalised by the training images' own statistics. `match` makes one factor and one summand of
    both, so that nothing is normalised twice. Until it is called, images are taken to be what the weights expect.

    Shapes:
        images and output `[batch, channels, height, width]`.

    Args:
        mean: that the weights expect, of three channels.
        deviation: likewise.
        channels: of the images. One channel has the average of three; others repeat them, as the first layer does.
    """

    mean: Tensor
    deviation: Tensor
    factor: Tensor
    summand: Tensor

    def __init__(self, mean: Sequence[float], deviation: Sequence[float], channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", _over_channels(mean, channels))
        self.register_buffer("deviation", _over_channels(deviation, channels))
        self.register_buffer("factor", torch.ones(channels))
        self.register_buffer("summand", torch.zeros(channels))

    def forward(self, images: Tensor) -> Tensor:
        return images * self.factor.view(-1, 1, 1) + self.summand.view(-1, 1, 1)

    def match(self, mean: Tensor, deviation: Tensor, limits: tuple[float, float] | None) -> None:
        """Settle what is done to images that a datamodule has normalised.

        Args:
            mean: that was taken off, `[channels]`, in the images' own values.
            deviation: that they were divided by, `[channels]`.
            limits: the values of black and white, such as 0 and 255. None: the values have no such limits, as those
                of a scanner; the images then come with the mean and the deviation of ImageNet's photographs.
        """
        channels = len(self.factor)
        if limits is None:
            scale = _over_channels(IMAGENET_DEVIATION, channels).to(self.mean)
            shift = _over_channels(IMAGENET_MEAN, channels).to(self.mean)
        else:
            low, high = limits
            scale = deviation.to(self.mean) / (high - low)
            shift = (mean.to(self.mean) - low) / (high - low)
        self.factor.copy_(scale / self.deviation)
        self.summand.copy_((shift - self.mean) / self.deviation)


def _over_channels(values: Sequence[float], channels: int) -> Tensor:
    """Values of three channels for so many: the average for one, and repeated for more."""
    if channels == 1:
        return torch.tensor([sum(values) / len(values)])
    return torch.tensor([values[channel % len(values)] for channel in range(channels)])


def match_normalisation(network: nn.Module, data: Any) -> None:
    """Have every pretrained encoder in a network expect a datamodule's images; our modules do it when a fit begins.

    Args:
        network: one of this package's, or a searchable of it; without pretrained weights nothing happens.
        data: a datamodule with `image_statistics` (mean and deviation by channel) and, where values have limits,
            `image_limits`. Without the former, images are taken to be what the weights expect.
    """
    statistics = getattr(data, "image_statistics", None)
    for part in network.modules():
        if isinstance(part, InputNormalisation) and statistics is not None:
            mean, deviation = statistics
            part.match(mean, deviation, getattr(data, "image_limits", None))
