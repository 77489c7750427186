"""Reading tables: CSV, and one kind of pickle, through an unpickler that makes nothing but numbers."""

from __future__ import annotations

import csv
import gzip
import os
import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np

VARIABLE = "AUTOML_PLUGINS_DATA"


def data_folder(folder: str | Path | None = None) -> Path | None:
    """The folder with `tables/`: the one given, else the one that AUTOML_PLUGINS_DATA names; None where neither is.

    Raises:
        FileNotFoundError: it does not exist.
    """
    named = folder or os.environ.get(VARIABLE)
    if not named:
        return None
    path = Path(named)
    if not (path / "tables").is_dir():
        raise FileNotFoundError(f"{path} holds no folder tables/ with the benchmark tables")
    return path


def read_csv(path: Path) -> dict[str, list[str]]:
    """The columns of a gzipped CSV file with a header.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is broken, or its rows are of different lengths.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no table {path}")
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        return dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))
    except (OSError, EOFError, zlib.error, csv.Error, ValueError) as error:
        raise ValueError(f"the table {path} is broken ({error}); fetch it anew") from error


def numbers(column: list[str]) -> np.ndarray:
    """A column as float64; what was not computed (`-1e8`, nothing, or what is not finite) is NaN."""
    values = np.array([float(value) if value else np.nan for value in column])
    values[(values == -1e8) | ~np.isfinite(values)] = np.nan
    return values


class NumbersUnpickler(pickle.Unpickler):
    """Reads a pickle of plain containers, numbers and NumPy scalars; refuses everything else.

    Neither NumPy's own functions nor any other are called: the two names that the pickle of a NumPy
    scalar holds stand for functions of this module.
    """

    def find_class(self, module_name: str, global_name: str) -> Any:
        """The object that a name in the pickle stands for.

        Raises:
            pickle.UnpicklingError: it is neither of the two names.
        """
        if (module_name, global_name) == ("numpy", "dtype"):
            return _number_type
        if module_name in ("numpy.core.multiarray", "numpy._core.multiarray") and global_name == "scalar":
            return _number
        raise pickle.UnpicklingError(
            f"this file is to hold numbers, but asks for {module_name}.{global_name}; it is not read"
        )


def _number_type(code: str, align: bool = False, copy: bool = False) -> np.dtype[Any]:
    if code not in ("f4", "f8", "i4", "i8"):
        raise pickle.UnpicklingError(f"this file is to hold numbers, but has the type {code!r}; it is not read")
    return np.dtype(code)


def _number(kind: np.dtype[Any], data: bytes) -> float:
    return float(np.frombuffer(data, kind)[0])
