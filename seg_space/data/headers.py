"""The headers of image files: sizes, bits and palettes, which have to go together in a data set."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from seg_space.data.opening import bits_of, opened, orientation_of, reading

_QUARTER_TURNED = (5, 6, 7, 8)
"""Orientations with which height and width change places."""


class Header(NamedTuple):
    """Knowledge of an image before its pixels are read.

    Args:
        height: of the upright image.
        width: of the upright image.
        bits: of a value.
        turned: the EXIF orientation by which height and width have changed places; 0: they have not.
        palette: the colours of a palette's numbers, one after another; empty where there is none.
    """

    height: int
    width: int
    bits: int
    turned: int
    palette: bytes


def read_header(path: Path) -> Header:
    """Size, bits and palette of an image file.

    Raises:
        ValueError: the file cannot be read, or holds several images.
    """
    with opened(path) as image:
        with reading(path):
            orientation = orientation_of(image)
            width, height = image.size
            palette = bytes(image.palette.palette) if image.mode == "P" and image.palette is not None else b""
            bits = bits_of(image, path)
        turned = orientation if orientation in _QUARTER_TURNED else 0
        # Pillow gives the upright size of a TIFF.
        if turned and image.format != "TIFF":
            height, width = width, height
        return Header(height, width, bits, turned, palette)


def check_headers(files: Sequence[tuple[Path, Sequence[Path]]]) -> list[tuple[int, int]]:
    """Height and width of images; reads headers alone.

    Args:
        files: each image with its masks.

    Raises:
        ValueError: a file cannot be read, a mask is of another size than its image, or an image has other bits than
            the first one.
    """
    sizes = []
    first: tuple[Path, int] | None = None
    palette: tuple[Path, bytes] | None = None
    for image_path, mask_paths in files:
        image = read_header(image_path)
        depth = max(image.bits, 8)
        first = first or (image_path, depth)
        if depth != first[1]:
            raise ValueError(
                f"{image_path} has {depth} bits a value, but {first[0]} has {first[1]}; images of one data set need "
                "the same, since their values are taken as they are"
            )
        for mask_path in mask_paths:
            mask = read_header(mask_path)
            if (mask.height, mask.width) != (image.height, image.width):
                raise ValueError(_other_size(image_path, image, mask_path, mask))
            if mask.palette:
                palette = palette or (mask_path, mask.palette)
                _check_palette(*palette, mask_path, mask.palette)
        sizes.append((image.height, image.width))
    return sizes


def _other_size(image_path: Path, image: Header, mask_path: Path, mask: Header) -> str:
    told = (
        f"{mask_path} is {mask.width} x {mask.height} pixels (width x height), but its image {image_path} is "
        f"{image.width} x {image.height}; both have to be of one size"
    )
    if (mask.width, mask.height) == (image.height, image.width) and image.turned != mask.turned:
        return (
            f"{told}: EXIF orientation {image.turned or mask.turned} turns the "
            f"{'image' if image.turned else 'mask'} upright and not the other; save both upright, without EXIF"
        )
    return told


def _check_palette(first_path: Path, first: bytes, path: Path, palette: bytes) -> None:
    common = min(len(first), len(palette))
    if first[:common] != palette[:common]:
        number = next(place for place in range(common) if first[place] != palette[place]) // 3
        colours = [tuple(colors[3 * number : 3 * number + 3]) for colors in (first, palette)]
        warnings.warn(
            f"the number {number} is the colour {colours[0]} in the palette of {first_path}, but {colours[1]} in that "
            f"of {path}; the numbers are what counts, so see whether they stand for the same classes in both",
            stacklevel=2,
        )
