"""Images and masks in files: finding and pairing them."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from automl_plugins.system.nearest import nearest

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
MASK_SUFFIXES = (".png", ".tif", ".tiff")
"""No JPEG: its compression changes the numbers of classes."""

_OF_SYSTEMS = ("thumbs.db", "desktop.ini")
"""Files that Windows leaves in folders of images."""


class ImageFiles(NamedTuple):
    """An image's file, and that of its mask, or those of its labels, if it has any."""

    image: Path
    masks: tuple[Path, ...] = ()


def some_of(values: Sequence[object], most: int = 12) -> str:
    """The first of some values, in words, and how many more there are."""
    more = f", and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(map(str, values[:most])) + more


def folder_of(path: Path, what: str) -> Path:
    """The folder, if it is there.

    Raises:
        FileNotFoundError: it is not; the message names what is beside it.
    """
    if not path.is_dir():
        near = sorted(neighbour.name for neighbour in path.parent.iterdir()) if path.parent.is_dir() else []
        there = f"; {path.parent} holds {some_of(near)}" if near else ""
        raise FileNotFoundError(f"{path} is no folder, but {what} belong there{there}")
    return path


def listing(folder: Path, what: str, suffixes: Sequence[str]) -> dict[str, Path]:
    """The files of a folder by their names without the suffix, sorted; hidden ones are passed over.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is empty, or holds other files or two of one name.
    """
    by_name: dict[str, Path] = {}
    for path in sorted(folder_of(folder, what).iterdir()):
        if is_hidden(path):
            continue
        _check_suffix(path, what, suffixes)
        # macOS writes letters with accents as two characters, others as one.
        name = unicodedata.normalize("NFC", path.stem)
        if name in by_name:
            raise ValueError(f"{by_name[name]} and {path.name} have one name; only one of them can be meant")
        by_name[name] = path
    if not by_name:
        raise ValueError(f"{folder} is empty; {what} ({', '.join(suffixes)}) belong there")
    return by_name


def images_below(folder: Path) -> list[Path]:
    """The images in a folder and in folders inside it, sorted; hidden ones are passed over.

    Raises:
        ValueError: it holds other files.
    """
    images: list[Path] = []
    for path in sorted(folder.iterdir()):
        if is_hidden(path):
            continue
        if path.is_dir():
            images += images_below(path)
        else:
            _check_suffix(path, "images", IMAGE_SUFFIXES)
            images.append(path)
    return images


def is_hidden(path: Path) -> bool:
    """True of files that systems leave beside images."""
    return path.name.startswith(".") or path.name.lower() in _OF_SYSTEMS


def _check_suffix(path: Path, what: str, suffixes: Sequence[str]) -> None:
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"{path} is none of the {what} that are accepted ({', '.join(suffixes)})")


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
            f"{next(iter(masks.values())).parent}{_nearest(name + suffix, masks)}{_other_suffix(images, masks)}"
        )
    left = [name for name in masks if name not in wanted]
    if left:
        raise ValueError(
            f"{masks[left[0]]} has no image{_and_others(left)}: there is none of that name"
            f"{f' without {suffix!r}' if suffix else ''} in {next(iter(images.values())).parent}"
        )
    return [ImageFiles(path, (masks[f"{name}{suffix}"],)) for name, path in images.items()]


def _other_suffix(images: Mapping[str, Path], masks: Mapping[str, Path]) -> str:
    """A hint, where all masks have the names of images with one and the same suffix."""
    name = next(iter(images))
    for mask in masks:
        suffix = mask.removeprefix(name)
        if suffix and suffix != mask and all(f"{image}{suffix}" in masks for image in images):
            return f"; all masks have the suffix {suffix!r}, so say mask_suffix: {suffix}"
    return ""


def listed(file: Path) -> list[str] | None:
    """The names in a list of files, one a line, without folders and suffixes; None: there is no such list.

    Raises:
        ValueError: it is empty, is no text, or names something twice.
    """
    if not file.exists():
        return None
    if not file.is_file():
        raise ValueError(f"{file} is no regular file; it is a list of names, one a line")
    try:
        # With a byte-order mark, as Windows writes it, or without.
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is no text in UTF-8 ({error.reason}); save it in this encoding") from error
    names = [_name(line.strip()) for line in text.splitlines() if line.strip()]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if not names or twice:
        raise ValueError(f"{file} names {f'{twice[0]!r} twice' if twice else 'nothing'}; it is a list, one name a line")
    return names


def _name(line: str) -> str:
    """The name in a line of a list: the last part of the first path, without the suffix of an image."""
    words = line.split()
    # Beside an image there may be its mask; else blanks are part of the name.
    if len(words) > 1 and _is_image(words[0]):
        line = words[0]
    last = Path(line.replace("\\", "/")).name
    return unicodedata.normalize("NFC", Path(last).stem if _is_image(last) else last)


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def _nearest(name: str, files: Iterable[str]) -> str:
    match = nearest(name, files)
    return "" if match is None else f"; the nearest name there is {match}"


def _and_others(names: Sequence[str]) -> str:
    return f" (nor have {len(names) - 1} others)" if len(names) > 1 else ""
