"""Digests of samples and files: equal for equal content, in every process and on every machine."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_TENSOR_BYTES = 1 << 24
"""Of a larger tensor or file only pieces are read, this much in all; 16 MiB."""
_ELEMENTS = 10_000
"""Of a longer list only the first ones are read."""
_PIECES = 64
_DEPTH = 12
_PARTS = 1_000_000
"""Of what consists of more objects, however nested, the rest is left out."""
_RELATIVE = 1e-6
"""Means and deviations that data are normalised with differ by rounding between machines and numbers of threads."""


class Digest:
    """A digest of values of any kind, taken one after the other.

    Integers, texts, shapes and types go into a hash. Real numbers go into a weighted sum, so that what differs by
    rounding only, because it was computed with another number of threads, counts as equal.
    """

    def __init__(self) -> None:
        self._exact = hashlib.blake2b(digest_size=12)
        self._pieces = 0
        self._left = _PARTS
        self._sum = self._magnitude = 0.0

    def add(self, value: Any) -> None:
        """Take one more value: tensors, arrays, images, graphs, containers and plain objects of them."""
        self._add(value, 0)

    @property
    def state(self) -> list[Any]:
        """The digest so far, as JSON; see `same`."""
        return [self._exact.hexdigest(), self._sum, self._magnitude]

    @property
    def rounded(self) -> str:
        """The digest so far as one text, real numbers to six places."""
        return f"{self._exact.hexdigest()} {self._sum:.6g} {self._magnitude:.6g}"

    def _add(self, value: Any, depth: int) -> None:
        self._note(type(value).__name__)
        self._left -= 1
        if depth > _DEPTH or self._left < 0:
            return
        if isinstance(value, Tensor):
            self._add_tensor(value)
        elif isinstance(value, np.ndarray | np.generic):
            self._add_array(np.asarray(value), depth)
        elif isinstance(value, float):
            self._add_reals(np.array([value]))
        elif value is None or isinstance(value, bool | int | str | bytes):
            self._note(repr(value))
        else:
            for name, part in _parts(value):
                self._note(name)
                self._add(part, depth + 1)

    def _note(self, text: str) -> None:
        self._exact.update(text.encode("utf-8", "replace") + b"\0")

    def _add_tensor(self, tensor: Tensor) -> None:
        tensor = tensor.detach().as_subclass(Tensor)
        self._note(str(tensor.dtype))
        if tensor.layout is not torch.strided:
            tensor = tensor.to_dense() if tensor.numel() * tensor.element_size() <= _TENSOR_BYTES else tensor.values()
        if tensor.is_complex():
            tensor = torch.view_as_real(tensor.resolve_conj())
        if tensor.dtype is torch.bfloat16:
            tensor = tensor.float()
        self._add_array(tensor.resolve_neg().cpu().numpy(), 0)

    def _add_array(self, array: np.ndarray[Any, Any], depth: int) -> None:
        self._note(f"{array.dtype} {array.shape}")
        if array.dtype.hasobject:
            for part in array.reshape(-1)[:_ELEMENTS].tolist():
                self._add(part, depth + 1)
            return
        flat = _bounded(array)
        if flat.dtype.kind == "f":
            self._add_reals(flat)
        else:
            self._exact.update(flat.view(np.uint8).data)

    def _add_reals(self, values: np.ndarray[Any, Any]) -> None:
        finite = np.isfinite(values)
        if not finite.all():
            self._note("nan")
            self._exact.update(np.packbits(finite).data)
            values = np.where(finite, values, 0)
        for start in range(0, len(values), len(_WEIGHTS)):
            piece = values[start : start + len(_WEIGHTS)].astype(np.float64)
            # By position, so that values which change their places are noticed.
            weight = _WEIGHTS[self._pieces % len(_WEIGHTS)]
            self._sum += float(weight * (piece @ _WEIGHTS[: len(piece)]))
            self._magnitude += float(np.abs(piece).sum())
            self._pieces += 1


_WEIGHTS = np.random.default_rng(0).uniform(0.5, 1.5, 1 << 14)


def same(before: list[Any], now: list[Any]) -> bool:
    """Two states of digests are of the same content."""
    return before[0] == now[0] and all(
        abs(old - new) <= _RELATIVE * max(before[2], now[2]) for old, new in zip(before[1:], now[1:], strict=True)
    )


def _bounded(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The values in one row; of a large array, pieces of it that are spread evenly."""
    if array.nbytes <= _TENSOR_BYTES:
        return np.ascontiguousarray(array).reshape(-1)
    length = _TENSOR_BYTES // _PIECES // array.itemsize
    if not array.flags.c_contiguous:
        # Without a copy of the whole: an even share of the first dimension.
        step = -(-array.nbytes // _TENSOR_BYTES)
        return np.ascontiguousarray(array[::step]).reshape(-1)[: length * _PIECES]
    flat = array.reshape(-1)
    starts = np.linspace(0, len(flat) - length, _PIECES).astype(np.int64)
    return np.concatenate([flat[start : start + length] for start in starts])


def _parts(value: Any) -> Iterable[tuple[str, Any]]:
    """The named parts of a container or an object."""
    if isinstance(value, Mapping):
        return sorted(((str(key), part) for key, part in value.items()), key=lambda part: part[0])
    if isinstance(value, os.PathLike):
        return [("path", Path(value).name)]
    if isinstance(value, set | frozenset):
        return [("element", element) for element in sorted(map(repr, value))]
    if isinstance(value, list | tuple | range):
        return [("length", len(value)), *((str(index), part) for index, part in enumerate(value[:_ELEMENTS]))]
    if hasattr(value, "__array_interface__"):  # images of Pillow
        return [("array", np.asarray(value))]
    if hasattr(value, "to_numpy"):  # tables of pandas and polars
        columns = getattr(value, "columns", None)
        return (
            [("", value.to_numpy())] if columns is None else [(str(name), value[name].to_numpy()) for name in columns]
        )
    to_dict = getattr(value, "to_dict", None)  # graphs of PyG
    if callable(to_dict) and not isinstance(value, type):
        return _parts(to_dict())
    if dataclasses.is_dataclass(value):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    return _parts(vars(value)) if hasattr(value, "__dict__") and not callable(value) else []


def file_digest(path: Path) -> str:
    """A hash of a file's content and size, whatever its name, place and times; of a large file, of pieces."""
    hashed = hashlib.blake2b(digest_size=12)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        hashed.update(str(size).encode())
        if size <= _TENSOR_BYTES:
            hashed.update(file.read())
        else:
            length = _TENSOR_BYTES // _PIECES
            for start in np.linspace(0, size - length, _PIECES).astype(np.int64):
                file.seek(int(start))
                hashed.update(file.read(length))
    return hashed.hexdigest()
