"""What the datamodules of pixels share: loaders, normalisation and augmentation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from automl_plugins.spaces.task import Target, Task
from automl_plugins.system.arguments import at_least
from automl_plugins.training.data.base import TaskDataModule
from automl_plugins.training.data.batches import EvenShares, ResumableLoader, SeededOrder, generator
from seg_space.data.augmentation import Augmentation
from seg_space.data.checks import TargetsSeen, check_splits
from seg_space.data.files import IGNORED, ImageFiles, Labels
from seg_space.data.images import CHANNELS, check_headers
from seg_space.data.layouts import layout_hint
from seg_space.data.sources import STATISTICS_SAMPLES, FileSource, PixelDataset, Source, Statistics, collate

Size = int | tuple[int, int] | None
"""Height and width, one number for both, or None."""


@dataclass(frozen=True)
class Pixels:
    """The samples of each split, and the task on them."""

    task: Task
    train: PixelDataset
    val: PixelDataset
    test: PixelDataset


class PixelDataModule(TaskDataModule[Pixels]):
    """Batches `(images, targets)`, images normalised by the mean and deviation of the training images.

    Images are float32 `[batch, channels, height, width]`. Masks are int64 `[batch, height, width]`, or
    `[batch, labels, height, width]` for several labels, and hold 255 where a pixel does not count; real targets are
    float32 `[batch, channels, height, width]`. A batch of images of several sizes is filled up with such pixels.

    Training batches are shuffled and augmented; both are functions of the seed and the epoch alone, with any number
    of workers. The last batch of an epoch is left out where it is not whole. In a distributed run, each process
    trains and evaluates on its share.

    Subclasses implement `_sources`, and `task`.

    Args:
        batch_size: images of a batch.
        workers: processes that read images; 0: none beside the training itself.
        seed: of the split, of the order of training batches, and of augmentation.
        crop: size of the random piece of an image that is trained on; None: the image's own.
        scales: between which factors a training image is scaled at random; (1, 1): not at all.
        flip: mirror half of the training images left to right.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        batch_size: int,
        workers: int,
        seed: int,
        crop: Size = None,
        scales: tuple[float, float] = (1.0, 1.0),
        flip: bool = False,
    ) -> None:
        super().__init__(seed)
        self.batch_size = at_least("batch_size", batch_size, 1)
        self.workers = at_least("workers", workers, 0)
        self.crop = height_and_width("crop", crop)
        if len(scales) != 2 or not 0 < scales[0] <= scales[1] < math.inf:
            raise ValueError(f"scales is the least and the largest factor, both greater than 0; got {scales}")
        self.scales = scales[0], scales[1]
        self.flip = flip

    def _sources(self) -> tuple[Source, Source, Source]:
        """The samples for training, validation and test."""
        raise NotImplementedError(f"{type(self).__name__} must implement _sources")

    @property
    def task(self) -> Task:
        """What a network must fit; no sample is read for it."""
        raise NotImplementedError(f"{type(self).__name__} must implement task")

    def _load(self) -> Pixels:
        train, val, test = self._sources()
        seen = TargetsSeen(self.task, getattr(self, "classes", None))
        statistics = Statistics.of(train, seen)
        seen.check(complete=len(train) <= STATISTICS_SAMPLES)
        augmentation = None
        if self.crop is not None or self.scales != (1.0, 1.0) or self.flip:
            augmentation = Augmentation(self.crop, self.scales, self.flip, statistics.mean)
        return Pixels(
            self.task,
            PixelDataset(train, statistics, augmentation),
            PixelDataset(val, statistics),
            PixelDataset(test, statistics),
        )

    def train_dataloader(self) -> ResumableLoader:
        """Shuffled, augmented batches; each call begins again with the order of epoch 0."""
        data = self.loaded.train
        order = SeededOrder(data, self.seed, *self._share())
        return ResumableLoader(
            data,
            batch_size=self.batch_size,
            sampler=order,
            # BatchNorm cannot be trained on what may be left: one image.
            drop_last=len(order) >= self.batch_size,
            collate_fn=collate,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=generator(self.seed),
        )

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """The validation images, in a fixed order."""
        return self._evaluation(self.loaded.val)

    def test_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """The test images, in a fixed order."""
        return self._evaluation(self.loaded.test)

    def predict_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """The test images, in a fixed order; masks come with them, and are not looked at."""
        return self.test_dataloader()

    @property
    def image_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each channel by which images are normalised, `[channels]`, of the training images."""
        mean, deviation = self.loaded.train.statistics
        return mean, deviation

    def _evaluation(self, data: PixelDataset) -> DataLoader[tuple[Tensor, Tensor]]:
        return DataLoader(
            data,
            batch_size=self.batch_size,
            sampler=EvenShares(data, *self._share()),
            collate_fn=collate,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=generator(self.seed),
        )

    def _share(self) -> tuple[int, int]:
        """How many processes there are, and which this one is."""
        return (1, 0) if self.trainer is None else (self.trainer.world_size, self.trainer.global_rank)


class MaskFilesData(PixelDataModule):
    """Semantic segmentation of image files.

    The headers of all files are read in `setup`, and the rest of a split as well where it fits into 512 MiB; larger
    ones are decoded whenever they are needed. Whatever is wrong with a file is said with its name.

    Subclasses implement `_files`, `_labels`, `classes` and, where it is not 3, `channels`.

    Args:
        path: the folder of the data set.
        size: bring all images and masks to this size; scores are then of masks of this size. None: as they are.
        batch_size: images of a batch.
        crop: size of the random piece of an image that is trained on; None: the image's own.
        scales: between which factors a training image is scaled at random; (1, 1): not at all.
        flip: mirror half of the training images left to right.
        workers: processes that read images; 0: none beside the training itself.
        seed: of random splits, of the order of training batches, and of augmentation.

    Raises:
        ValueError: an argument is out of range; (in `setup`) something is wrong with a file.
        FileNotFoundError: (in `setup`) a file or folder is missing.
    """

    target: Target = "classes"
    channels: int = 3

    def __init__(
        self,
        path: str | Path,
        size: Size = None,
        batch_size: int = 8,
        crop: Size = None,
        scales: tuple[float, float] = (0.5, 2.0),
        flip: bool = True,
        workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, workers, seed, crop, scales, flip)
        self.path = Path(path).expanduser()
        self.size = height_and_width("size", size)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, or of the labels."""
        raise NotImplementedError(f"{type(self).__name__} must implement classes")

    @property
    def task(self) -> Task:
        """What a network must fit; no image is read for it."""
        return Task(
            "pixel",
            self.target,
            in_channels=self.channels,
            out_channels=1 if self.target == "binary" else len(self.classes),
        )

    def _labels(self) -> Labels:
        """What the numbers in the masks stand for."""
        raise NotImplementedError(f"{type(self).__name__} must implement _labels")

    def _files(self) -> tuple[Sequence[ImageFiles], Sequence[ImageFiles], Sequence[ImageFiles]]:
        """The files for training, validation and test."""
        raise NotImplementedError(f"{type(self).__name__} must implement _files")

    def _sources(self) -> tuple[Source, Source, Source]:
        try:
            splits = dict(zip(("training", "validation", "test"), self._files(), strict=True))
        except (FileNotFoundError, ValueError) as error:
            raise type(error)(f"{error}{layout_hint(self.path, type(self).__name__)}") from error
        sizes = iter(check_headers([each for files in splits.values() for each in files]))
        check_splits(splits)
        train, val, test = (
            FileSource(
                files,
                list(islice(sizes, len(files))),
                self.channels,
                self._labels(),
                self.target == "multilabel",
                self.size,
            )
            for files in splits.values()
        )
        return train, val, test


def height_and_width(name: str, value: Size) -> tuple[int, int] | None:
    """Height and width from one number or two.

    Raises:
        ValueError: there are more, or one is below 1.
    """
    if value is None:
        return None
    pair: tuple[Any, ...] = tuple(value) if isinstance(value, list | tuple) else (value, value)
    if len(pair) != 2 or not all(isinstance(each, int) and each >= 1 for each in pair):
        raise ValueError(f"{name} is a height and a width of at least 1, or one number for both; got {value}")
    return pair[0], pair[1]


def some_channels(value: int) -> int:
    """The channels of image files, if they can have so many.

    Raises:
        ValueError: they cannot.
    """
    if value not in CHANNELS:
        raise ValueError(f"channels is one of {', '.join(map(str, CHANNELS))}; got {value}")
    return value


def class_names(value: int | Sequence[str]) -> tuple[str, ...]:
    """The names of classes; for a number of them, the numbers.

    Raises:
        ValueError: there are none, or more than masks can tell apart.
    """
    if not isinstance(value, int | list | tuple):
        raise ValueError(f"classes are a list of names, or how many there are; got {value!r}")
    names = tuple(str(number) for number in range(value)) if isinstance(value, int) else tuple(value)
    if not 1 <= len(names) <= IGNORED:
        raise ValueError(f"classes are 1 to {IGNORED}, since {IGNORED} marks ignored pixels; got {len(names)}")
    if len(set(names)) != len(names):
        raise ValueError(f"classes have names of their own; got {', '.join(names)}")
    return names
