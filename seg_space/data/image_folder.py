"""A folder of images for each class."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from automl_plugins.spaces.task import Task
from automl_plugins.system.arguments import one_of, three_fractions
from automl_plugins.training.data.draft import Draft
from automl_plugins.training.data.splits import stratified_split
from seg_space.data.arguments import Size, class_names, some_channels
from seg_space.data.checks import check_classes
from seg_space.data.drafts import classes_draft
from seg_space.data.files import ImageFiles, folder_of, images_below, some_of
from seg_space.data.image_files import ImageFilesData, Splits

TRAIN = "train"
VALIDATION = ("val", "valid", "validation")
TEST = "test"


class ImageFolderData(ImageFilesData):
    """Classification of your own images: PNG, JPEG or TIFF, in a folder for each class, as torchvision's `ImageFolder`.

    The folder holds `<class>/<name>.<suffix>`, with folders inside those of classes or without, which is split at
    random, in every class alike; or, with a split of its own, `train/<class>/`, and the same in `val/` and `test/`. Of
    `val/` and `test/` one may be missing: the other one's images are then the *test* images, which nothing is selected
    by, and a share of the training images validates.

    Batches are `(images, targets)`, with the numbers of the classes, `[batch]`; for a binary target 0 and 1. Colour
    images may be grey here and there; 16-bit ones are read as they are; all are upright by their EXIF orientation.

    Args:
        path: the folder.
        classes: the names of their folders in the order of their numbers; None: all of them, in alphabetical order.
        target: `classes`, or `binary`: the second of two classes against the first.
        channels: of the images: 1, 3 or 4 (with transparency).
        fractions: shares of training, validation and test, where the folder has no split; where it has a part of one,
            the first two are those of the training images.
        size: bring all images to this size, height and width, which images of several sizes need. None: as they are.
        scales: between which factors a training image is scaled at random; (1, 1): not at all.
        others: arguments of `ImageFilesData`.

    Raises:
        ValueError: an argument is out of range; (in `setup`) something is wrong with a file, or images have several
            sizes and there is no `size`.
        FileNotFoundError: a folder is missing.
    """

    def __init__(
        self,
        path: str | Path,
        classes: tuple[str, ...] | None = None,
        target: Literal["classes", "binary"] = "classes",
        channels: int = 3,
        fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
        size: Size = None,
        scales: tuple[float, float] = (0.8, 1.25),
        **others: Any,
    ) -> None:
        super().__init__(path, size, scales, **others)
        one_of("target", target, ("classes", "binary"))
        self.target = target
        self.channels = some_channels(channels)
        self._classes = None if classes is None else class_names(classes)
        self.fractions = three_fractions("fractions", fractions)

    @classmethod
    def draft(cls, path: Path, targets: Sequence[str] = ()) -> Draft | None:
        """The arguments for a folder that was looked at, see `classes_draft`."""
        return classes_draft(path)

    @property
    def task(self) -> Task:
        """The task that a network must fit; no image is read for it."""
        if self.target == "binary" and len(self.classes) != 2:
            raise ValueError(f"a binary target is of two classes; {self.path} has {', '.join(self.classes)}")
        count = 1 if self.target == "binary" else len(self.classes)
        return Task("image", self.target, in_channels=self.channels, out_channels=count)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of their numbers."""
        below = self.path / TRAIN if self._parts else self.path
        folders = tuple(path.name for path in _folders(folder_of(below, "folders of classes")))
        for name in self._classes or ():
            if name not in folders:
                raise FileNotFoundError(f"{below} has no folder of the class {name!r}; it has {some_of(folders)}")
        classes = self._classes or folders
        if len(classes) < 2:
            raise ValueError(
                f"{below} has {some_of(folders) or 'no folder'}; it has to have a folder for each class, two at least"
            )
        if set(folders) == {"images", "masks"}:
            raise ValueError(f"{below} has images/ and masks/, which are no classes; take data: images-and-masks")
        return classes

    @cached_property
    def _parts(self) -> dict[str, Path]:
        """The folders of the data set's own split; empty where it has none."""
        folder_of(self.path, "folders of classes")
        parts = {name: self.path / name for name in (TRAIN, *VALIDATION, TEST) if (self.path / name).is_dir()}
        if len(parts.keys() & set(VALIDATION)) > 1:
            raise ValueError(f"{self.path} has {', '.join(parts)}; one of these is for validation, so leave one")
        return parts if TRAIN in parts and len(parts) > 1 else {}

    def _files(self) -> Splits:
        if not self._parts:
            train, val, test = self._split(self._images(self.path), self.fractions)
        else:
            train, *held_out = (self._images(path) for path in self._parts.values())
            if len(held_out) == 2:
                val, test = held_out
            else:
                both = sum(self.fractions[:2])
                train, val = self._split(train, [share / both for share in self.fractions[:2]])
                (test,) = held_out
        check_classes([self._number(sample.image) for sample in train], self.classes)
        return train, val, test

    def _images(self, folder: Path) -> list[ImageFiles]:
        """The images of all classes, class by class."""
        for path in _folders(folder):
            if path.name not in self.classes and self._classes is None:
                raise ValueError(f"{path} is of no class; those of training are {some_of(self.classes)}")
        folders = [folder / name for name in self.classes]
        return [ImageFiles(image) for below in folders if below.is_dir() for image in images_below(below)]

    def _split(self, files: Sequence[ImageFiles], fractions: Sequence[float]) -> list[list[ImageFiles]]:
        groups = [self._number(sample.image) for sample in files]
        parts = stratified_split(groups, fractions, self.seed, str(self.path))
        return [[files[index] for index in part.tolist()] for part in parts]

    def _number(self, image: Path) -> int:
        folders = image.relative_to(self.path).parts
        return self.classes.index(folders[1 if self._parts else 0])

    def _reader(self, files: Sequence[ImageFiles]) -> Callable[[int], Tensor]:
        targets = torch.tensor([self._number(sample.image) for sample in files], dtype=torch.int64)
        return targets.__getitem__


def _folders(path: Path) -> Iterator[Path]:
    """The folders in a folder, sorted; hidden ones are passed over."""
    return (inner for inner in sorted(path.iterdir()) if inner.is_dir() and not inner.name.startswith("."))
