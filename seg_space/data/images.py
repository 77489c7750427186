"""Pixels of image and mask files as they are, upright, with all their bits, or a refusal that names the file."""

from __future__ import annotations

import stat
import struct
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import ExifTags, Image
from torch import Tensor

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
_FORMATS = ("PNG", "JPEG", "TIFF")
"""No others, whatever a file is called: Pillow has another program run on what is PostScript."""
_LOSSY = ("jpeg", "tiff_jpeg", "webp")
_QUARTER_TURNED = (5, 6, 7, 8)
"""Orientations with which height and width change places."""

_OTHER_CONTENTS = (
    (b"version https://git-lfs", "a pointer of Git LFS; git lfs pull fetches the file"),
    (b"<", "a page of the web, or other text"),
    (b"GIF8", "a GIF; save it as PNG"),
    (b"BM", "a BMP; save it as PNG"),
    (b"RIFF", "a WebP; save it as PNG"),
    (b"%!PS", "PostScript; save it as PNG"),
    (b"%PDF", "a PDF; save it as PNG"),
)

_OF_BROKEN_FILES = (
    *(OSError, SyntaxError, EOFError, TypeError, ValueError, LookupError, ArithmeticError, RuntimeError),
    *(struct.error, AttributeError, MemoryError, Image.DecompressionBombError),
)
"""What Pillow's readers raise, by format and by what is broken."""


class Header(NamedTuple):
    """What is known of an image before its pixels are read.

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


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path} cannot be read as an image: {error}; cut it into tiles") from error
    except _OF_BROKEN_FILES as error:
        raise ValueError(f"{path} cannot be read as an image: {error}{_content(path)}") from error


def _content(path: Path) -> str:
    """A guess at what is in a file that is no image."""
    try:
        with path.open("rb") as file:
            start = file.read(32)
    except OSError:
        return ""
    if start[4:8] == b"ftyp":
        return "; it holds an image or video of the HEIF or MP4 family; save it as PNG"
    return next((f"; it holds {told}" for sign, told in _OTHER_CONTENTS if start.startswith(sign)), "")


def _check_is_file(path: Path) -> None:
    """Refuse what is no file before it is opened: a named pipe would be waited for."""
    try:
        status = path.stat()
    except OSError as error:
        raise ValueError(f"{path} cannot be read as an image: {error.strerror or error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is a folder, a device or a pipe, and no file; an image is a regular file")
    if status.st_size == 0:
        raise ValueError(f"{path} is empty (0 bytes); it was not written whole, so write or fetch it again")


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """An image file, of which the header was read.

    Raises:
        ValueError: it cannot be read, or holds several images.
    """
    _check_is_file(path)
    with _reading(path), warnings.catch_warnings():
        # Images of up to twice Pillow's limit are read; larger ones are an error.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(path, formats=_FORMATS)
    with image:
        with _reading(path):
            count = _pages(image)
        if count != 1:
            raise ValueError(
                f"{path} holds {count} images; accepted is one a file, so save each of them as a file of its own"
            )
        yield image


def _pages(image: Image.Image) -> int:
    """The images in a file, without the small views of the first one that cameras and maps have behind it."""
    count: int = getattr(image, "n_frames", 1)
    if count == 1 or image.format == "MPO":
        return 1
    if image.format != "TIFF":
        return count
    views = 0
    for number in range(1, count):
        image.seek(number)
        # Of reduced size, or a mask of what is transparent.
        views += bool(int(getattr(image, "tag_v2", {}).get(254, 0)) & 5)
    image.seek(0)
    return count - views


def read_header(path: Path) -> Header:
    """Size, bits and palette of an image file.

    Raises:
        ValueError: the file cannot be read, or holds several images.
    """
    with opened(path) as image:
        with _reading(path):
            orientation = _orientation(image)
            width, height = image.size
            palette = bytes(image.palette.palette) if image.mode == "P" and image.palette is not None else b""
            bits = _bits(image, path)
        turned = orientation if orientation in _QUARTER_TURNED else 0
        # Pillow gives the upright size of a TIFF.
        if turned and image.format != "TIFF":
            height, width = width, height
        return Header(height, width, bits, turned, palette)


def _orientation(image: Image.Image) -> int:
    value = image.getexif().get(ExifTags.Base.Orientation, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _bits(image: Image.Image, path: Path) -> int:
    """Of a value in the file; Pillow's mode does not say it."""
    if image.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24]
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(258, 1)
        return max(bits) if isinstance(bits, tuple) else int(bits)
    return 8


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
        with _reading(path):
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
    orientation = 1 if image.format == "TIFF" else _orientation(image)
    if image.mode in ("RGB", "RGBA") and _bits(image, path) > 8:
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
        with _reading(path):
            orientation = 1 if image.format == "TIFF" else _orientation(image)
            array = _upright(np.array(image), orientation)
            bits = _bits(image, path)
    if image.mode == "L" and bits in (2, 4):
        # Pillow spreads the few greys of such files over a byte.
        array = array // (255 // (2**bits - 1))
    return classes_of(array if array.dtype == np.uint8 else array.astype(np.int64), path)


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
        colours = [tuple(each[3 * number : 3 * number + 3]) for each in (first, palette)]
        warnings.warn(
            f"the number {number} is the colour {colours[0]} in the palette of {first_path}, but {colours[1]} in that "
            f"of {path}; the numbers are what counts, so see whether they stand for the same classes in both",
            stacklevel=2,
        )
