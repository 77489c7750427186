"""Tiny data sets on disk, in the layouts that users have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 12, 16


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH), mode: str = "RGB") -> Path:
    """Noise, as an image file of the suffix's format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = {"RGB": (3,), "RGBA": (4,), "CMYK": (4,), "L": ()}[mode]
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, *channels), dtype=np.uint8)
    Image.fromarray(pixels, mode).save(path) if mode == "CMYK" else Image.fromarray(pixels).save(path)
    return path


def write_mask(
    path: Path, numbers: Iterable[int], seed: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH), palette: bool = False
) -> Path:
    """A mask that holds each of the numbers, at random places."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.resize(np.array(list(numbers)), size)
    array = np.random.default_rng(seed).permuted(array)
    image = Image.fromarray(array.astype(np.uint8 if array.max() < 256 else np.uint16))
    if palette:
        image = image.convert("P")
        image.putdata(array.flatten().tolist())
    image.save(path)
    return path


def folder(
    root: Path,
    count: int = 10,
    numbers: Sequence[int] = (0, 1, 2),
    image_suffix: str = ".png",
    mask_suffix: str = ".png",
    mode: str = "RGB",
    seed: int = 0,
) -> Path:
    """Images and masks, without a split."""
    for index in range(count):
        write_image(root / "images" / f"im{index}{image_suffix}", seed + index, mode=mode)
        write_mask(root / "masks" / f"im{index}{mask_suffix}", numbers, index)
    return root


OFFSETS = {"train": 0, "val": 100, "test": 200, "training": 0, "validation": 100}
"""Added to the seeds of a split's files, so that no two splits share an image."""


def camvid(root: Path, counts: Sequence[int] = (5, 3, 4), numbers: Sequence[int] = (0, 1, 2, 11)) -> Path:
    for split, count in zip(("train", "val", "test"), counts, strict=True):
        names = [f"{split}{index}" for index in range(count)]
        for index, name in enumerate(names):
            write_image(root / split / f"{name}.png", index + OFFSETS[split])
            write_mask(root / f"{split}annot" / f"{name}.png", numbers, index)
        # As in SegNet's lists.
        lines = [f"/SegNet/CamVid/{split}/{name}.png /SegNet/CamVid/{split}annot/{name}.png" for name in names]
        (root / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return root


def voc(root: Path) -> Path:
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, count in (("train", 6), ("val", 3)):
        names = [f"2007_{split}{index}" for index in range(count)]
        for index, name in enumerate(names):
            size = (HEIGHT + index, WIDTH)
            write_image(root / "JPEGImages" / f"{name}.jpg", index + OFFSETS[split], size)
            write_mask(root / "SegmentationClass" / f"{name}.png", (0, 15, 20, 255), index, size, palette=True)
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n")
    return root


def cityscapes(root: Path) -> Path:
    for split, cities in (("train", {"aachen": 4, "bochum": 3}), ("val", {"lindau": 2})):
        for city, count in cities.items():
            for index in range(count):
                name = f"{city}_{index:06}_000019"
                seed = index + OFFSETS[split] + 10 * ord(city[0])
                write_image(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", seed)
                labels = root / "gtFine" / split / city
                write_mask(labels / f"{name}_gtFine_labelIds.png", (0, 7, 11, 29, 33), index)
                # What lies beside it in the download.
                write_image(labels / f"{name}_gtFine_color.png", index)
    return root


def ade20k(root: Path) -> Path:
    for split, count in (("training", 6), ("validation", 2)):
        for index in range(count):
            name = f"ADE_{split[:5]}_{index:08}"
            write_image(root / "images" / split / f"{name}.jpg", index + OFFSETS[split])
            write_mask(root / "annotations" / split / f"{name}.png", (0, 1, 150), index)
    return root
