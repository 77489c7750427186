"""A folder of images and a folder of masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from automl_plugins.system.arguments import one_of, three_fractions
from automl_plugins.training.data.draft import Draft
from automl_plugins.training.data.splits import random_split
from seg_space.data.arguments import class_names, some_channels
from seg_space.data.drafts import masks_draft
from seg_space.data.files import IMAGE_SUFFIXES, MASK_SUFFIXES, ImageFiles, folder_of, listing, paired
from seg_space.data.image_files import MaskFilesData, Splits
from seg_space.data.labels import Labels

MaskTarget = Literal["classes", "binary", "multilabel"]

SPLITS = ("train", "val", "test")


class ImagesAndMasks(MaskFilesData):
    """Semantic segmentation of your own images: PNG, JPEG or TIFF, with masks in PNG or TIFF.

    The folder holds `images/<name>.<suffix>` and `masks/<name>.<suffix>`, which are split at random; or, with a split
    of its own, `train/images/`, `train/masks/`, and the same in `val/` and `test/`. For several labels, `masks/` has a
    folder `masks/<label>/` for each of them.

    A mask holds one number a pixel (grey, 16-bit, or the indices of a palette): the class; for a binary target and
    for labels 0, and 1 or 255; and `ignore_index`, where a pixel does not count. Images and their masks are of one
    size; several images need not be. Colour images may be grey here and there; 16-bit ones are read as they are.

    Args:
        path: the folder.
        classes: names of the classes in the order of their numbers from 0, or how many there are; the names of the
            labels; unused for a binary target.
        target: `classes`, `binary` or `multilabel`.
        channels: of the images: 1, 3 or 4 (with transparency).
        ignore_index: the number of pixels that do not count; None: there are none.
        mask_suffix: what the names of masks have at their end over those of images, such as `_mask`.
        fractions: shares of training, validation and test, where the folder has no split.
        others: arguments of `ImageFilesData`.

    Raises:
        ValueError: an argument is out of range; (in `setup`) something is wrong with a file.
        FileNotFoundError: (in `setup`) a folder is missing.
    """

    def __init__(
        self,
        path: str | Path,
        classes: int | tuple[str, ...] = 2,
        target: MaskTarget = "classes",
        channels: int = 3,
        ignore_index: int | None = None,
        mask_suffix: str = "",
        fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
        **others: Any,
    ) -> None:
        super().__init__(path, **others)
        one_of("target", target, ("classes", "binary", "multilabel"))
        self.target = target
        self.channels = some_channels(channels)
        self._classes = ("foreground",) if target == "binary" else class_names(classes)
        if target == "multilabel" and isinstance(classes, int):
            raise ValueError("classes are the names of the labels' folders, for several labels; got a number")
        self.ignore_index = ignore_index
        numbers = len(self._classes) if target == "classes" else 2
        if ignore_index is not None and ignore_index < numbers:
            raise ValueError(f"ignore_index is none of the numbers 0 to {numbers - 1}; got {ignore_index}")
        self.mask_suffix = mask_suffix
        self.fractions = three_fractions("fractions", fractions)

    @classmethod
    def draft(cls, path: Path, targets: Sequence[str] = ()) -> Draft | None:
        """The arguments for a folder that was looked at, see `masks_draft`."""
        return masks_draft(path)

    @property
    def classes(self) -> tuple[str, ...]:
        return self._classes

    def _labels(self) -> Labels:
        if self.target == "classes":
            return Labels.of_classes(len(self.classes), self.ignore_index)
        return Labels.of_foreground(self.ignore_index)

    def _files(self) -> Splits:
        folder_of(self.path, "images and masks")
        if any((self.path / split).is_dir() for split in SPLITS):
            what = "a split's files (or all images in images/ and masks in masks/, to be split at random)"
            train, val, test = (self._pairs(folder_of(self.path / split, what)) for split in SPLITS)
            return train, val, test
        files = self._pairs(self.path)
        parts = random_split(len(files), self.fractions, self.seed, str(self.path))
        train, val, test = ([files[index] for index in part] for part in parts)
        return train, val, test

    def _pairs(self, folder: Path) -> list[ImageFiles]:
        images = listing(folder / "images", "images", IMAGE_SUFFIXES)
        folders = [folder / "masks"]
        if self.target == "multilabel":
            folders = [folder / "masks" / label for label in self.classes]
        by_folder = [paired(images, listing(path, "masks", MASK_SUFFIXES), self.mask_suffix) for path in folders]
        return [ImageFiles(rows[0].image, tuple(row.masks[0] for row in rows)) for rows in zip(*by_folder, strict=True)]
