"""Data that nobody should train on: graphs in npz files, tables of molecules, folders of images."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from inputs import STUDY, HostileInput, Prepare, nothing, right, write_yaml
from PIL import Image

Arrays = dict[str, npt.NDArray[Any]]

_SHORT = {key: value for key, value in STUDY.items() if key not in ("space", "data")}


STUDY_OF_DATA = ("study", "--config", "data.yaml", "--folder", "new")


def _study(space: dict[str, Any], data: dict[str, Any], make: Prepare) -> Prepare:
    """The config of a study of the data, and what else makes its files."""

    def prepare(folder: Path) -> None:
        right(folder)
        write_yaml(folder / "data.yaml", {**_SHORT, "space": space, "data": data})
        make(folder)

    return prepare


_AGNN = {"class_path": "agnn", "init_args": {"layers": 1, "hidden_channels": [4], "heads": [1]}}
_PIXELS = {"class_path": "auto-deeplab", "init_args": {"layers": 2, "filters": 2, "blocks": 1}}


def data_files() -> Iterator[HostileInput]:
    """Studies on data that must be refused."""
    yield from _graphs()
    yield from _tables()
    yield from _images()


# Graphs.


def graph() -> Arrays:
    """A ring of twelve nodes with four features, two classes and a split."""
    count = 12
    nodes = np.arange(count)
    return {
        "adj_indptr": np.arange(0, 2 * count + 1, 2),
        "adj_indices": np.stack([(nodes - 1) % count, (nodes + 1) % count], axis=1).reshape(-1),
        "x_indptr": np.arange(count + 1),
        "x_indices": nodes % 4,
        "x_data": np.ones(count, dtype=np.float32),
        "x_shape": np.array([count, 4]),
        "y": nodes % 2,
        "train_idx": nodes[:6],
        "val_idx": nodes[6:9],
        "test_idx": nodes[9:],
    }


def _put(name: str, index: Any, value: Any, dtype: Any = None) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[name] = arrays[name].astype(dtype or arrays[name].dtype)
        arrays[name][index] = value

    return change


def _set(name: str, value: Any) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.update({name: np.asarray(value)})


GRAPHS: dict[str, Callable[[Arrays], Any]] = {
    "nan in a feature": _put("x_data", 3, np.nan),
    "an infinite feature": _put("x_data", 3, np.inf),
    "a feature beyond float32": _put("x_data", 3, 1e300, np.float64),
    "nan in a class": _put("y", 3, np.nan, np.float64),
    "a class of one half": _put("y", 3, 0.5, np.float64),
    "a negative class": _put("y", 3, -1),
    "a class far beyond the rest": _put("y", 3, 10**6),
    "one class": _set("y", np.zeros(12, dtype=np.int64)),
    "classes in two columns": _set("y", np.zeros((12, 2), dtype=np.int64)),
    "classes in words": _set("y", np.array(["a", "b"] * 6)),
    "complex features": _set("x_data", np.ones(12, dtype=np.complex64)),
    "features in words": _set("x_data", np.array(["1"] * 12)),
    "a neighbour that is not there": _put("adj_indices", 3, 12),
    "a neighbour that wraps": _put("adj_indices", 3, -1),
    "a fraction of a neighbour": _put("adj_indices", 3, 1.5, np.float64),
    "rows that go backwards": _put("adj_indptr", 3, 99),
    "rows that begin late": _put("adj_indptr", 0, 1),
    "rows that end early": _put("adj_indptr", -1, 20),
    "a column that is not there": _put("x_indices", 3, 4),
    "a column that wraps": _put("x_indices", 3, -1),
    "a shape that is too small": _set("x_shape", [12, 2]),
    "a shape of a trillion": _set("x_shape", [12, 10**12]),
    "a shape that is negative": _set("x_shape", [12, -4]),
    "a shape of three": _set("x_shape", [12, 4, 1]),
    "no features": _set("x_shape", [12, 0]),
    "no node": lambda arrays: arrays.update({name: array[:0] for name, array in arrays.items()}),
    "a node in two parts": _put("val_idx", 0, 0),
    "a node twice": _put("train_idx", 1, 0),
    "a node of a part that is not there": _put("test_idx", 0, 12),
    "a node of a part that wraps": _put("test_idx", 0, -1),
    "a part that is empty": _set("val_idx", np.zeros(0, dtype=np.int64)),
    "a training part that is empty": _set("train_idx", np.zeros(0, dtype=np.int64)),
    "a part in fractions": _set("val_idx", np.array([6.5, 7.5])),
    "two parts of three": lambda arrays: arrays.pop("val_idx"),
    "no classes": lambda arrays: arrays.pop("y"),
    "arrays without dimensions": _set("adj_indices", 3),
    "dates": _set("x_data", np.array(["2020-01-01"] * 12, dtype="datetime64[D]")),
    "records": _set("y", np.zeros(12, dtype=[("a", np.int64), ("b", np.int64)])),
}


def npz(arrays: Arrays) -> bytes:
    """Arrays as the bytes of an npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _bomb() -> bytes:
    """An array of four terabytes, of which the file says so and holds nothing."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (500000000000,), }"
    header += b" " * (128 - 10 - len(header) - 1) + b"\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in graph():
            archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    return buffer.getvalue()


NO_NPZ: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "text": lambda: b"0 1\n1 2\n",
    "cut off": lambda: npz(graph())[:300],
    "one flipped byte": lambda: _flipped(npz(graph())),
    "an archive of nothing": lambda: b"PK\x05\x06" + bytes(18),
    "an archive of text": lambda: _archive({"x.npy": b"hello", "notes.txt": b"hi"}),
    "four terabytes": _bomb,
}


def _flipped(content: bytes) -> bytes:
    position = content.index(b"NUMPY") + 150
    return content[:position] + bytes([content[position] ^ 255]) + content[position + 1 :]


def _archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def of_graph(make: Prepare) -> Prepare:
    """The files of a study of a graph, of which `make` makes `data.npz`."""
    return _study(_AGNN, {"class_path": "npz-graph", "init_args": {"path": "data.npz"}}, make)


def _graphs() -> Iterator[HostileInput]:
    for kind, change in GRAPHS.items():
        yield _data(f"a graph with {kind}", of_graph(made_graph(change)))
    for kind, make in NO_NPZ.items():
        yield _data(f"an npz that is {kind}", of_graph(written("data.npz", make)))
    for kind, place in PLACES.items():
        yield _data(f"an npz that is {kind}", of_graph(placed("data.npz", place)))


def made_graph(change: Callable[[Arrays], Any]) -> Prepare:
    """Writes `graph` with a change as data.npz."""

    def make(folder: Path) -> None:
        arrays = graph()
        change(arrays)
        (folder / "data.npz").write_bytes(npz(arrays))

    return make


# Tables of molecules.

_SMILES = [f"{'C' * (1 + number % 9)}{end}" for number in range(30) for end in ("O", "N")]


def molecules(
    header: str = "smiles,y", row: Callable[[int, str], str] = lambda number, smiles: f"{smiles},{number / 10}"
) -> str:
    """A table of sixty molecules with a target each."""
    return "\n".join([header, *(row(number, smiles) for number, smiles in enumerate(_SMILES))]) + "\n"


TABLES: dict[str, bytes] = {
    "empty": b"",
    "a header alone": b"smiles,y\n",
    "one molecule": b"smiles,y\nCO,1\n",
    "without the column": molecules("smiles,z").encode(),
    "without the molecules' column": molecules("molecule,y").encode(),
    "a spreadsheet": b"PK\x03\x04\x14\x00\x06\x00" + bytes(500),
    "an old spreadsheet": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500),
    "words for numbers": molecules(row=lambda number, smiles: f"{smiles},{'high' if number == 7 else number}").encode(),
    "nan for a number": molecules(row=lambda number, smiles: f"{smiles},{'inf' if number == 7 else number}").encode(),
    "no targets": molecules(row=lambda number, smiles: f"{smiles},").encode(),
    "one target for all": molecules(row=lambda number, smiles: f"{smiles},1.5").encode(),
    "no molecule that parses": molecules(row=lambda number, smiles: f"?!{smiles},{number}").encode(),
    "a cell too many": molecules(row=lambda number, smiles: f"{smiles},{number},extra,cells").encode(),
    "zeros": bytes(4096),
    "two columns of one name": molecules("smiles,y,y", lambda number, smiles: f"{smiles},{number},{-number}").encode(),
    "a quote that never ends": molecules(row=lambda number, smiles: f'"{smiles},{number}').encode(),
    "bytes that are no text": bytes(range(128, 256)) * 10,
}

BINARY: dict[str, bytes] = {
    "one class": molecules(row=lambda number, smiles: f"{smiles},1").encode(),
    "three classes": molecules(row=lambda number, smiles: f"{smiles},{number % 3}").encode(),
    "halves": molecules(row=lambda number, smiles: f"{smiles},{0.5 if number == 7 else number % 2}").encode(),
    "words": molecules(row=lambda number, smiles: f"{smiles},{'active' if number % 2 else 'inactive'}").encode(),
}


def of_table(make: Prepare, **arguments: Any) -> Prepare:
    """The files of a study of molecules, of which `make` makes `data.csv`."""
    given = {"path": "data.csv", "smiles_column": "smiles", "target_columns": "y", **arguments}
    return _study(_AGNN, {"class_path": "smiles", "init_args": given}, make)


def _tables() -> Iterator[HostileInput]:
    for kind, content in TABLES.items():
        yield _data(f"a table that is {kind}", of_table(written("data.csv", content)))
    for kind, content in BINARY.items():
        yield _data(f"a binary table of {kind}", of_table(written("data.csv", content), target="binary"))
    for kind, part in {"no such part": "fold3", "all in training": "train", "none in training": "test"}.items():
        text = molecules("smiles,y,split", lambda number, smiles, part=part: f"{smiles},{number},{part}")
        yield _data(f"a split of {kind}", of_table(written("data.csv", text.encode()), split_column="split"))
    yield _data("a split without its column", of_table(written("data.csv", molecules().encode()), split_column="split"))
    for kind, place in PLACES.items():
        yield _data(f"a table that is {kind}", of_table(placed("data.csv", place)))


# Images and masks.

_SIDE = 16


def images(folder: Path, count: int = 8) -> None:
    """Images with masks of two classes."""
    generator = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / "data" / name).mkdir(parents=True)
    for number in range(count):
        image = generator.integers(0, 255, (_SIDE, _SIDE, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / "data" / "images" / f"{number}.png")
        _mask(folder, number, generator.integers(0, 2, (_SIDE, _SIDE), dtype=np.uint8))


def _mask(folder: Path, number: int, values: npt.NDArray[Any]) -> None:
    Image.fromarray(values).save(folder / "data" / "masks" / f"{number}.png")


def _every_mask(value: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for number in range(8):
            _mask(folder, number, np.full((_SIDE, _SIDE), value, dtype=np.uint8))

    return change


def _file(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / "data" / name).write_bytes(content) and None


def _removed(*names: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for name in names:
            for path in (folder / "data").glob(name):
                path.unlink()

    return change


def _in_place_of(name: str, place: Prepare) -> Prepare:
    def change(folder: Path) -> None:
        (folder / "data" / name).unlink()
        place(folder / "data" / name)

    return change


IMAGES: dict[str, Callable[[Path], None]] = {
    "masks of 0 and 255": lambda folder: _mask(folder, 3, np.full((_SIDE, _SIDE), 255, dtype=np.uint8)),
    "a class beyond the rest": lambda folder: _mask(folder, 3, np.full((_SIDE, _SIDE), 7, dtype=np.uint8)),
    "masks of one class": _every_mask(0),
    "a mask in colour": lambda folder: _mask(folder, 3, np.zeros((_SIDE, _SIDE, 3), dtype=np.uint8)),
    "a mask of another size": lambda folder: _mask(folder, 3, np.zeros((_SIDE, _SIDE + 1), dtype=np.uint8)),
    "a mask that is missing": _removed("masks/3.png"),
    "an image that is missing": _removed("images/3.png"),
    "no masks": _removed("masks/*"),
    "no files": _removed("masks/*", "images/*"),
    "one image": _removed("masks/[1-7].png", "images/[1-7].png"),
    "an image that is empty": _file("images/3.png", b""),
    "an image that is text": _file("images/3.png", b"no picture"),
    "an image that is cut off": lambda folder: _cut(folder / "data" / "images" / "3.png"),
    "a mask that is cut off": lambda folder: _cut(folder / "data" / "masks" / "3.png"),
    "an image that is a program": _file("images/3.png", b"\x7fELF" + bytes(100)),
    "an image of a pixel": lambda folder: Image.new("RGB", (1, 1)).save(folder / "data" / "images" / "3.png"),
    "an image with transparency": lambda folder: Image.new("RGBA", (_SIDE, _SIDE)).save(
        folder / "data" / "images" / "3.png"
    ),
    "an image that bursts": _file(
        "images/3.png",
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x01\x86\xa0\x00\x01\x86\xa0\x08\x02\x00\x00\x00\xae\x14\x12\x07",
    ),
    "an image that is a pipe": _in_place_of("images/3.png", os.mkfifo),
    "an image that is a folder": _in_place_of("images/3.png", Path.mkdir),
    "an image that is a link to itself": _in_place_of("images/3.png", lambda path: path.symlink_to(path.name)),
    "an image that is an endless device": _in_place_of("images/3.png", lambda path: path.symlink_to("/dev/zero")),
    "a mask that is a pipe": _in_place_of("masks/3.png", os.mkfifo),
    "two images of one name": lambda folder: Image.new("RGB", (_SIDE, _SIDE)).save(
        folder / "data" / "images" / "3.jpg"
    ),
}


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def of_images(change: Prepare, **arguments: Any) -> Prepare:
    """The files of a study of images, which `change` changes."""

    def make(folder: Path) -> None:
        images(folder)
        change(folder)

    given = {"path": "data", "classes": 2, "batch_size": 2, **arguments}
    return _study(_PIXELS, {"class_path": "images-and-masks", "init_args": given}, make)


def _images() -> Iterator[HostileInput]:
    for kind, change in IMAGES.items():
        yield _data(f"images with {kind}", of_images(change))
    for kind, arguments in {
        "one class where there are two": {"classes": 1},
        "one channel where there are three": {"channels": 1},
        "a suffix that no mask has": {"mask_suffix": "_nosuch"},
        "shares of nothing": {"fractions": [0, 0, 1]},
        "a crop of nothing": {"crop": 0},
        "a folder that is not there": {"path": "nosuch"},
        "a folder that is a file": {"path": "study.yaml"},
    }.items():
        yield _data(f"images, {kind}", of_images(nothing, **arguments))


# What is no file at all.

PLACES: dict[str, Prepare] = {
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "missing": nothing,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "an endless device": lambda path: path.symlink_to("/dev/zero"),
}


def _data(kind: str, prepare: Prepare) -> HostileInput:
    return HostileInput("data", kind, STUDY_OF_DATA, prepare)


def written(name: str, content: bytes | Callable[[], bytes]) -> Prepare:
    def make(folder: Path) -> None:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content())

    return make


def placed(name: str, place: Prepare) -> Prepare:
    def make(folder: Path) -> None:
        place(folder / name)

    return make
