"""The sources of samples, files or tensors, and the data set that a DataLoader reads."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as transforms

from automl_plugins.training.data.batches import SeededIndex
from seg_space.data.files import ImageFiles
from seg_space.data.images import read_image, read_mask
from seg_space.data.labels import IGNORED, Labels

KEPT_BYTES = 1 << 29
"""A split of at most so much is decoded once and kept in memory; 512 MiB."""
STATISTICS_SAMPLES = 400
"""Statistics are taken of at most so many training images."""
_TRIED_SAMPLES = 32
"""Of a split that is not kept in memory, so many samples are decoded at once, to see that they can be."""


class Source(Protocol):
    """Samples that have not been normalised."""

    def __len__(self) -> int:
        """Their number."""

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """An image `[channels, height, width]` and its target."""


View = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Makes another view of an image and its target."""


class TensorSource:
    """Samples in memory.

    Args:
        images: `[samples, channels, height, width]`.
        targets: of pixels, `[samples, height, width]` or `[samples, channels, height, width]`; or of images,
            `[samples]` or `[samples, out_channels]`.
    """

    def __init__(self, images: Tensor, targets: Tensor) -> None:
        self.images, self.targets = images, targets

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        return self.images[index], self.targets[index]


class MaskReader:
    """The targets of images whose masks are files, by their place.

    Args:
        files: of the images and their masks.
        labels: what the numbers in them stand for.
        stacked: whether an image has one mask for each label.
        size: height and width that masks are brought to; None: as they are.
    """

    def __init__(
        self, files: Sequence[ImageFiles], labels: Labels, stacked: bool, size: tuple[int, int] | None
    ) -> None:
        self.files, self.labels, self.stacked, self.size = files, labels, stacked, size

    def __call__(self, index: int) -> Tensor:
        masks = [read_mask(path, self.labels) for path in self.files[index].masks]
        mask = torch.stack(masks) if self.stacked else masks[0]
        if self.size is not None:
            mask = transforms.resize(tv_tensors.Mask(mask), list(self.size)).as_subclass(Tensor)
        return mask


class FileSource:
    """Images in files, decoded at once with their targets where all fit into memory; of more, a few are tried.

    Args:
        files: of the images and, if they have any, of their masks.
        sizes: height and width of each image.
        channels: of the images.
        size: height and width that images are brought to; None: as they are.
        target: reads the target of an image, by its place.

    Raises:
        ValueError: something is wrong with a file; the message names it.
    """

    def __init__(
        self,
        files: Sequence[ImageFiles],
        sizes: Sequence[tuple[int, int]],
        channels: int,
        size: tuple[int, int] | None,
        target: Callable[[int], Tensor],
    ) -> None:
        self.files, self.channels, self.size, self.target = files, channels, size, target
        pixels = sum(height * width for height, width in (self.size or size for size in sizes))
        layers = channels + max(len(sample.masks) for sample in files)
        fits = pixels * layers <= KEPT_BYTES
        self._decoded = [self._read(index) for index in range(len(files))] if fits else None
        if not fits:
            for index in spread(len(files), _TRIED_SAMPLES):
                self._read(index)

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        return self._read(index) if self._decoded is None else self._decoded[index]

    def _read(self, index: int) -> tuple[Tensor, Tensor]:
        image, target = read_image(self.files[index].image, self.channels), self.target(index)
        if self.size is not None:
            image = transforms.resize(tv_tensors.Image(image), list(self.size), antialias=True).as_subclass(Tensor)
        return image, target


class Statistics(NamedTuple):
    """Mean and standard deviation of each channel, `[channels]`."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, source: Source, see: Callable[[Tensor], None] = lambda target: None) -> Statistics:
        """Of the pixels of a source's images: of all images, or of `STATISTICS_SAMPLES` spread over them.

        Args:
            source: the samples.
            see: is shown the target of each sample that is read.
        """
        total = squares = torch.zeros((), dtype=torch.float64)
        count = 0
        for index in spread(len(source), STATISTICS_SAMPLES):
            image, target = source.read(index)
            see(target)
            pixels = image.flatten(1).double()
            count += pixels.size(1)
            total = total + pixels.sum(dim=1)
            squares = squares + pixels.square().sum(dim=1)
        mean = total / count
        deviation = (squares / count - mean.square()).clamp(min=0).sqrt()
        if not (mean.isfinite() & deviation.isfinite()).all():
            raise ValueError(f"training images hold nan or infinity: the mean of each channel is {mean.tolist()}")
        if not deviation.any():
            warnings.warn(
                f"all training images are of one colour, {mean.tolist()}; see whether they are the right files",
                stacklevel=2,
            )
        # A constant channel is left as it is.
        return cls(mean.float(), deviation.masked_fill(deviation == 0, 1.0).float())


def spread(count: int, most: int) -> list[int]:
    """All indices below `count`, or `most` of them, evenly."""
    step = max(count / most, 1.0)
    return [int(place * step) for place in range(min(count, most))]


class ImageDataset(Dataset[tuple[Tensor, Tensor]]):
    """Normalised images `[channels, height, width]`, float32, with integer or real targets.

    Args:
        source: the samples.
        statistics: of the training images.
        views: what is done to a sample at random, one after the other. They draw from torch's generator, which is
            seeded by the sample's index where that is a `SeededIndex`.
    """

    def __init__(self, source: Source, statistics: Statistics, views: Sequence[View] = ()) -> None:
        self.source, self.statistics, self.views = source, statistics, tuple(views)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, target = self.source.read(index)
        if self.views:
            seeded = isinstance(index, SeededIndex)
            with torch.random.fork_rng(devices=[]) if seeded else nullcontext():
                if isinstance(index, SeededIndex):
                    # Not torch.manual_seed, which would seed other devices for good.
                    torch.default_generator.manual_seed(index.seed)
                for view in self.views:
                    image, target = view(image, target)
        mean, deviation = (values.view(-1, 1, 1) for values in self.statistics)
        normalised = (image.float() - mean) / deviation
        return normalised, target if target.is_floating_point() else target.long()


def collate(samples: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """A batch of samples; smaller ones are filled up, at the right and below, with pixels that do not count.

    Those are 0 in images (the mean of the training images), `IGNORED` in masks and nan in real targets.
    """
    images, targets = zip(*samples, strict=True)
    outside: Any = float("nan") if targets[0].is_floating_point() else IGNORED
    return _stacked(images, 0.0), _stacked(targets, outside)


def _stacked(tensors: Sequence[Tensor], outside: float) -> Tensor:
    if tensors[0].dim() < 2:  # of whole images
        return torch.stack(list(tensors))
    height, width = (max(tensor.size(dim) for tensor in tensors) for dim in (-2, -1))
    filled = [
        tensor
        if tensor.shape[-2:] == (height, width)
        else torch.nn.functional.pad(tensor, (0, width - tensor.size(-1), 0, height - tensor.size(-2)), value=outside)
        for tensor in tensors
    ]
    return torch.stack(filled)
