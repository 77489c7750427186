"""Images with a table of their targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from automl_plugins.spaces.task import Target, Task
from automl_plugins.system.arguments import names, one_of, three_fractions
from automl_plugins.training.data.csv_table import MISSING, CsvTable, read_csv_table
from automl_plugins.training.data.draft import Draft
from automl_plugins.training.data.splits import random_split, stratified_split
from automl_plugins.training.data.targets import check_labels
from seg_space.data.arguments import Size, some_channels
from seg_space.data.checks import check_classes
from seg_space.data.drafts import images_table_draft
from seg_space.data.files import ImageFiles, some_of
from seg_space.data.image_files import ImageFilesData, Splits

SPLITS = ("train", "val", "test")


class ImageTableData(ImageFilesData):
    """Whole images whose targets are in a table: real values, yes or no, several labels, or the name of a class.

    The table is CSV as spreadsheets and scripts save it, with a header line and a row for each image. A cell of
    `image_column` is the image's file (PNG, JPEG or TIFF), below `folder`. Cells of labels are 0 or 1; empty ones, `NA`
    and the like are targets that are not known, which count nowhere.

    Batches are `(images, targets)`: float32 `[batch, columns]`, nan where a target is not known; or, for classes, their
    numbers, `[batch]`, in the alphabetical order of their names, or in that of whole numbers.

    Args:
        path: the table.
        target_columns: names of the columns of targets, of which classes and a binary target have one.
        target: `regression`, `binary`, `multilabel` or `classes`.
        image_column: the name of the column of files.
        folder: of the images; None: the table's.
        split_column: the name of a column that says `train`, `val` or `test`; None: the split is random.
        channels: of the images: 1, 3 or 4 (with transparency).
        fractions: shares of training, validation and test of a random split.
        size: bring all images to this size, height and width, which images of several sizes need. None: as they are.
        scales: between which factors a training image is scaled at random; (1, 1): not at all.
        others: arguments of `ImageFilesData`.

    Raises:
        ValueError: an argument is out of range; (in `setup`) something is wrong with the table or a file, or images
            have several sizes and there is no `size`.
        FileNotFoundError: (in `setup`) the table or an image is missing.
    """

    def __init__(
        self,
        path: str | Path,
        target_columns: Sequence[str],
        target: Target = "regression",
        image_column: str = "image",
        folder: str | Path | None = None,
        split_column: str | None = None,
        channels: int = 3,
        fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
        size: Size = None,
        scales: tuple[float, float] = (0.8, 1.25),
        **others: Any,
    ) -> None:
        super().__init__(path, size, scales, **others)
        self.target_columns = names("target_columns", target_columns)
        one_of("target", target, ("regression", "binary", "multilabel", "classes"))
        self.target = target
        if target in ("binary", "classes") and len(self.target_columns) != 1:
            raise ValueError(f"target_columns has one name for target: {target}; got {some_of(self.target_columns)}")
        if not self.target_columns:
            raise ValueError("target_columns names a column at least; got none")
        self.image_column, self.split_column = image_column, split_column
        self.folder = None if folder is None else Path(folder).expanduser()
        self.channels = some_channels(channels)
        self.fractions = three_fractions("fractions", fractions)

    @classmethod
    def draft(cls, path: Path, targets: Sequence[str] = ()) -> Draft | None:
        """The arguments for a table that was looked at, see `images_table_draft`."""
        return images_table_draft(path, targets)

    def reading(self) -> dict[str, Any]:
        """The arguments with which `unlabelled` reads further images as these."""
        return {**super().reading(), "image_column": self.image_column}

    @property
    def task(self) -> Task:
        """The task that a network must fit; no image is read for it."""
        count = len(self.classes) if self.target == "classes" else len(self.target_columns)
        return Task("image", self.target, in_channels=self.channels, out_channels=count)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in alphabetical order, or numbers in theirs; of labels and values the columns'."""
        if self.target != "classes":
            return tuple(self.target_columns)
        return self._table.classes(self.target_columns[0])[0]

    @property
    def target_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the training images' known targets, each `[columns]`; of real values."""
        source: Any = self.loaded.train.source
        targets = torch.stack([source.target(index) for index in range(len(source))]).double()
        mean = targets.nanmean(dim=0)
        return mean.float(), (targets - mean).square().nanmean(dim=0).sqrt().float()

    @cached_property
    def _table(self) -> CsvTable:
        others = [self.image_column, *([self.split_column] if self.split_column else [])]
        return read_csv_table(self.path, [*others, *self.target_columns])

    @cached_property
    def _rows(self) -> dict[Path, int]:
        """The row of each image."""
        folder, rows = self.folder or self.path.parent, dict[Path, int]()
        for row, cell in enumerate(self._table.columns[self.image_column]):
            where, image = self._table.where(row, self.image_column), folder / cell
            if cell.lower() in MISSING:
                raise ValueError(f"{where} is empty; it names the file of an image")
            if not image.is_file():
                raise FileNotFoundError(f"{where} names {cell!r}, but there is no {image}")
            if rows.setdefault(image, row) != row:
                raise ValueError(f"{where} names {cell!r} again; an image has one row")
        return rows

    @cached_property
    def _targets(self) -> Tensor:
        """The targets of all rows, real values in float64."""
        if self.target == "classes":
            return torch.tensor(self._table.classes(self.target_columns[0])[1])
        values = np.stack([self._table.numbers(column) for column in self.target_columns], axis=1)
        if self.target != "regression":
            wrong = np.argwhere((values != 0) & (values != 1) & ~np.isnan(values))
            for row, column in wrong[:1].tolist():
                where = self._table.where(row, self.target_columns[column])
                raise ValueError(f"{where}: a {self.target} target is 0, 1 or empty; got {values[row, column]:g}")
        return torch.from_numpy(values)

    def _files(self) -> Splits:
        files, targets = [ImageFiles(image) for image in self._rows], self._targets
        parts = self._parts(targets)
        if self.target == "classes":
            check_classes(targets[parts[0]].tolist(), self.classes)
        else:
            chosen = (targets[part] for part in parts)
            check_labels(str(self.path), self.target_columns, self.target, *chosen)
        train, val, test = ([files[index] for index in part.tolist()] for part in parts)
        return train, val, test

    def _parts(self, targets: Tensor) -> list[Tensor]:
        """The rows of training, validation and test."""
        if self.split_column is None:
            if self.target == "classes":
                return stratified_split(targets.tolist(), self.fractions, self.seed, str(self.path))
            return random_split(len(targets), self.fractions, self.seed, str(self.path))
        cells = self._table.columns[self.split_column]
        for row, cell in enumerate(cells):
            if cell not in SPLITS:
                where = self._table.where(row, self.split_column)
                raise ValueError(f"{where}: a split is one of {', '.join(SPLITS)}; got {cell!r}")
        return [torch.tensor([row for row, cell in enumerate(cells) if cell == split]) for split in SPLITS]

    def _reader(self, files: Sequence[ImageFiles]) -> Callable[[int], Tensor]:
        targets = self._targets if self.target == "classes" else self._targets.float()
        return targets[[self._rows[sample.image] for sample in files]].__getitem__
