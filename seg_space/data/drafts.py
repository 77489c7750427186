"""Folders and tables of images, looked at before a datamodule reads them: channels, sizes, suffixes, classes."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from automl_plugins.training.data.columns import SPLITS, may_be_table, split_column, table_draft, whole_table
from automl_plugins.training.data.csv_table import MISSING
from automl_plugins.training.data.draft import Draft, Reasoned, evenly
from seg_space.data.files import IMAGE_SUFFIXES, MASK_SUFFIXES, images_below, is_hidden, listing, some_of
from seg_space.data.headers import read_header
from seg_space.data.images import read_mask
from seg_space.data.labels import IGNORED
from seg_space.data.layouts import layout_of
from seg_space.data.opening import opened

_LOOKED_AT = 1000
"""Images and masks that are looked at, spread over all; the rest is looked at when data are read."""
_MOST_SIDE = 512
_CLASS_SIDE = 224
"""Sides that training images are cut to, and that whole images are brought to, as in ImageNet's recipes."""
_STEP = 32
"""Sides are multiples of it, so that encoders halve them five times."""


def masks_draft(path: Path) -> Draft | None:
    """The arguments of `ImagesAndMasks` for a folder; None: it is none of images and masks.

    Raises:
        ValueError: a file cannot be read, or masks hold what are no classes.
    """
    if layout_of(path) != "ImagesAndMasks":
        return None
    splits = any((path / split).is_dir() for split in SPLITS)
    below = path / "train" if splits else path
    images = listing(below / "images", "images", IMAGE_SUFFIXES)
    looked = evenly(list(images.values()), _LOOKED_AT)
    told = "its own split: train, val and test" if splits else "no split of its own: 70/15/15 at random, by seed"
    found = {"path": Reasoned(str(path), f"{len(images):,} images and their masks; {told}"), **_channels(looked)}
    labels = [each.name for each in _folders(below / "masks")]
    if labels:
        found["target"] = Reasoned("multilabel", "masks/ has a folder for each label")
        found["classes"] = Reasoned(labels, "the folders' names")
        first = below / "masks" / labels[0]
    else:
        first = below / "masks"
        masks = listing(first, "masks", MASK_SUFFIXES)
        found |= _classes(evenly(list(masks.values()), _LOOKED_AT))
    suffix = _suffix(list(images), list(listing(first, "masks", MASK_SUFFIXES)))
    if suffix:
        found["mask_suffix"] = Reasoned(suffix, "all masks have it behind the name of their image")
    return Draft({**found, **_crop(looked)})


def classes_draft(path: Path) -> Draft | None:
    """The arguments of `ImageFolderData` for a folder; None: it has no folders of images.

    Raises:
        ValueError: a file cannot be read, or is no image.
    """
    if not path.is_dir() or layout_of(path) is not None:
        return None
    parts = [each for each in sorted(path.iterdir()) if each.is_dir() and not is_hidden(each)]
    below = path / "train" if path / "train" in parts and len(parts) > 1 else path
    counts = {
        each.name: images_below(each) for each in sorted(below.iterdir()) if each.is_dir() and not is_hidden(each)
    }
    images = [image for files in counts.values() for image in files]
    if not images:
        return None
    told = some_of([f"{name} {len(files):,}" for name, files in counts.items()])
    found = {"path": Reasoned(str(path), f"{'training images' if below != path else 'images'}: {told}")}
    if len(counts) == 2:
        first, second = counts
        found["target"] = Reasoned("binary", f"two classes: {second} is yes, {first} is no")
    looked = evenly(images, _LOOKED_AT)
    return Draft({**found, **_channels(looked), **_size(looked)})


def images_table_draft(path: Path, targets: Sequence[str] = ()) -> Draft | None:
    """The arguments of `ImageTableData` for a table; None: it is none, or no column of it names images.

    Args:
        path: the file.
        targets: the columns that are to be predicted; empty: that which may be, where there is one alone.

    Raises:
        ValueError: a file cannot be read, no column can be predicted, or not those that were named.
    """
    if not may_be_table(path):
        return None
    table = whole_table(path)
    for column, cells in table.columns.items():
        named = [path.parent / cell for cell in cells if cell.lower() not in MISSING]
        if not named or any(each.suffix.lower() not in IMAGE_SUFFIXES for each in evenly(named, _LOOKED_AT)):
            continue
        looked = [each for each in evenly(named, _LOOKED_AT) if each.is_file()]
        inputs = {
            "path": Reasoned(str(path), f"{len(named):,} rows"),
            "image_column": Reasoned(column, "its cells name image files"),
        }
        draft = table_draft(table, inputs, targets, split_column(table, SPLITS))
        return Draft({**draft.arguments, **_channels(looked), **_size(looked)}, draft.targets)
    return None


def _folders(path: Path) -> list[Path]:
    return [each for each in sorted(path.glob("*")) if each.is_dir() and not is_hidden(each)]


def _channels(images: Sequence[Path]) -> dict[str, Reasoned]:
    """The channels, where they are not three."""
    modes: Counter[str] = Counter()
    for path in images:
        with opened(path) as image:
            modes[image.mode] += 1
    told = ", ".join(f"{count:,} of mode {mode}" for mode, count in modes.most_common())
    if modes and set(modes) == {"RGBA"}:
        return {"channels": Reasoned(4, f"colours with transparency: {told}")}
    if modes and not set(modes) & {"RGB", "RGBA", "P", "CMYK"}:
        return {"channels": Reasoned(1, f"grey images: {told}")}
    return {"channels": Reasoned(3, f"colours: {told}")}


def _sizes(images: Sequence[Path]) -> tuple[list[tuple[int, int]], str]:
    headers = [read_header(path) for path in images]
    sizes = [(header.height, header.width) for header in headers]
    distinct = sorted(set(sizes))
    told = " x ".join(map(str, distinct[0])) + (
        f" to {' x '.join(map(str, distinct[-1]))} pixels ({len(distinct)} sizes)" if len(distinct) > 1 else " pixels"
    )
    return sizes, told


def _size(images: Sequence[Path]) -> dict[str, Reasoned]:
    """The size of whole images, where they have several or are large."""
    sizes, told = _sizes(images)
    middle = int(np.median([min(size) for size in sizes] or [_CLASS_SIDE]))
    if len(set(sizes)) < 2 and middle <= _CLASS_SIDE:
        return {}
    side = max(_STEP, min(_CLASS_SIDE, middle) // _STEP * _STEP)
    return {"size": Reasoned(side, f"images are of {told}; all are brought to one size")}


def _crop(images: Sequence[Path]) -> dict[str, Reasoned]:
    """The size of the pieces that are trained on, where images have several sizes or are large."""
    sizes, told = _sizes(images)
    least, most = min(map(min, sizes)), max(map(max, sizes))
    if (len(set(sizes)) < 2 and most <= _MOST_SIDE) or least < _STEP:
        return {}
    side = min(_MOST_SIDE, least) // _STEP * _STEP
    return {"crop": Reasoned(side, f"images are of {told}; random pieces are trained on, whole images are judged")}


def _classes(masks: Sequence[Path]) -> dict[str, Reasoned]:
    """The target and classes by the numbers in masks.

    Raises:
        ValueError: they are no classes counted from 0.
    """
    pixels: Counter[int] = Counter()

    def note(numbers: npt.NDArray[Any], path: Path) -> Tensor:
        values, counts = np.unique(numbers, return_counts=True)
        pixels.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        return torch.empty(0)

    for path in masks:
        read_mask(path, note)
    numbers = sorted(pixels)
    told = some_of([f"{number} in {pixels[number] / pixels.total():.1%}" for number in numbers])
    seen = f"numbers of the masks' pixels: {told}"
    if numbers in ([0, 1], [0, 255]):
        return {"target": Reasoned("binary", seen)}
    counted = [number for number in numbers if number != IGNORED]
    most = max(counted, default=0)
    if min(numbers) < 0 or most == 0 or (most > 10 and 2 * len(counted) < most + 1):
        raise ValueError(
            f"{masks[0].parent}: masks hold the numbers {some_of(numbers)}, which are no classes; classes are counted "
            "from 0, and 255 is a pixel that does not count"
        )
    ignored = {"ignore_index": Reasoned(IGNORED, "255 is beyond the classes: pixels that do not count")}
    if most == 1:
        return {"target": Reasoned("binary", seen), **ignored}
    classes = {"classes": Reasoned(most + 1, f"{seen}; give names in their order, such as [road, building]")}
    return {**classes, **(ignored if IGNORED in numbers else {})}


def _suffix(images: Sequence[str], masks: Sequence[str]) -> str:
    """The end that all masks' names have behind those of their images; empty: there is none."""
    first = unicodedata.normalize("NFC", images[0])
    for mask in masks:
        suffix = mask.removeprefix(first)
        if mask != first and suffix != mask and all(f"{image}{suffix}" in masks for image in images):
            return suffix
    return ""
