"""The parts of exported networks of `SmpDecoderSpace`; see `automl_plugins.spaces.plain_source`."""

from collections.abc import Sequence

import segmentation_models_pytorch as smp
import torch
from timm.layers.norm_act import freeze_batch_norm_2d
from torch import Tensor, nn
from torch.nn import functional

from seg_space.auto_deeplab.plain import rectified

__all__ = ["freeze_batch_norm_2d", "smp"]


def nearest(x: Tensor, times: int) -> Tensor:
    """A feature map, enlarged by repeating pixels."""
    return functional.interpolate(x, scale_factor=float(times), mode="nearest")


def bilinear(x: Tensor, times: int) -> Tensor:
    """A feature map, enlarged bilinearly between the centres of the pixels at the corners."""
    return functional.interpolate(x, scale_factor=float(times), mode="bilinear", align_corners=True)


def normalised(inputs: int, outputs: int) -> nn.Sequential:
    """A 1x1 convolution and its normalisation."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


def depthwise(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    """A depthwise and a 1x1 convolution, normalised and rectified."""
    padding = dilation * (kernel // 2)
    first = nn.Conv2d(inputs, inputs, kernel, padding=padding, dilation=dilation, groups=inputs, bias=False)
    return nn.Sequential(first, *rectified(inputs, outputs))


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling with separable convolutions, and one more of them (Chen et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.pointwise, self.pooled = rectified(inputs, outputs), rectified(inputs, outputs)
        self.atrous = nn.ModuleList(depthwise(inputs, outputs, 3, rate) for rate in rates)
        self.merge, self.dropout = rectified((len(rates) + 2) * outputs, outputs), nn.Dropout(0.5)
        self.refine = depthwise(outputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pooled(x.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, x.size(2), x.size(3))
        branches = [self.pointwise(x), *(branch(x) for branch in self.atrous), pooled]
        return self.refine(self.dropout(self.merge(torch.cat(branches, dim=1))))


def ascent(inputs: int, filters: int, doublings: int) -> nn.Sequential:
    """Convolutions, each of which but for a single one is followed by doubling the size."""
    layers = []
    for place in range(max(doublings, 1)):
        convolution = nn.Conv2d(filters if place else inputs, filters, 3, padding=1, bias=False)
        doubled = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True) if doublings else nn.Identity()
        layers.append(nn.Sequential(convolution, nn.GroupNorm(32, filters), nn.ReLU(), doubled))
    return nn.Sequential(*layers)
