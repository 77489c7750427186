"""The probe of images: inputs, sample units, labels, signals and pieces of batches at pixel and image level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from automl_plugins.spaces.task import Task
from seg_space.relabelling import relabelled, targets_of
from seg_space.signals import image_signals, standardised

_SIDE = 64
"""Height and width of a made-up image."""
_BLOCK = 8
"""Pixels of a side of a block of one label: labels of single pixels could not be learned."""
_LEAST_SIDE = 32
"""Of a crop: the coarsest stride that is common."""
_LEAST_BATCH = 2
_GRID = 8
"""Places of a side of an image: the resolution of GenNAS's targets."""


class ImageProbe:
    """The probe of images, see `automl_plugins.spaces.probe.Probe`.

    Inputs are `(images,)`, `[batch, in_channels, height, width]`, as of all networks here.

    Args:
        task: of level `pixel` or `image`.
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    def example(self, count: int, generator: torch.Generator) -> tuple[Any, ...]:
        """Images of noise."""
        return (torch.randn(count, self.task.in_channels, _SIDE, _SIDE, generator=generator),)

    def positive(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Images of ones."""
        return torch.ones_like(inputs[0]), *inputs[1:]

    def units(self, features: Tensor, inputs: tuple[Any, ...]) -> Tensor | None:
        """A row for each image."""
        return features.flatten(1) if features.dim() > 1 and len(features) == len(inputs[0]) else None

    def positions(self, features: Tensor, inputs: tuple[Any, ...]) -> Tensor | None:
        """Rows of the 8 x 8 places of an even grid on each image, each from the nearest place of the feature map."""
        if features.dim() != 4 or len(features) != len(inputs[0]):
            return None
        rows, columns = ((torch.arange(_GRID) + 0.5) / _GRID for _ in range(2))
        height, width = features.shape[-2:]
        grid = features[:, :, (rows * height).long()][:, :, :, (columns * width).long()]
        return grid.permute(0, 2, 3, 1).flatten(0, 2)

    def labels(self, inputs: tuple[Any, ...], generator: torch.Generator) -> Tensor:
        """One target for each image, or for each block of 8 x 8 pixels."""
        images: Tensor = inputs[0]
        shape, channels = self._blocks(images), self.task.out_channels
        if self.task.target == "classes":
            drawn = torch.randint(channels, (len(images), 1, *shape), generator=generator)
        elif self.task.target == "regression":
            drawn = torch.randn(len(images), channels, *shape, generator=generator)
        else:
            drawn = torch.randint(2, (len(images), channels, *shape), generator=generator).float()
        if self.task.level == "pixel":
            height, width = images.shape[-2:]
            drawn = drawn.repeat_interleave(_BLOCK, 2).repeat_interleave(_BLOCK, 3)[..., :height, :width]
        else:
            drawn = drawn.flatten(1)
        return (drawn[:, 0] if self.task.target == "classes" else drawn).to(images.device)

    def _blocks(self, images: Tensor) -> tuple[int, ...]:
        return tuple(-(-side // _BLOCK) for side in images.shape[-2:]) if self.task.level == "pixel" else (1, 1)

    def signals(self, inputs: tuple[Any, ...], channels: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Signals on pixels, see `seg_space.signals`; their means over pixels at image level."""
        signals = image_signals(inputs[0], channels, generator)
        if self.task.level != "pixel":
            signals = {name: signal.mean((2, 3), keepdim=True) for name, signal in signals.items()}
        scaled = {name: standardised(signal) for name, signal in signals.items()}
        return scaled if self.task.level == "pixel" else {name: signal.flatten(1) for name, signal in scaled.items()}

    def targets(self, batch: Any) -> Tensor:
        """The one tensor beside the images that may be their targets."""
        return targets_of(batch, self.task)

    def relabelled(self, batch: Any, seed: int, scale: tuple[float, float] = (0.0, 1.0)) -> Any:
        """A target for each image, or for each block of 8 x 8 pixels; see `seg_space.relabelling.relabelled`."""
        return relabelled(batch, self.task, seed, scale, _BLOCK)

    def size(self, batch: Any) -> int:
        """Pixels of an image; 0 where the batch holds none."""
        images = _images(batch)
        return 0 if images is None else images.size(-2) * images.size(-1)

    def piece(self, batch: Any, share: float, least: int) -> Any:
        """A crop of whole multiples of 32 pixels; a batch without images as it is."""
        images = _images(batch)
        if images is None:
            return batch
        size = images.shape[-2:]
        height, width = (
            min(max(math.ceil(side * math.sqrt(share) / _LEAST_SIDE), least) * _LEAST_SIDE, side) for side in size
        )

        def crop(leaf: Any) -> Any:
            return leaf[..., :height, :width] if isinstance(leaf, Tensor) and leaf.shape[-2:] == size else leaf

        return tree_map(crop, batch)

    def smaller(self, batch: Any, share: float) -> Sequence[str]:
        """Fewer images, or smaller ones."""
        images = _images(batch)
        if images is None:
            return []
        ways = []
        count = math.floor(share * len(images))
        if count >= _LEAST_BATCH:
            ways.append(f"a batch of {count} instead of {len(images)}")
        size = images.shape[-2:]
        # Feature maps of other images are rounded up.
        height, width = (int(math.sqrt(share) * side) // _LEAST_SIDE * _LEAST_SIDE for side in size)
        if min(height, width) > 0:
            ways.append(f"images of {height} x {width} instead of {size[0]} x {size[1]}")
        return ways


def _images(batch: Any) -> Tensor | None:
    """The images of a batch: its largest tensor of four dimensions."""
    images = [leaf for leaf in tree_leaves(batch) if isinstance(leaf, Tensor) and leaf.layout == torch.strided]
    return max((leaf for leaf in images if leaf.dim() == 4), key=Tensor.numel, default=None)
