"""Pixels of image and mask files as they are, upright, with all their bits, or a refusal that names the file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from seg_space.data.opening import bits_of, opened, orientation_of, reading

Array = npt.NDArray[Any]

_ACCEPTED_MODES = {1: ("1", "L", "I;16", "I;16B", "I", "F"), 3: ("RGB", "L", "P", "1"), 4: ("RGBA",)}
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
_CURES = {
    "RGB": "channels: 3 is for such images",
    "P": "channels: 3 is for such images",
    "RGBA": "channels: 4 is for such images, or save it without transparency",
    "LA": "save it without transparency",
    "PA": "save it without transparency",
    "CMYK": "save it in RGB",
    "L": "channels: 1 and 3 are for such images",
}
_LOSSY = ("jpeg", "tiff_jpeg", "webp")


def read_image(path: Path, channels: int) -> Tensor:
    """An image `[channels, height, width]`: uint8, or float32 where its values need more.

    It is upright, as viewers show it and masks are drawn on it, whatever its EXIF orientation.

    Args:
        path: the file.
        channels: one of `CHANNELS`.

    Raises:
        ValueError: the file cannot be read, has other channels or more bits than can be kept, or holds nan or infinity.
    """
    with opened(path) as image:
        samples = getattr(image, "tag_v2", {}).get(277, 0)
        if samples > len(image.getbands()):
            raise ValueError(
                f"{path} has {samples} values a pixel, of which {len(image.getbands())} would be read; write it with "
                "as many as it needs, a fourth one as its alpha"
            )
        accepted = _ACCEPTED_MODES[channels]
        if image.mode not in accepted:
            cure = _CURES.get(image.mode, "channels: 1 is for such images" if image.mode in _ACCEPTED_MODES[1] else "")
            raise ValueError(
                f"{path} has the mode {image.mode} ({_IN_WORDS.get(image.mode, 'unusual')}); for channels={channels}, "
                f"accepted are {', '.join(accepted)}" + (f"; {cure}" if cure else "")
            )
        with reading(path):
            array = _pixels(image, path, channels)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if array.dtype != np.uint8:
        array = array.astype(np.float32)
        if not np.isfinite(array).all():
            row, column = (int(places[0]) for places in np.nonzero(~np.isfinite(array))[:2])
            raise ValueError(
                f"{path} holds {array[row, column]} (first at row {row}, column {column}); an image is of finite "
                "numbers, so put others in their place"
            )
    tensor = torch.from_numpy(array)
    return tensor.unsqueeze(0) if tensor.dim() == 2 else tensor.permute(2, 0, 1).contiguous()


def _pixels(image: Image.Image, path: Path, channels: int) -> Array:
    """`[height, width]` or `[height, width, channels]`, upright."""
    # Pillow turns TIFF files itself.
    orientation = 1 if image.format == "TIFF" else orientation_of(image)
    if image.mode in ("RGB", "RGBA") and bits_of(image, path) > 8:
        return _upright(_sixteen_bits(path, "RGBA"[:channels]), orientation)
    return _upright(np.array(image.convert("RGB") if channels == 3 else image), orientation)


def _sixteen_bits(path: Path, bands: str) -> Array:
    """A file of colours with 16 bits each, of which Pillow gives 8: each value's first byte, and then its second."""
    halves = []
    order = "B"
    for half in ("B", "L"):
        with opened(path) as image:
            file: Any = image
            order = _order(file.tile, bands)
            file.tile = [_with_mode(tile, f"{bands};16{half}") for tile in file.tile]
            halves.append(np.array(file).astype(np.uint16))
    first, second = halves
    return 256 * first + second if order == "B" else 256 * second + first


def _order(tiles: Sequence[Any], bands: str) -> str:
    """The order of a value's bytes, B or L.

    Raises:
        ValueError: the values are stored in a way of which the bytes cannot be had one by one.
    """
    modes = {str(tile[3][0] if isinstance(tile[3], tuple) else tile[3]) for tile in tiles}
    native = "L" if sys.byteorder == "little" else "B"
    orders = {f"{bands};16B": "B", f"{bands};16L": "L", f"{bands};16N": native}
    if len(modes) != 1 or not modes <= orders.keys():
        raise ValueError(
            f"its values are stored as {', '.join(modes)}, of which 8 bits would be kept; save it as a 16-bit PNG"
        )
    return orders[modes.pop()]


def _with_mode(tile: Any, mode: str) -> Any:
    arguments = (mode, *tile[3][1:]) if isinstance(tile[3], tuple) else mode
    # Of older versions of Pillow, it is a plain tuple.
    return tile._replace(args=arguments) if hasattr(tile, "_replace") else (*tile[:3], arguments)


def _upright(array: Array, orientation: int) -> Array:
    """Turn and mirror an image as its EXIF orientation says."""
    if orientation in (5, 7):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 6, 8):
        array = np.rot90(array, {3: 2, 4: 2, 6: -1, 8: 1}[orientation])
    if orientation == 7:
        array = np.rot90(array, 2)
    if orientation in (2, 4):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


def read_mask(path: Path, classes_of: Callable[[Array, Path], Tensor]) -> Tensor:
    """The classes of an image's pixels, `[height, width]`, uint8, upright.

    Args:
        path: the file.
        classes_of: what the numbers stand for, such as `Labels`.

    Raises:
        ValueError: the file cannot be read, is none of numbers, or holds one that stands for nothing.
    """
    with opened(path) as image:
        if image.format not in ("PNG", "TIFF") or image.info.get("compression") in _LOSSY:
            raise ValueError(
                f"{path} was compressed as JPEG does, which changes the numbers of classes; write masks as PNG"
            )
        if image.mode not in _MASK_MODES:
            raise ValueError(
                f"{path} has the mode {image.mode} ({_IN_WORDS.get(image.mode, 'unusual')}); a mask holds one number a "
                f"pixel, so accepted are {', '.join(_MASK_MODES)}; write the number of its class for each colour"
            )
        with reading(path):
            orientation = 1 if image.format == "TIFF" else orientation_of(image)
            array = _upright(np.array(image), orientation)
            bits = bits_of(image, path)
    if image.mode == "L" and bits in (2, 4):
        # Pillow spreads the few greys of such files over a byte.
        array = array // (255 // (2**bits - 1))
    return classes_of(array if array.dtype == np.uint8 else array.astype(np.int64), path)
