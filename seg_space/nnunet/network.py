"""The network that nnU-Net's rules come to for a datamodule."""

from __future__ import annotations

from itertools import islice
from math import ceil
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins.spaces.task import Level, Task
from seg_space.data.base import ImageDataModule
from seg_space.data.sources import STATISTICS_SAMPLES, spread
from seg_space.nnunet.plan import Plan, Size, plan_of, unet

_BATCHES = 20
"""Batches of a datamodule of another kind that its images' sizes are taken of."""


class NNUNet(nn.Module):
    """The U-Net that nnU-Net's rules choose for the data (Isensee et al., Nature Methods 2021), supervised at levels.

    Depth, strides and widths follow from the median size of the training images, or from the piece of them (`crop`)
    that they are trained on; `plan` also has the patch and the batch that nnU-Net would train with, for the
    datamodule's `crop` and `batch_size`. The network is that of the library dynamic-network-architectures.

    Departures: images are normalised by the datamodule, with the statistics of all training images (nnU-Net: each image
    by its own), and evaluated whole (nnU-Net: overlapping patches). Recipe, augmentation and ensemble are the module's
    and the datamodule's; nnU-Net's own is SGD at 0.01, `poly`, `loss="cross_entropy+dice"`.

    Shapes:
        images `[batch, in_channels, height, width]` of any size; output `[batch, out_channels, height, width]`.

    Args:
        task: of level `pixel`.
        data: the datamodule, which has been set up.

    Raises:
        ValueError: a task of another level, no data, or images that are too small.
        ImportError: dynamic-network-architectures is not installed (`pip install "automl-plugins[nnunet]"`).
    """

    levels: ClassVar[frozenset[Level]] = frozenset(("pixel",))
    on_request: ClassVar[bool] = True
    """It stands beside what was found where it is named: it is far dearer than other hand-made networks."""
    model: Any

    def __init__(self, task: Task, data: Any = None) -> None:
        super().__init__()
        if task.level != "pixel":
            raise ValueError(f"NNUNet is for tasks of level 'pixel'; got one of level {task.level!r}")
        if data is None:
            raise ValueError("NNUNet follows from the data; give it the datamodule: NNUNet(task, data)")
        self.plan: Plan = plan_of(*sizes_of(data), task.in_channels, task.out_channels)
        self.model = unet(self.plan, task.in_channels, task.out_channels)
        # The coarsest output is not supervised; the library makes it all the same.
        for weight in self.model.decoder.seg_layers[0].parameters() if len(self.plan.strides) > 2 else ():
            weight.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        outputs: Tensor = self.model(self._padded(images))
        return outputs[..., :height, :width]

    def forward_levels(self, images: Tensor) -> list[Tensor]:
        """The outputs of all levels but the coarsest, the finest first, each half as large as the one before."""
        height, width = images.shape[-2:]
        padded = self._padded(images)
        self.model.decoder.deep_supervision = True
        try:
            levels = self.model(padded)
        finally:
            self.model.decoder.deep_supervision = False
        strides = [(padded.size(-2) // level.size(-2), padded.size(-1) // level.size(-1)) for level in levels]
        # The coarsest does not count, unless it is the only one.
        return [
            level[..., : ceil(height / down), : ceil(width / right)]
            for level, (down, right) in zip(levels[: max(len(levels) - 1, 1)], strides, strict=False)
        ]

    def _padded(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        # Of a coarsest feature map of one pixel there is no instance normalisation.
        below, right = (
            max(-size % multiple, 2 * multiple - size)
            for size, multiple in zip((height, width), self.plan.multiple, strict=True)
        )
        if below or right:
            images = functional.pad(images, (0, right, 0, below), mode="replicate")
        return images


def sizes_of(data: Any) -> tuple[Size, int]:
    """The median height and width of what is trained on, and the pixels of all training images.

    Args:
        data: a datamodule that has been set up; of another kind than this package's, its training batches are asked.
    """
    if not isinstance(data, ImageDataModule):
        batches = list(islice(data.train_dataloader(), _BATCHES))
        sizes = [tuple(images.shape[-2:]) for images, *_ in batches]
        height, width = _median(sizes)
        images = len(getattr(data.train_dataloader(), "dataset", batches))
        return (height, width), images * height * width
    source = data.loaded.train.source
    height, width = _median([source.read(index)[0].shape[-2:] for index in spread(len(source), STATISTICS_SAMPLES)])
    return data.crop or (height, width), len(source) * height * width


def _median(sizes: Any) -> Size:
    height, width = np.median(np.array(sizes), axis=0).astype(int).tolist()
    return height, width
