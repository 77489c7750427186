"""Arrays from npz files: looked at before they are read, and read without unpickling anything."""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

Arrays = dict[str, npt.NDArray[np.generic]]

_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)
_KINDS = {
    "O": "Python objects",
    "c": "complex numbers",
    "U": "text",
    "S": "text",
    "V": "records",
    "M": "dates",
    "m": "durations",
}


def memory_limit() -> int:
    """The bytes that data may take: half of what the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def check_size(where: str, what: str, size: int) -> None:
    """Refuse what would not fit into memory, before any of it is taken.

    Args:
        where: the file, for the message.
        what: the array.
        size: its bytes.

    Raises:
        ValueError: they are more than half of the machine's memory.
    """
    if size > memory_limit():
        raise ValueError(
            f"{where}: {what} would take {size / 2**30:,.1f} GiB, more than half of this machine's memory "
            f"({2 * memory_limit() / 2**30:,.1f} GiB); is its shape right?"
        )


def array_names(path: Path) -> list[str]:
    """The names of the arrays in an npz file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no npz file.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if not path.is_file():  # a folder, or a pipe that would be waited for
        raise ValueError(f"{path} is not a file; give the path of the npz file itself")
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except zipfile.BadZipFile:
        raise ValueError(f"{path} is not a whole npz file; write it anew with numpy.savez") from None


def check_arrays(path: Path, names: Sequence[str]) -> None:
    """Refuse an npz file with arrays that cannot be read, by their headers.

    Args:
        path: the file.
        names: of the arrays; others are not looked at.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no npz file, or an array is missing, holds no numbers, or is larger than the file says or
            memory has.
    """
    missing = sorted(set(names) - set(array_names(path)))
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(missing)}; it has {', '.join(sorted(array_names(path))) or 'nothing'}"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = [_checked_size(path, name, archive) for name in names]
    except _BROKEN as error:
        raise ValueError(f"{path} is broken ({error}); write it anew with numpy.savez") from error
    check_size(str(path), f"{', '.join(names)} together", sum(sizes))


def read_arrays(path: Path, names: Sequence[str]) -> Arrays:
    """Arrays of numbers from an npz file.

    Args:
        path: the file.
        names: of the arrays; others are not read.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no npz file, or an array is missing, holds no numbers, is broken, or is larger than the file
            says or memory has.
    """
    check_arrays(path, names)
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except _BROKEN as error:
        raise ValueError(f"{path} is broken ({error}); write it anew with numpy.savez") from error


def _checked_size(path: Path, name: str, archive: zipfile.ZipFile) -> int:
    """The bytes of an array, as its header has them."""
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as file:
        try:
            shape, kind = _header(file)
        except ValueError as error:
            raise ValueError(f"{path}: {name} is not an array as numpy writes them ({error})") from error
        begin = file.tell()
    if kind.hasobject or kind.kind in _KINDS:
        found = _KINDS.get(kind.kind, "Python objects")
        raise ValueError(f"{path}: {name} holds {found}, which are not read; save it as numbers")
    size = math.prod(shape) * kind.itemsize
    if begin + size != member.file_size:
        raise ValueError(
            f"{path}: {name} says that it has the shape {list(shape)}, {size} bytes, but "
            f"{member.file_size - begin} follow"
        )
    return size


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, kind = read(file)
    return shape, kind


def integers(where: str, name: str, array: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    """A list of whole numbers, of whatever type they were saved as, `[count]`.

    Args:
        where: the file, for the message.
        name: of the array.
        array: its content.

    Raises:
        ValueError: it is no list, or a number is not whole.
    """
    values = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if values.ndim != 1:
        raise ValueError(f"{where}: {name} is a list of whole numbers; got the shape {list(array.shape)}")
    if values.dtype.kind == "b":
        raise ValueError(f"{where}: {name} holds whole numbers; got yes and no (bool)")
    if values.dtype.kind == "f":
        wide = values.astype(np.float64)
        wrong = ~((wide == np.floor(wide)) & (np.abs(wide) < 2**53))  # said so that nan is wrong
    else:
        wrong = values.astype(np.uint64) > np.iinfo(np.int64).max if values.dtype.kind == "u" else np.zeros(1, bool)
    if wrong.any():
        place = int(np.flatnonzero(wrong)[0])
        raise ValueError(f"{where}: {name} holds whole numbers; got {values[place]} at place {place}")
    return values.astype(np.int64)
