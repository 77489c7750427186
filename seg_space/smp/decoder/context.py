"""The context: a map of an encoder's last feature map, before a decoder goes to finer strides."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seg_space.auto_deeplab.stem import rectified
from seg_space.smp.decoder.sizes import DecoderOptions
from seg_space.smp.decoder.stage import make_convolution

_DROPOUT = 0.5


def split_rates(rates: str) -> tuple[int, ...]:
    """The atrous rates of an option such as `6-12-18`."""
    return tuple(int(each) for each in rates.split("-"))


def atrous_separable(in_channels: int, out_channels: int, rate: int) -> nn.Sequential:
    """A separable convolution of 3x3 pixels so far apart, normalised and rectified."""
    depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=rate, dilation=rate, groups=in_channels, bias=False)
    return nn.Sequential(depthwise, *rectified(in_channels, out_channels))


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
        self.branches = nn.ModuleList(
            [rectified(in_channels, filters)]
            + [atrous_separable(in_channels, filters, rate) for rate in split_rates(rates)]
        )
        self.pooled = rectified(in_channels, filters)
        self.merge = rectified((len(self.branches) + 1) * filters, filters)
        self.dropout = nn.Dropout(_DROPOUT)
        self.refine = make_convolution("separable_3x3", filters, filters)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pooled(x.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, x.size(2), x.size(3))
        merged = self.merge(torch.cat([*(branch(x) for branch in self.branches), pooled], dim=1))
        outputs: Tensor = self.refine(self.dropout(merged))
        return outputs


def make_context(options: DecoderOptions, in_channels: int) -> nn.Module:
    """The module of a network's context."""
    if options.context == "linear":
        return nn.Conv2d(in_channels, options.context_filters, 1)
    if options.context == "aspp":
        return AtrousPyramid(in_channels, options.context_filters, options.rates)
    return nn.Identity()
