"""Masks as files in the form of those of the training: the same numbers, and the same palette."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from automl_plugins.system.files import whole_file
from seg_space.data.headers import read_header
from seg_space.data.images import read_mask
from seg_space.data.labels import IGNORED, Labels


@dataclass(frozen=True)
class MaskForm:
    """The form of mask files.

    Args:
        numbers: that stand for each class; of a foreground those of no and yes.
        palette: red, green and blue of each number, one after another; empty: masks are grey.
    """

    numbers: tuple[int, ...]
    palette: tuple[int, ...] = ()

    @classmethod
    def of(cls, mask: Path, labels: Labels) -> MaskForm:
        """That of a mask file.

        Args:
            mask: the file.
            labels: what the numbers stand for.

        Raises:
            ValueError: it cannot be read.
        """
        seen: list[int] = []

        def note(numbers: npt.NDArray[np.generic], path: Path) -> object:
            seen.extend(int(number) for number in np.unique(numbers))
            return labels(numbers, path)

        read_mask(mask, note)  # type: ignore[arg-type]  # its classes are handed on as they are
        table = next((each for each in labels.tables if set(seen) <= set(each)), labels.tables[0])
        # A foreground may be 1 or 255; a mask without any does not tell, and 255 can be seen.
        table = labels.tables[-1] if len(labels.tables) > 1 and set(seen) <= {0} else table
        classes = sorted({number for number in table.values() if number != IGNORED})
        numbers = tuple(min(number for number, known in table.items() if known == each) for each in classes)
        return cls(numbers, tuple(read_header(mask).palette))

    def write(self, path: Path, classes: npt.NDArray[np.integer]) -> None:
        """Write a mask as PNG.

        Args:
            path: the file.
            classes: of its pixels, `[height, width]`.

        Raises:
            WriteError: it cannot be written.
        """
        numbers = np.asarray(self.numbers)[classes]
        image = Image.fromarray(numbers.astype(np.uint16 if max(self.numbers) > 255 else np.uint8))
        if self.palette and image.mode == "L":
            image.putpalette(list(self.palette))
        with whole_file(path) as file:
            image.save(file, format="PNG")
