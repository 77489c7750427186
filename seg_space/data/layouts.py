"""Layouts of folders that are told apart by what lies in them, for those who took the wrong data set's name."""

from __future__ import annotations

from pathlib import Path

_LAYOUTS: tuple[tuple[str, str, str], ...] = (
    # What tells it, the class, and the name of its data set.
    ("JPEGImages", "VOCData", "voc"),
    ("leftImg8bit", "CityscapesData", "cityscapes"),
    ("annotations/training", "ADE20KData", "ade20k"),
    ("trainannot", "CamVidData", "camvid"),
    ("images", "ImagesAndMasks", "images-and-masks"),
    ("train/images", "ImagesAndMasks", "images-and-masks"),
)


def layout_of(path: Path) -> str | None:
    """The class of the datamodule whose layout a folder has; None: it has none that is known."""
    return next((owner for sign, owner, _ in _LAYOUTS if (path / sign).is_dir()), None)


def layout_hint(path: Path, asked: str) -> str:
    """A sentence that names the data set whose layout a folder has; nothing where it is the one that was asked for.

    Args:
        path: the folder of the data set.
        asked: the name of the class that could not read it.
    """
    for sign, owner, name in _LAYOUTS:
        if (path / sign).is_dir():
            return "" if owner == asked else f"; {path} looks like the layout of {name}, so take data: {name}"
    return ""
