"""The meaning of the numbers in mask files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seg_space.data.files import some_of

IGNORED = 255
"""The class of a pixel that does not count, whatever its file holds there."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Labels:
    """The classes that the numbers in mask files stand for.

    Args:
        tables: class by number; with several tables, a file keeps to one of them.
    """

    tables: tuple[Mapping[int, int], ...]

    @classmethod
    def of_classes(cls, count: int, ignore_index: int | None) -> Labels:
        """Numbers that are classes, and one for pixels that do not count, if any."""
        table = {number: number for number in range(count)}
        return cls((table if ignore_index is None else {**table, ignore_index: IGNORED},))

    @classmethod
    def of_foreground(cls, ignore_index: int | None) -> Labels:
        """0 for the background, and 1 or 255 for the foreground, the same one in a whole file."""
        ignored = {} if ignore_index is None else {ignore_index: IGNORED}
        return cls(tuple({0: 0, one: 1, **ignored} for one in (1, 255) if one != ignore_index))

    def __call__(self, numbers: Array, path: Path) -> Tensor:
        """The classes of a mask's pixels, `[height, width]`, uint8.

        Raises:
            ValueError: a number that stands for nothing.
        """
        bad: tuple[Array, ...] = ()
        for table in self.tables:
            # The last entry is of all numbers beyond the table; -1: stands for nothing.
            beyond = max(255, *table) + 1
            lookup = np.full(beyond + 1, -1, dtype=np.int16)
            lookup[list(table)] = list(table.values())
            inside = numbers if numbers.dtype == np.uint8 else np.where(numbers < 0, beyond, numbers.clip(max=beyond))
            classes = lookup[inside]
            if classes.min(initial=0) >= 0:
                return torch.from_numpy(classes.astype(np.uint8))
            bad = bad or np.nonzero(classes < 0)
        row, column = (int(places[0]) for places in bad)
        others = np.unique(numbers).tolist()
        raise ValueError(
            f"{path} holds the number {numbers[row, column]} (first at row {row}, column {column}; all its numbers: "
            f"{some_of(others)}); accepted are {self.in_words()}{self._cure(others)}"
        )

    def _cure(self, numbers: list[int]) -> str:
        """Meanings that a user may have had in mind with the numbers of a mask."""
        if set(numbers) == {0, 255}:
            return "; for a foreground of 255, target: binary"
        unknown = [number for number in numbers if all(number not in table for table in self.tables)]
        if unknown == [255] and len(self.tables) == 1:
            return "; if 255 marks pixels that do not count, ignore_index: 255"
        if len(self.tables) > 1 and len(unknown) > 0:
            return "; for numbers of classes, target: classes"
        counted = [number for number in numbers if number != 255]
        if min(numbers) >= 0 and counted and len(counted) > 1 and max(counted) < 255:
            return f"; if these are classes, classes: {max(counted) + 1} at least"
        return ""

    def in_words(self) -> str:
        """The numbers that are accepted."""
        return ", or ".join(_ranges(table) for table in self.tables)


def _ranges(table: Mapping[int, int]) -> str:
    counted = sorted(number for number, value in table.items() if value != IGNORED)
    ignored = sorted(number for number, value in table.items() if value == IGNORED)
    whole = len(counted) > 2 and counted == list(range(counted[0], counted[-1] + 1))
    words = f"{counted[0]} to {counted[-1]}" if whole else some_of(counted, most=40)
    return f"{words} (ignored: {some_of(ignored)})" if ignored else words
