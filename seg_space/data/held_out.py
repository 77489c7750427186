"""Benchmarks whose test masks are kept by their organisers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from automl_plugins.training.data.splits import random_split
from seg_space.data.arguments import Size
from seg_space.data.files import ImageFiles
from seg_space.data.image_files import MaskFilesData


class HeldOutData(MaskFilesData):
    """Semantic segmentation where only training and validation masks are public.

    Papers report on the validation images, so these are the *test* images here, which nothing is selected by. A search
    and early stopping look at a share of the training images, set aside at random.

    Subclasses implement `_public_files`, `_labels` and `classes`.

    Args:
        path: the folder of the data set.
        val_share: of the training images, for validation.
        crop: size of the random piece of an image that is trained on; None: the image's own.
        others: arguments of `ImageFilesData`.

    Raises:
        ValueError: an argument is out of range; (in `setup`) something is wrong with a file.
        FileNotFoundError: (in `setup`) a file or folder is missing.
    """

    def __init__(self, path: str | Path, val_share: float = 0.1, crop: Size = 512, **others: Any) -> None:
        super().__init__(path, crop=crop, **others)
        if not 0 < val_share < 1:
            raise ValueError(f"val_share is between 0 and 1; got {val_share}")
        self.val_share = val_share

    def _public_files(self) -> tuple[Sequence[ImageFiles], Sequence[ImageFiles]]:
        """The files of the official training and validation images."""
        raise NotImplementedError(f"{type(self).__name__} must implement _public_files")

    def _files(self) -> tuple[list[ImageFiles], list[ImageFiles], list[ImageFiles]]:
        training, test = self._public_files()
        rest, held_out = random_split(len(training), (1 - self.val_share, self.val_share), self.seed)
        return [training[index] for index in rest], [training[index] for index in held_out], list(test)
