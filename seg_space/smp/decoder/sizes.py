"""Plain data that decoders over the feature maps of an encoder are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from seg_space.auto_deeplab.cell import IDENTITY, Convolution, Step
from seg_space.pretrained.sources import Weights

STRIDES = (16, 8, 4, 2, 1)
"""The strides that a decoder may visit, the coarsest first."""
ENCODER_STRIDES = (16, 32)
"""The strides that an encoder's last feature map may have."""
LAST_MAP = 32
"""The name of an encoder's last feature map, by the stride that it has without dilation."""
CONVOLUTIONS = {
    "conv_3x3": None,
    "separable_3x3": Convolution(3, 1, 1),
    "separable_5x5": Convolution(5, 1, 1),
    "atrous_3x3": Convolution(3, 2, 1),
    "atrous_5x5": Convolution(5, 2, 1),
}
"""The operations of a stage with filters of their own; None: a dense convolution."""
CELL = "cell"
OPERATIONS = (IDENTITY, *CONVOLUTIONS, CELL)
NO_SKIP = "none"
FUSIONS = ("sum", "concat", "projected")
LAYERS = (1, 2)
"""The numbers of times that a stage's convolution may be applied."""
CONTEXTS = ("none", "linear", "aspp")
CONTEXT_FILTERS = (64, 128, 256)
RATES = ("2-4-6", "6-12-18", "12-24-36")
UPSAMPLINGS = ("nearest", "bilinear")
HEADS = ("last", "pyramid")
HEAD_KERNELS = (1, 3)
HEAD_FILTERS = (64, 128)
PROJECTED_CHANNELS = 48
"""The channels of a map of the fusion `projected`, as in DeepLabV3+ (Chen et al. 2018, section 4.1)."""


@dataclass(frozen=True)
class EncoderSizes:
    """The encoder of a space's networks.

    Args:
        name: in smp.
        weights: that it begins with, see `seg_space.pretrained.sources.Weights`; None: random ones.
        frozen: whether it is trained no further.
        channels: of its five feature maps, the finest first; 0: there is none of that stride.
    """

    name: str
    weights: Weights
    frozen: bool
    channels: tuple[int, ...]

    def map_channels(self, stride: int) -> int:
        """The channels of the map that has a stride without dilation."""
        return self.channels[stride.bit_length() - 2]


class StageOptions(NamedTuple):
    """The options of one stage of a decoder.

    Args:
        stride: of its output.
        operation: one of `OPERATIONS`.
        skip: the encoder's map that is fused, by its stride; None: none is.
        fusion: one of `FUSIONS`, where a convolution follows.
        layers: how often the convolution is applied.
        filters: channels of the output; an identity keeps those of what it reads.
    """

    stride: int
    operation: str
    skip: int | None = None
    fusion: str = "sum"
    layers: int = 1
    filters: int = 0

    def channels(self, inputs: int) -> int:
        """The channels of the output, of so many that are read."""
        return inputs if self.operation == IDENTITY else self.filters


class DecoderOptions(NamedTuple):
    """The options of one network; see `SmpDecoderSpace` for what they mean.

    Args:
        encoder_stride: of the encoder's last feature map.
        context: what is done to that map first, one of `CONTEXTS`.
        stages: those that are visited, the coarsest first.
        steps: of the cell, where a stage has it.
        head: one of `HEADS`.
        upsampling: one of `UPSAMPLINGS`, between stages.
        context_filters: channels of the context's output.
        rates: of atrous spatial pyramid pooling.
        head_kernel: of the head's convolution.
        head_filters: of the pyramid's branches.
    """

    encoder_stride: int
    context: str
    stages: tuple[StageOptions, ...]
    steps: tuple[Step, ...] = ()
    head: str = "last"
    upsampling: str = "nearest"
    context_filters: int = 0
    rates: str = ""
    head_kernel: int = 1
    head_filters: int = 0


def sources(stride: int) -> tuple[int, ...]:
    """The encoder's maps that a stage may read, by their strides: those of its own stride, half and twice of it."""
    return tuple(each for each in (stride // 2, stride, 2 * stride) if 2 <= each < LAST_MAP)


def offered_filters(filters: tuple[int, ...], stride: int) -> tuple[int, ...]:
    """Those of a space's filters that a stage is offered: 4 to 64 a pixel of its stride.

    U-Net has 16 a pixel of the stride, DeepLabV3+ 64 at the stride 4. If none is left, it is the nearest one.
    """
    left = tuple(each for each in filters if 4 * stride <= each <= 64 * stride)
    return left or (min(filters, key=lambda each: abs(each - 16 * stride)),)
