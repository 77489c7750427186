"""One operation of an architecture: what graphs and drawings show."""

from __future__ import annotations

from typing import NamedTuple


class Operation(NamedTuple):
    """One operation of an architecture, as `SearchSpace.graph` and the drawings show it.

    Args:
        name: unique within the architecture (`layer0.attention`).
        label: what a person reads (`gat`).
        inputs: the names of the operations whose results it reads; they come earlier.
        choices: the choices that settle what it computes.
    """

    name: str
    label: str
    inputs: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
