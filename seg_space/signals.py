"""Synthetic signals on images, which untrained networks are fitted to (GenNAS, Li et al., NeurIPS 2021, section 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_FREQUENCIES = 10
_MOST_PERIODS = 8.0
"""Of a wave over an image: beyond them, the grid of 8 x 8 that features are read at would not tell waves apart."""
_DOTS = 16
"""Places of a side that dots lie on."""
_SHARE = 0.1
"""Of places that have a dot."""


def image_signals(images: Tensor, channels: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Signals by kind.

    - `sine-1d`: sines along one axis, of one of ten frequencies; the same for all images.
    - `sine-2d`: sines of random frequencies along both; the same for all images.
    - `dots`: random places set to 1 or -1, others for each image; `blurred-dots`: the same, blurred.
    - `resized`: the images themselves, their channels mixed at random.
    - `edges`: the size of their gradients, mixed alike; ours, since segmentation is about outlines.

    Args:
        images: `[batch, in_channels, height, width]`.
        channels: of each signal.
        generator: of all draws, on the CPU.

    Returns:
        kind -> `[batch, channels, height, width]`.
    """
    batch, _, height, width = images.shape
    rows, columns = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)[None]

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, 1, 1, generator=generator)

    frequency = (torch.randint(_FREQUENCIES, (channels, 1, 1), generator=generator) + 1) * _MOST_PERIODS / _FREQUENCIES
    along_rows, phase = uniform(channels) < 0.5, 2 * math.pi * uniform(channels)
    one = torch.sin(2 * math.pi * frequency * torch.where(along_rows, rows, columns) + phase)
    first, second = (_MOST_PERIODS * (uniform(channels) - 0.5) for _ in range(2))
    two = torch.sin(2 * math.pi * (first * rows + second * columns) + 2 * math.pi * uniform(channels))
    shape = (batch, channels, min(_DOTS, height), min(_DOTS, width))
    is_dot = torch.rand(shape, generator=generator) < _SHARE
    dots = torch.where(is_dot, torch.randint(2, shape, generator=generator) * 2.0 - 1, 0.0).to(images)
    blurred = functional.avg_pool2d(functional.avg_pool2d(dots, 3, 1, 1), 3, 1, 1)
    gradient = functional.pad(images.diff(dim=3), (0, 1)).abs() + functional.pad(images.diff(dim=2), (0, 0, 0, 1)).abs()
    mixing = torch.randn(2, channels, images.shape[1], generator=generator).to(images)
    return {
        "sine-1d": one.to(images).expand(batch, -1, -1, -1),
        "sine-2d": two.to(images).expand(batch, -1, -1, -1),
        "dots": functional.interpolate(dots, (height, width)),
        "blurred-dots": functional.interpolate(blurred, (height, width), mode="bilinear"),
        "resized": torch.einsum("ci,bihw->bchw", mixing[0], images),
        "edges": torch.einsum("ci,bihw->bchw", mixing[1], gradient),
    }


def standardised(signal: Tensor) -> Tensor:
    """A signal `[batch, channels, height, width]` with mean 0 and deviation 1 in each channel; 0 where constant."""
    centred = signal - signal.mean((0, 2, 3), keepdim=True)
    deviation = centred.std((0, 2, 3), keepdim=True, correction=0)
    scale = signal.abs().amax((0, 2, 3), keepdim=True).clamp(min=1e-12)
    return torch.where(deviation > 1e-6 * scale, centred / deviation.clamp(min=1e-30), 0.0)
