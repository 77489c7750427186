"""Image files as users have them: their bits, their orientation, and what is no image at all."""

from __future__ import annotations

import io
import os
import re
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from trees import HEIGHT, WIDTH, folder, write_image, write_mask

from seg_space.data import ImagesAndMasks
from seg_space.data.headers import read_header
from seg_space.data.images import read_image, read_mask
from seg_space.data.labels import Labels

NUMBERS = Labels.of_classes(200, None)


def png(path: Path, array: np.ndarray, bits: int, colour: int) -> Path:
    """A PNG of 2, 4 or 16 bits, which Pillow does not write."""
    if bits == 16:
        rows = array.reshape(len(array), -1).astype(">u2")
        packed = [row.tobytes() for row in rows]
    else:
        each = np.unpackbits(array.astype(np.uint8)[..., None], axis=-1)[..., -bits:]
        packed = [np.packbits(row.reshape(-1)).tobytes() for row in each]

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], bits, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row for row in packed)
    content = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


def tiff_of_16_bits(path: Path, array: np.ndarray, extra: int = 2, big: bool = False, deflate: bool = False) -> Path:
    """A TIFF of so many 16-bit values a pixel; an extra one is of transparency (2), or unknown (0)."""
    order = ">" if big else "<"
    height, width, samples = array.shape
    data = array.astype(f"{order}u2").tobytes()
    data = zlib.compress(data) if deflate else data
    colour = 1 if samples == 1 else 2
    entries = {
        256: width,
        257: height,
        259: 8 if deflate else 1,
        262: colour,
        277: samples,
        278: height,
        279: len(data),
    }
    count = len(entries) + 2 + (samples > 3)
    offset = 8 + 2 + 12 * count + 4
    lines = {tag: struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in entries.items()}
    lines[258] = struct.pack(f"{order}HHII", 258, 3, samples, offset)
    if samples == 1:
        lines[258] = struct.pack(f"{order}HHIHH", 258, 3, 1, 16, 0)
    lines[273] = struct.pack(f"{order}HHII", 273, 4, 1, offset + 2 * samples)
    if samples > 3:
        lines[338] = struct.pack(f"{order}HHIHH", 338, 3, 1, extra, 0)
    table = b"".join(lines[tag] for tag in sorted(lines))
    start = (b"MM\0*\0\0\0\x08" if big else b"II*\0\x08\0\0\0") + struct.pack(f"{order}H", count)
    path.write_bytes(start + table + b"\0\0\0\0" + struct.pack(f"{order}{samples}H", *[16] * samples) + data)
    return path


# Bits.


WRITERS: dict[str, Callable[[Path, np.ndarray], Path]] = {
    "png": lambda path, array: png(path, array, 16, {1: 0, 3: 2, 4: 6}[array.shape[-1]]),
    "tiff": tiff_of_16_bits,
    "deflated tiff": lambda path, array: tiff_of_16_bits(path, array, deflate=True),
    "big-endian tiff": lambda path, array: tiff_of_16_bits(path, array, big=True),
}


@pytest.mark.parametrize("highest", [256, 65536])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", WRITERS)
def test_all_16_bits_of_a_value_are_kept(kind: str, channels: int, highest: int, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, highest, (5, 4, channels), dtype=np.uint16)
    image = read_image(WRITERS[kind](tmp_path / "image.png", values), channels)
    assert image.dtype == torch.float32
    assert torch.equal(image, torch.from_numpy(values.astype(np.float32)).permute(2, 0, 1))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_mask_of_few_bits_holds_the_numbers_that_were_written(bits: int, tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(0, min(2**bits, 100), (6, 8))
    path = png(tmp_path / "mask.png", numbers, bits, 0)
    assert torch.equal(read_mask(path, NUMBERS).long(), torch.from_numpy(numbers))


def test_grey_with_transparency_of_16_bits_is_refused(tmp_path: Path) -> None:
    path = png(tmp_path / "image.png", np.zeros((3, 4, 2)), 16, 4)
    with pytest.raises(ValueError, match=r"image.png .* stored as LA;16B, of which 8 bits would be kept"):
        read_image(path, 4)


def test_a_value_a_pixel_more_than_is_asked_for_is_not_dropped(tmp_path: Path) -> None:
    path = tiff_of_16_bits(tmp_path / "image.tif", np.zeros((3, 4, 4)), extra=0)
    for channels in (3, 4):
        with pytest.raises(ValueError, match="has 4 values a pixel, of which 3 would be read"):
            read_image(path, channels)


def test_images_of_other_bits_than_the_others_are_refused(tmp_path: Path) -> None:
    root = folder(tmp_path, mode="L")
    Image.fromarray(np.full((HEIGHT, WIDTH), 300, dtype=np.uint16)).save(root / "images" / "im3.png")
    with pytest.raises(ValueError, match=r"(im3.png has 16 bits a value, but .* has 8|has 8 bits .* im3.png has 16)"):
        ImagesAndMasks(root, classes=3, channels=1).setup()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_images_of_real_numbers_are_of_finite_ones(value: float, tmp_path: Path) -> None:
    array = np.linspace(-1e6, 1e6, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
    path = tmp_path / "image.tif"
    Image.fromarray(array).save(path)
    assert torch.equal(read_image(path, 1)[0], torch.from_numpy(array))
    array[3, 5] = value
    Image.fromarray(array).save(path)
    with pytest.raises(ValueError, match=rf"image.tif holds {value} \(first at row 3, column 5\); .* finite numbers"):
        read_image(path, 1)


# Orientation.


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_an_image_is_upright_as_viewers_show_it(orientation: int, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"image{suffix}"
    stored = Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 16, 3), dtype=np.uint8).repeat(8, axis=0))
    exif = stored.getexif()
    exif[0x0112] = orientation
    stored.save(path, exif=exif)
    with Image.open(path) as image:
        shown = np.array(ImageOps.exif_transpose(image))
    assert np.array_equal(read_image(path, 3).permute(1, 2, 0), shown)
    header = read_header(path)
    assert (header.height, header.width) == shown.shape[:2]


def photograph(path: Path, size: tuple[int, int], orientation: int) -> None:
    image = Image.fromarray(np.random.default_rng(len(path.name)).integers(0, 255, (*size, 3), dtype=np.uint8))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)


def test_a_turned_photograph_fits_an_upright_mask_and_one_as_it_is_shown(tmp_path: Path) -> None:
    root = folder(tmp_path)
    photograph(root / "images" / "im2.png", (WIDTH, HEIGHT), 6)
    data = ImagesAndMasks(root, classes=3)
    data.setup()
    mask = np.zeros((WIDTH, HEIGHT), dtype=np.uint8)
    for orientation, fits in ((6, True), (1, False)):
        image = Image.fromarray(mask)
        exif = image.getexif()
        exif[0x0112] = orientation
        image.save(root / "masks" / "im2.png", exif=exif)
        data = ImagesAndMasks(root, classes=3)
        if fits:
            data.setup()
        else:
            with pytest.raises(ValueError, match="EXIF orientation 6 turns the image upright and not the other; save"):
                data.setup()


# What is no image.


def fifo(path: Path) -> None:
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.symlink_to(path.with_name("other"))
    path.with_name("other").symlink_to(path)


def huge(path: Path) -> None:
    array = np.zeros((1, 1), dtype=np.uint8)
    png(path, array, 8, 0)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 30_000, 30_000)
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    path.write_bytes(content)


def postscript(path: Path) -> None:
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")


def animated(path: Path) -> None:
    frames = [Image.new("L", (4, 4), number) for number in (0, 99)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


NO_IMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (fifo, "is a folder, a device or a pipe, and no file"),
    "folder": (Path.mkdir, "is a folder, a device or a pipe, and no file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is a folder, a device or a pipe, and no file"),
    "loop": (loop, "cannot be read as an image: Too many levels of symbolic links"),
    "nowhere": (lambda path: path.symlink_to("nowhere"), "cannot be read as an image: No such file"),
    "nothing": (Path.touch, "is empty (0 bytes)"),
    "huge": (huge, "exceeds limit of 178956970 pixels"),
    "postscript": (postscript, "it holds PostScript; save it as PNG"),
    "pointer": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "page": (lambda path: path.write_text("<!DOCTYPE html><html>404</html>"), "it holds a page of the web"),
    "heic": (lambda path: path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(99)), "of the HEIF or MP4 family"),
    "animation": (animated, "holds 2 images; accepted is one a file, so save each"),
}


@pytest.mark.parametrize("kind", NO_IMAGES)
@pytest.mark.timeout(20)
def test_what_is_no_image_is_said_at_once_and_not_waited_for(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    make, message = NO_IMAGES[kind]
    make(path)
    for read in (lambda: read_image(path, 1), lambda: read_header(path), lambda: read_mask(path, NUMBERS)):
        with pytest.raises(ValueError, match=re.escape(message)) as raised:
            read()
        assert str(raised.value).startswith(str(path))
        assert "\n" not in str(raised.value)


def test_a_file_is_read_by_its_content_whatever_its_suffix(tmp_path: Path) -> None:
    path = write_image(tmp_path / "image.jpg")
    renamed = path.rename(tmp_path / "image.png")
    assert read_image(renamed, 3).shape == (3, HEIGHT, WIDTH)
    write_mask(tmp_path / "mask.png", (0, 1))
    with Image.open(tmp_path / "mask.png") as image:
        image.save(tmp_path / "mask.png", format="JPEG")
    with pytest.raises(ValueError, match="was compressed as JPEG does, which changes the numbers of classes"):
        read_mask(tmp_path / "mask.png", NUMBERS)
    Image.new("L", (16, 16)).save(tmp_path / "mask.tif", compression="jpeg")
    with pytest.raises(ValueError, match="was compressed as JPEG does"):
        read_mask(tmp_path / "mask.tif", NUMBERS)


def test_the_small_views_that_cameras_and_maps_keep_are_no_further_images(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (32, 32), "red"), Image.new("RGB", (16, 16), "red")]
    pages[0].save(tmp_path / "camera.mpo", save_all=True, append_images=pages[1:])
    assert read_image((tmp_path / "camera.mpo").rename(tmp_path / "camera.jpg"), 3).shape == (3, 32, 32)
    content = io.BytesIO()
    from PIL.TiffImagePlugin import AppendingTiffWriter

    with AppendingTiffWriter(content, new=True) as writer:
        pages[0].save(writer, format="TIFF")
        writer.newFrame()
        pages[1].save(writer, format="TIFF", tiffinfo={254: 1})
    (tmp_path / "map.tif").write_bytes(content.getvalue())
    assert read_image(tmp_path / "map.tif", 3).shape == (3, 32, 32)


@pytest.mark.parametrize(
    ("mode", "channels", "cure"),
    [
        ("RGBA", 3, "channels: 4 is for such images"),
        ("LA", 1, "save it without transparency"),
        ("RGB", 1, "channels: 3 is for such images"),
        ("P", 1, "channels: 3 is for such images"),
        ("L", 4, "channels: 1 and 3 are for such images"),
        ("I;16", 3, "channels: 1 is for such images"),
        ("CMYK", 3, "save it in RGB"),
    ],
)
def test_other_channels_are_refused_with_the_cure(mode: str, channels: int, cure: str, tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    Image.new(mode, (8, 8)).save(path if mode not in ("LA", "P") else path.with_suffix(".png"))
    path = path if path.exists() else path.with_suffix(".png")
    with pytest.raises(ValueError, match=rf"has the mode {mode} .*{cure}"):
        read_image(path, channels)


def test_palettes_that_name_other_colours_are_warned_of(tmp_path: Path) -> None:
    root = folder(tmp_path, numbers=(0, 1))
    for number, colours in ((0, [0, 0, 0, 255, 0, 0]), (1, [0, 0, 0, 255, 0, 0]), (2, [255, 0, 0, 0, 0, 0])):
        mask = Image.fromarray(np.eye(HEIGHT, WIDTH, dtype=np.uint8)).convert("P")
        mask.putpalette(colours)
        mask.save(root / "masks" / f"im{number}.png")
        if number == 1:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                ImagesAndMasks(root, classes=2).setup()
    with pytest.warns(UserWarning, match=r"the number 0 is the colour .* in the palette of .*; the numbers are what"):
        ImagesAndMasks(root, classes=2).setup()
