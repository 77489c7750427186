"""The context: a map of an encoder's last feature map, before a decoder goes to finer strides."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from seg_space.auto_deeplab.stem import rectified
from seg_space.smp.decoder.sizes import DecoderOptions
from seg_space.smp.decoder.stage import make_convolution

_DROPOUT = 0.5


def split_rates(rates: str) -> tuple[int, ...]:
    """The atrous rates of an option such as `6-12-18`."""
    return tuple(int(each) for each in rates.split("-"))


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling with separable convolutions, and one more of them (Chen et al. 2018, section 3).

    As smp's DeepLabV3+ has it, its dropout among it.

    Args:
        in_channels: of the map.
        filters: of each branch and of the output.
        rates: of the atrous branches.
    """

    def __init__(self, in_channels: int, filters: int, rates: str) -> None:
        super().__init__()
        self.rates = rates
        self.pointwise = rectified(in_channels, filters)
        self.atrous = nn.ModuleList(make_convolution("separable_3x3", in_channels, filters) for _ in split_rates(rates))
        self.pooled = rectified(in_channels, filters)
        self.merge = rectified((len(self.atrous) + 2) * filters, filters)
        self.dropout = nn.Dropout(_DROPOUT)
        self.refine = make_convolution("separable_3x3", filters, filters)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x, self.rates)

    def pool(self, x: Tensor, rates: str) -> Tensor:
        """The output with other atrous rates, by the same weights."""
        atrous = [_at_rate(branch, x, rate) for branch, rate in zip(self.atrous, split_rates(rates), strict=True)]
        pooled = self.pooled(x.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, x.size(2), x.size(3))
        merged = self.merge(torch.cat([self.pointwise(x), *atrous, pooled], dim=1))
        outputs: Tensor = self.refine(self.dropout(merged))
        return outputs


def _at_rate(branch: nn.Module, x: Tensor, rate: int) -> Tensor:
    depthwise, *others = cast(nn.Sequential, branch)
    x = functional.conv2d(x, cast(Tensor, depthwise.weight), padding=rate, dilation=rate, groups=x.size(1))
    for each in others:
        x = each(x)
    return x


def make_context(options: DecoderOptions, in_channels: int) -> nn.Module:
    """The module of a network's context."""
    if options.context == "linear":
        return nn.Conv2d(in_channels, options.context_filters, 1)
    if options.context == "aspp":
        return AtrousPyramid(in_channels, options.context_filters, options.rates)
    return nn.Identity()
