"""nnU-Net's rules: patch, batch and network from the sizes of images (Isensee et al., Nature Methods 2021, methods).

They are those of its second version for two dimensions, all pixels square, with the memory of 8 GiB that its defaults
were measured for.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import torch
from torch import nn

Size = tuple[int, int]

FEATURES, MOST_FEATURES = 32, 512
CONVOLUTIONS = 2
"""Of each stage, in the encoder and in the decoder."""
LEAST_EDGE = 4
"""Of the coarsest feature map."""
LARGEST_PATCH = 2048
REFERENCE, REFERENCE_BATCH = 85_000_000, 12
"""The values in all feature maps of a network for one patch that fits into the memory with such a batch."""
LEAST_BATCH = 2
COVERED = 0.05
"""The most of all training pixels that a batch may have."""


@dataclass(frozen=True)
class Plan:
    """The settings that the rules come to.

    Args:
        patch: height and width of what the network is trained on.
        batch: patches of a batch.
        strides: of each stage, in height and width; the first is 1.
        features: the channels of each stage.
    """

    patch: Size
    batch: int
    strides: tuple[Size, ...]
    features: tuple[int, ...]

    @property
    def multiple(self) -> Size:
        """The numbers that height and width of images are multiples of."""
        return prod(stride[0] for stride in self.strides), prod(stride[1] for stride in self.strides)


def plan_of(size: Size, pixels: int, in_channels: int, out_channels: int) -> Plan:
    """The plan for images of so many pixels.

    Args:
        size: height and width of the median training image, or of the piece that is cut from it.
        pixels: of all training images.
        in_channels: of the images.
        out_channels: of the outputs.

    Raises:
        ValueError: images are too small for a network that pools.
        ImportError: dynamic-network-architectures is not installed.
    """
    patch, strides = _pooled((min(size[0], LARGEST_PATCH), min(size[1], LARGEST_PATCH)))
    if len(strides) < 2:
        raise ValueError(
            f"nnU-Net needs images of {2 * LEAST_EDGE} x {2 * LEAST_EDGE} pixels or more; got {size[0]} x {size[1]}"
        )
    values = _values(patch, strides, in_channels, out_channels)
    while values / REFERENCE_BATCH * LEAST_BATCH > REFERENCE:
        patch, strides = _smaller(patch, strides, size)
        values = _values(patch, strides, in_channels, out_channels)
    covered = round(pixels * COVERED / prod(patch))
    batch = max(min(round(REFERENCE / values * REFERENCE_BATCH), covered), LEAST_BATCH)
    return Plan(patch, batch, strides, _features(len(strides)))


def unet(plan: Plan, in_channels: int, out_channels: int) -> nn.Module:
    """The network of a plan: convolutions, instance normalisation, leaky ReLU; initialised as nnU-Net does.

    Raises:
        ImportError: dynamic-network-architectures is not installed.
    """
    return _unet(plan.strides, plan.features, in_channels, out_channels)


def _unet(strides: tuple[Size, ...], features: tuple[int, ...], in_channels: int, out_channels: int) -> nn.Module:
    try:
        from dynamic_network_architectures.architectures.unet import PlainConvUNet
    except ImportError as error:
        raise ImportError(
            'nnU-Net\'s network comes with dynamic-network-architectures: pip install "automl-plugins[nnunet]"'
        ) from error
    made: Any = PlainConvUNet(
        in_channels,
        len(strides),
        features,
        nn.Conv2d,
        3,
        strides,
        CONVOLUTIONS,
        out_channels,
        CONVOLUTIONS,
        conv_bias=True,
        norm_op=nn.InstanceNorm2d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )
    made.apply(made.initialize)
    network: nn.Module = made
    return network


def _features(stages: int) -> tuple[int, ...]:
    return tuple(min(FEATURES * 2**stage, MOST_FEATURES) for stage in range(stages))


def _pooled(patch: Size) -> tuple[Size, tuple[Size, ...]]:
    """The strides of stages that halve what is large enough, and the patch filled up to their multiple."""
    sizes, strides = list(patch), [(1, 1)]
    while True:
        halved = [size >= 2 * LEAST_EDGE for size in sizes]
        if not any(halved) or (sum(halved) == 1 and sizes[halved.index(True)] < 3 * LEAST_EDGE):
            break
        strides.append((2 if halved[0] else 1, 2 if halved[1] else 1))
        sizes = [ceil(size / stride) for size, stride in zip(sizes, strides[-1], strict=True)]
    steps = _multiple(strides)
    return (_up_to(patch[0], steps[0]), _up_to(patch[1], steps[1])), tuple(strides)


def _smaller(patch: Size, strides: tuple[Size, ...], size: Size) -> tuple[Size, tuple[Size, ...]]:
    """The next smaller patch: less of the side that is larger beside the images', by what keeps it divisible."""
    axis = 0 if patch[0] / size[0] > patch[1] / size[1] else 1
    sides = list(patch)
    sides[axis] -= _multiple(strides)[axis]
    _, fewer = _pooled((sides[0], sides[1]))
    sides = list(patch)
    sides[axis] -= _multiple(fewer)[axis]
    return _pooled((sides[0], sides[1]))


def _multiple(strides: list[Size] | tuple[Size, ...]) -> Size:
    return prod(stride[0] for stride in strides), prod(stride[1] for stride in strides)


def _up_to(size: int, multiple: int) -> int:
    return ceil(size / multiple) * multiple


def _values(patch: Size, strides: tuple[Size, ...], in_channels: int, out_channels: int) -> int:
    """The values in all feature maps of the network for one patch."""
    with torch.device("meta"):
        network: Any = _unet(strides, _features(len(strides)), in_channels, out_channels)
    return int(network.compute_conv_feature_map_size(patch))
