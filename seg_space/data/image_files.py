"""The bases of the datamodules of image files: those with any target, and those with masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from automl_plugins.spaces.task import Target, Task
from automl_plugins.training.data.draft import Draft, Reasoned
from automl_plugins.training.data.unlabelled import Unlabelled
from automl_plugins.training.preprocessing import Preprocessing
from seg_space.data.arguments import Size, height_and_width
from seg_space.data.base import ImageDataModule
from seg_space.data.checks import check_one_size, check_splits
from seg_space.data.files import ImageFiles, some_of
from seg_space.data.headers import check_headers
from seg_space.data.labels import Labels
from seg_space.data.layouts import layout_hint, layout_of
from seg_space.data.mask_files import MaskForm
from seg_space.data.sources import FileSource, MaskReader, Source
from seg_space.data.unlabelled_images import unlabelled_images

Splits = tuple[Sequence[ImageFiles], Sequence[ImageFiles], Sequence[ImageFiles]]
"""The files for training, validation and test."""


class ImageFilesData(ImageDataModule):
    """Images in files, with targets of any kind.

    The headers of all files are read in `setup`, and the rest of a split as well where it fits into 512 MiB; larger
    ones are decoded whenever they are needed. Errors name the file that something is wrong with.

    Subclasses implement `_files`, `_reader`, `task` and, where it is not 3, `channels`.

    Args:
        path: the folder of the data set.
        size: bring all images, and masks with them, to this size; scores are then of masks of this size. None: as they
            are.
        scales: between which factors a training image is scaled at random; (1, 1): not at all.
        flip: mirror half of the training images left to right.
        others: arguments of `ImageDataModule`.

    Raises:
        ValueError: an argument is out of range; (in `setup`) something is wrong with a file.
        FileNotFoundError: (in `setup`) a file or folder is missing.
    """

    channels: int = 3

    def __init__(
        self,
        path: str | Path,
        size: Size = None,
        scales: tuple[float, float] = (0.5, 2.0),
        flip: bool = True,
        **others: Any,
    ) -> None:
        super().__init__(scales=scales, flip=flip, **others)
        self.path = Path(path).expanduser()
        self.size = height_and_width("size", size)

    def reading(self) -> dict[str, Any]:
        """The arguments with which `unlabelled` reads further images as these."""
        image, _ = self.loaded.train.source.read(0)
        return {
            "channels": self.channels,
            "size": self.size,
            "eight_bits": image.dtype == torch.uint8,
            "batch_size": self.batch_size,
        }

    @classmethod
    def unlabelled(cls, path: Path, kept: Preprocessing, **options: Any) -> Unlabelled:
        """Images without targets, see `unlabelled_images`."""
        return unlabelled_images(path, kept, **{**kept.reading, **options})

    def findings(self) -> list[str]:
        """Lines about the images: how many there are in each part, and how often each class occurs in training."""
        loaded, names = self.loaded, getattr(self, "classes", ())
        parts = (("training", loaded.train), ("validation", loaded.val), ("test", loaded.test))
        told = [", ".join(f"{part}: {len(data):,} images" for part, data in parts)]
        if loaded.counts is not None:
            counts = loaded.counts[:, -1] if self.task.target != "classes" else loaded.counts[0]
            shares = counts / loaded.counts.sum(dim=1)
            pairs = zip(names, shares.tolist(), strict=True)
            told.append("pixels of the training masks: " + some_of([f"{name} {share:.1%}" for name, share in pairs]))
        return told

    def _files(self) -> Splits:
        """The files for training, validation and test."""
        raise NotImplementedError(f"{type(self).__name__} must implement _files")

    def _reader(self, files: Sequence[ImageFiles]) -> Callable[[int], Tensor]:
        """The reader of a split's targets, by the place of the image."""
        raise NotImplementedError(f"{type(self).__name__} must implement _reader")

    def _sources(self) -> tuple[Source, Source, Source]:
        try:
            splits = dict(zip(("training", "validation", "test"), self._files(), strict=True))
        except (FileNotFoundError, ValueError) as error:
            raise type(error)(f"{error}{layout_hint(self.path, type(self).__name__)}") from error
        every = [sample for files in splits.values() for sample in files]
        sizes = check_headers(every)
        if self.size is None and self.task.level == "image":
            check_one_size([sample.image for sample in every], sizes)
        check_splits(splits)
        remaining = iter(sizes)
        train, val, test = (
            FileSource(files, list(islice(remaining, len(files))), self.channels, self.size, self._reader(files))
            for files in splits.values()
        )
        return train, val, test


class MaskFilesData(ImageFilesData):
    """Semantic segmentation of image files; the arguments are those of `ImageFilesData`.

    Subclasses implement `_files`, `_labels`, `classes` and, where it is not 3, `channels`.
    """

    target: Target = "classes"

    def reading(self) -> dict[str, Any]:
        """The arguments with which `unlabelled` reads further images as these, and the form of the masks."""
        source: Any = self.loaded.train.source
        form = MaskForm.of(source.files[0].masks[0], self._labels())
        return {**super().reading(), "numbers": form.numbers, "palette": form.palette}

    @classmethod
    def draft(cls, path: Path, targets: Sequence[str] = ()) -> Draft | None:
        """The argument for a folder that has the layout of this data set; None: it has not."""
        return Draft({"path": Reasoned(str(path), "its layout tells it")}) if layout_of(path) == cls.__name__ else None

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, or of the labels."""
        raise NotImplementedError(f"{type(self).__name__} must implement classes")

    @property
    def task(self) -> Task:
        """The task that a network must fit; no image is read for it."""
        return Task(
            "pixel",
            self.target,
            in_channels=self.channels,
            out_channels=1 if self.target == "binary" else len(self.classes),
        )

    def _labels(self) -> Labels:
        """The meanings of the numbers in the masks."""
        raise NotImplementedError(f"{type(self).__name__} must implement _labels")

    def _reader(self, files: Sequence[ImageFiles]) -> Callable[[int], Tensor]:
        return MaskReader(files, self._labels(), self.target == "multilabel", self.size)
