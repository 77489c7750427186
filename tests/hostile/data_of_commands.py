"""The same data for `init`, which looks at them, and for `predict`."""

from __future__ import annotations

from collections.abc import Iterator

from data_files import (
    GRAPHS,
    IMAGES,
    NO_NPZ,
    PLACES,
    TABLES,
    made_graph,
    of_graph,
    of_images,
    of_table,
    placed,
    written,
)
from inputs import HostileInput

_NUMBERS_OF_MASKS = ("masks of 0 and 255", "a class beyond the rest")
"""Mistakes for two classes, which nobody has said to `init`."""
_MISTAKES_OF_TARGETS = (
    "without the column",
    "words for numbers",
    "nan for a number",
    "no targets",
    "one target for all",
)


def data_of_commands() -> Iterator[HostileInput]:
    """Data that `init` and `predict` must refuse."""
    yield from _looked_at()
    yield from _predicted()


def _looked_at() -> Iterator[HostileInput]:
    graphs, tables, folder = ("init", "data.npz"), ("init", "data.csv", "--target", "y"), ("init", "data")
    for kind, change in GRAPHS.items():
        yield HostileInput("data", f"init of a graph with {kind}", graphs, of_graph(made_graph(change)))
    for kind, make in NO_NPZ.items():
        yield HostileInput("data", f"init of an npz that is {kind}", graphs, of_graph(written("data.npz", make)))
    for kind, content in TABLES.items():
        yield HostileInput("data", f"init of a table that is {kind}", tables, of_table(written("data.csv", content)))
    for kind, change in IMAGES.items():
        if kind not in _NUMBERS_OF_MASKS:
            yield HostileInput("data", f"init of images with {kind}", folder, of_images(change))
    for kind, place in PLACES.items():
        yield HostileInput("data", f"init of an npz that is {kind}", graphs, of_graph(placed("data.npz", place)))
        yield HostileInput("data", f"init of a table that is {kind}", tables, of_table(placed("data.csv", place)))


def _predicted() -> Iterator[HostileInput]:
    command = ("predict", "trained", "--data.path", "data.csv", "--out", "out.csv")
    for kind, content in TABLES.items():
        if kind not in (*_MISTAKES_OF_TARGETS, "one molecule", "two columns of one name"):
            made = of_table(written("data.csv", content))
            yield HostileInput("data", f"predict for a table that is {kind}", command, made)
    for kind, place in PLACES.items():
        made = of_table(placed("data.csv", place))
        yield HostileInput("data", f"predict for a table that is {kind}", command, made)
