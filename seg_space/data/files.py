"""Images and masks in files: finding them, reading them, and saying what is wrong with them."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from automl_plugins.nearest import nearest

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
MASK_SUFFIXES = (".png", ".tif", ".tiff")
"""No JPEG: its compression changes the numbers of classes."""

IGNORED = 255
"""The class of a pixel that does not count, whatever its file holds there."""

Array = npt.NDArray[Any]

_ACCEPTED_MODES = {1: ("1", "L", "I;16", "I;16B", "I", "F"), 3: ("RGB", "L", "P"), 4: ("RGBA",)}
"""Pillow's modes of image files that give so many channels; grey images and palettes become RGB."""
_MASK_MODES = ("1", "L", "P", "I;16", "I;16B", "I")

CHANNELS = tuple(_ACCEPTED_MODES)
"""The channels that image files can have here."""

_IN_WORDS = {
    "1": "black and white",
    "L": "grey",
    "P": "a palette",
    "RGB": "three colours",
    "RGBA": "three colours and transparency",
    "LA": "grey and transparency",
    "CMYK": "four printing colours",
    "I;16": "16-bit grey",
    "I;16B": "16-bit grey",
    "I": "32-bit integers",
    "F": "real numbers",
}


class ImageFiles(NamedTuple):
    """An image's file, and that of its mask, or those of its labels."""

    image: Path
    masks: tuple[Path, ...]


@dataclass(frozen=True)
class Labels:
    """What the numbers in mask files stand for.

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
            f"{_some(others)}); accepted are {self.in_words()}"
        )

    def in_words(self) -> str:
        """The numbers that are accepted."""
        return ", or ".join(_ranges(table) for table in self.tables)


def _ranges(table: Mapping[int, int]) -> str:
    counted = sorted(number for number, value in table.items() if value != IGNORED)
    ignored = sorted(number for number, value in table.items() if value == IGNORED)
    whole = len(counted) > 2 and counted == list(range(counted[0], counted[-1] + 1))
    words = f"{counted[0]} to {counted[-1]}" if whole else _some(counted, most=40)
    return f"{words} (ignored: {_some(ignored)})" if ignored else words


def _some(values: Sequence[object], most: int = 12) -> str:
    more = f", and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(map(str, values[:most])) + more


def folder_of(path: Path, what: str) -> Path:
    """The folder, if it is there.

    Raises:
        FileNotFoundError: it is not; the message names what is beside it.
    """
    if not path.is_dir():
        near = sorted(each.name for each in path.parent.iterdir()) if path.parent.is_dir() else []
        there = f"; {path.parent} holds {_some(near)}" if near else ""
        raise FileNotFoundError(f"{path} is no folder, but {what} belong there{there}")
    return path


def listing(folder: Path, what: str, suffixes: Sequence[str]) -> dict[str, Path]:
    """The files of a folder by their names without the suffix, sorted; hidden ones are passed over.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is empty, or holds other files or two of one name.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder_of(folder, what).iterdir()):
        if path.name.startswith("."):
            continue
        if path.suffix.lower() not in suffixes:
            raise ValueError(f"{path} is none of the {what} that are accepted ({', '.join(suffixes)})")
        if path.stem in found:
            raise ValueError(f"{found[path.stem]} and {path.name} have one name; only one of them can be meant")
        found[path.stem] = path
    if not found:
        raise ValueError(f"{folder} is empty; {what} ({', '.join(suffixes)}) belong there")
    return found


def paired(images: Mapping[str, Path], masks: Mapping[str, Path], suffix: str = "") -> list[ImageFiles]:
    """Images with their masks, which have the same names, with a suffix at the end.

    Raises:
        ValueError: one of them has no partner; the message names the nearest.
    """
    wanted = {f"{name}{suffix}": name for name in images}
    lonely = [name for mask, name in wanted.items() if mask not in masks]
    if lonely:
        name = lonely[0]
        raise ValueError(
            f"{images[name]} has no mask{_and_others(lonely)}: there is no {name}{suffix} in "
            f"{next(iter(masks.values())).parent}{_nearest(name + suffix, masks)}"
        )
    left = [name for name in masks if name not in wanted]
    if left:
        raise ValueError(
            f"{masks[left[0]]} has no image{_and_others(left)}: there is none of that name"
            f"{f' without {suffix!r}' if suffix else ''} in {next(iter(images.values())).parent}"
        )
    return [ImageFiles(path, (masks[f"{name}{suffix}"],)) for name, path in images.items()]


def listed(file: Path) -> list[str] | None:
    """The names in a list of files, one a line, without folders and suffixes; None: there is no such list.

    Raises:
        ValueError: it is empty, or names something twice.
    """
    if not file.is_file():
        return None
    lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines()]
    names = [_stem(words[0]) for words in lines if words]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if not names or twice:
        raise ValueError(f"{file} names {f'{twice[0]!r} twice' if twice else 'nothing'}; it is a list, one name a line")
    return names


def _stem(entry: str) -> str:
    """The name in an entry of a list: a path's last part, without the suffix of an image."""
    last = Path(entry)
    return last.stem if last.suffix.lower() in IMAGE_SUFFIXES else last.name


def _nearest(name: str, files: Iterable[str]) -> str:
    match = nearest(name, files)
    return "" if match is None else f"; the nearest name there is {match}"


def _and_others(names: Sequence[str]) -> str:
    return f" (nor have {len(names) - 1} others)" if len(names) > 1 else ""


_OF_BROKEN_FILES = (
    *(OSError, SyntaxError, EOFError, TypeError, ValueError, LookupError, ArithmeticError, struct.error),
    Image.DecompressionBombError,
)
"""What Pillow's readers raise, by format and by what is broken."""


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except _OF_BROKEN_FILES as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """An image file, of which the header was read.

    Raises:
        ValueError: it cannot be read, or holds several images.
    """
    with _reading(path):
        image = Image.open(path)
    with image:
        with _reading(path):
            count = getattr(image, "n_frames", 1)
        if count != 1:
            raise ValueError(f"{path} holds {count} images; accepted is one a file")
        yield image


def read_image(path: Path, channels: int) -> Tensor:
    """An image `[channels, height, width]`: uint8, or float32 where its values need more.

    Args:
        path: the file.
        channels: one of `CHANNELS`.

    Raises:
        ValueError: the file cannot be read, or has other channels.
    """
    with opened(path) as image:
        accepted = _ACCEPTED_MODES[channels]
        if image.mode not in accepted:
            raise ValueError(
                f"{path} has the mode {image.mode} ({_IN_WORDS.get(image.mode, 'unusual')}); for channels={channels}, "
                f"accepted are {', '.join(accepted)}"
            )
        with _reading(path):
            array: Array = np.array(image.convert("RGB") if channels == 3 else image)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if array.dtype != np.uint8:
        array = array.astype(np.float32)
    tensor = torch.from_numpy(array)
    return tensor.unsqueeze(0) if tensor.dim() == 2 else tensor.permute(2, 0, 1).contiguous()


def read_mask(path: Path, labels: Labels) -> Tensor:
    """The classes of an image's pixels, `[height, width]`, uint8.

    Raises:
        ValueError: the file cannot be read, is none of numbers, or holds one that stands for nothing.
    """
    with opened(path) as image:
        if image.mode not in _MASK_MODES:
            raise ValueError(
                f"{path} has the mode {image.mode} ({_IN_WORDS.get(image.mode, 'unusual')}); a mask holds one number a "
                f"pixel, so accepted are {', '.join(_MASK_MODES)}"
            )
        with _reading(path):
            array: Array = np.array(image)
    return labels(array if array.dtype == np.uint8 else array.astype(np.int64), path)


def check_sizes(files: Iterable[ImageFiles]) -> list[tuple[int, int]]:
    """Height and width of images, after a look whether their masks have the same; reads headers alone.

    Raises:
        ValueError: a file cannot be read, or a mask is of another size.
    """
    sizes = []
    for image_path, masks in files:
        with opened(image_path) as image:
            width, height = image.size
        for path in masks:
            with opened(path) as mask:
                if mask.size != (width, height):
                    raise ValueError(
                        f"{path} is {mask.size[0]} x {mask.size[1]} pixels (width x height), but its image "
                        f"{image_path} is {width} x {height}; both have to be of one size"
                    )
        sizes.append((height, width))
    return sizes
