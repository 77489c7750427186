"""Opening image files: what is no image, or several, is refused with its name before pixels are read."""

from __future__ import annotations

import stat
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import ExifTags, Image

_FORMATS = ("PNG", "JPEG", "TIFF")
"""No others, whatever a file is called: Pillow has another program run on what is PostScript."""

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
"""Errors of Pillow's readers, by format and by what is broken."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Errors of Pillow as one that names the file and, where it can be told, its content.

    Raises:
        ValueError: the file cannot be read.
    """
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
    with reading(path), warnings.catch_warnings():
        # Images of up to twice Pillow's limit are read; larger ones are an error.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(path, formats=_FORMATS)
    with image:
        with reading(path):
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


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1: upright."""
    value = image.getexif().get(ExifTags.Base.Orientation, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def bits_of(image: Image.Image, path: Path) -> int:
    """The bits of a value in the file; Pillow's mode does not say it."""
    if image.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24]
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(258, 1)
        return max(bits) if isinstance(bits, tuple) else int(bits)
    return 8
