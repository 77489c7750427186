"""The raw files of Planetoid, which are pickles: looked at before PyG unpickles them."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
_SCIPY = ("scipy.sparse.csr", "scipy.sparse._csr", "scipy.sparse")
_ALLOWED = {
    *((module, name) for module in _NUMPY for name in ("_reconstruct", "scalar")),
    *((module, "csr_matrix") for module in _SCIPY),
    *((module, name) for module in ("builtins", "__builtin__") for name in ("list", "object", "dict", "int", "bytes")),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("collections", "defaultdict"),
    ("_codecs", "encode"),
    ("copy_reg", "_reconstructor"),
    ("copyreg", "_reconstructor"),
}


class _Arrays(pickle.Unpickler):
    """Makes containers, arrays and sparse matrices, and nothing else."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")
        return super().find_class(module_name, global_name)


def check_pickles(folder: Path) -> None:
    """Refuse raw files that hold anything but arrays: unpickling those would run code of whoever wrote them.

    Args:
        folder: of the raw files.

    Raises:
        ValueError: a file is broken, or asks for more than arrays.
    """
    for path in sorted(folder.glob("ind.*")):
        if path.suffix == ".index":  # plain text
            continue
        try:
            with path.open("rb") as file, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of NumPy, about how old the files are
                _Arrays(file, encoding="latin1").load()
        except Exception as error:  # a broken pickle may raise anything
            told = f"{error}".replace("\n", " ")
            raise ValueError(
                f"{path} is broken, or holds more than arrays, and is not read ({told}); put a whole one there, or "
                "remove the folder to have it downloaded anew"
            ) from error
