"""The base of the datamodules of images: loaders, normalisation and augmentation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from automl_plugins.spaces.task import Task
from automl_plugins.system.arguments import at_least
from automl_plugins.training.data.base import TaskDataModule
from automl_plugins.training.data.batches import EvenShares, ResumableLoader, SeededOrder, generator
from seg_space.data.albumentations import Albumentations, Transforms, check_transforms
from seg_space.data.arguments import Size, height_and_width
from seg_space.data.augmentation import Augmentation
from seg_space.data.checks import TargetsSeen
from seg_space.data.sources import STATISTICS_SAMPLES, ImageDataset, Source, Statistics, View, collate


@dataclass(frozen=True)
class ImageSplits:
    """The samples of each split, the task on them, and the counts of classes in training masks, where there are any."""

    task: Task
    counts: Tensor | None
    train: ImageDataset
    val: ImageDataset
    test: ImageDataset


class ImageDataModule(TaskDataModule[ImageSplits]):
    """Batches `(images, targets)`, images normalised by the mean and deviation of the training images.

    Images are float32 `[batch, channels, height, width]`. Masks are int64 `[batch, height, width]`, or
    `[batch, labels, height, width]` for several labels, and hold 255 where a pixel does not count; real targets are
    float32 `[batch, channels, height, width]`. A batch of images of several sizes is filled up with such pixels.
    Targets of whole images are `[batch]`, or `[batch, out_channels]`.

    Training batches are shuffled and augmented; both are functions of the seed and the epoch alone, with any number
    of workers. The last batch of an epoch is left out where it is not whole. In a distributed run, each process
    trains and evaluates on its share.

    Subclasses implement `_sources`, and `task`.

    Args:
        batch_size: images of a batch.
        workers: processes that read images; 0: none beside the training itself.
        seed: of random splits, of the order of training batches, and of augmentation.
        crop: size of the random piece of an image that is trained on; None: the image's own.
        scales: between which factors a training image is scaled at random; (1, 1): not at all.
        flip: mirror half of the training images left to right.
        augmentation: further transforms of training images, and of their masks with them, by Albumentations (the extra
            `augmentation`): a list of its classes' names, each alone or with arguments, such as
            `["RandomRotate90", {"RandomBrightnessContrast": {"p": 0.5}}]`.

    Raises:
        ValueError: an argument is out of range.
    """

    after_loading: ClassVar[frozenset[str]] = frozenset(("batch_size", "workers"))

    def __init__(
        self,
        batch_size: int = 8,
        workers: int = 0,
        seed: int = 0,
        crop: Size = None,
        scales: tuple[float, float] = (1.0, 1.0),
        flip: bool = False,
        augmentation: Transforms = (),
    ) -> None:
        super().__init__(seed)
        self.batch_size = at_least("batch_size", batch_size, 1)
        self.workers = at_least("workers", workers, 0)
        self.crop = height_and_width("crop", crop)
        if len(scales) != 2 or not 0 < scales[0] <= scales[1] < math.inf:
            raise ValueError(f"scales is the least and the largest factor, both greater than 0; got {scales}")
        self.scales = scales[0], scales[1]
        self.flip = flip
        check_transforms(augmentation)
        self.augmentation = augmentation

    def _sources(self) -> tuple[Source, Source, Source]:
        """The samples for training, validation and test."""
        raise NotImplementedError(f"{type(self).__name__} must implement _sources")

    @property
    def task(self) -> Task:
        """The task that a network must fit; no sample is read for it."""
        raise NotImplementedError(f"{type(self).__name__} must implement task")

    def _load(self) -> ImageSplits:
        train, val, test = self._sources()
        counts = None
        if self.task.level == "pixel":
            seen = TargetsSeen(self.task, getattr(self, "classes", None))
            statistics = Statistics.of(train, seen)
            seen.check(complete=len(train) <= STATISTICS_SAMPLES)
            counts = None if self.task.target == "regression" else seen.counts
        else:
            statistics = Statistics.of(train)
        views: list[View] = []
        if self.crop is not None or self.scales != (1.0, 1.0) or self.flip:
            views.append(Augmentation(self.crop, self.scales, self.flip, statistics.mean))
        if self.augmentation:
            views.append(Albumentations(self.augmentation, statistics.mean))
        return ImageSplits(
            self.task,
            counts,
            ImageDataset(train, statistics, views),
            ImageDataset(val, statistics),
            ImageDataset(test, statistics),
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

    @property
    def image_limits(self) -> tuple[float, float] | None:
        """The values of black and white in the images' own units; None: they have none, as those of a scanner."""
        image, _ = self.loaded.train.source.read(0)
        return (0.0, 255.0) if image.dtype == torch.uint8 else None

    @property
    def target_counts(self) -> Tensor | None:
        """The pixels of each class in the training masks; None: the targets are no classes of pixels.

        `[1, classes]`; of a binary target and of labels `[labels, 2]`, of no and yes. Of more than 400 images, of 400.
        """
        return self.loaded.counts

    def _evaluation(self, data: ImageDataset) -> DataLoader[tuple[Tensor, Tensor]]:
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
        """The number of processes, and the rank of this one."""
        return (1, 0) if self.trainer is None else (self.trainer.world_size, self.trainer.global_rank)
