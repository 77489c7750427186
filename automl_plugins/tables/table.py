"""A space whose scores are known."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Level, Task

if TYPE_CHECKING:
    from torch import nn


class TableSpace(SearchSpace):
    """A space of which there is a table and no network: enough for a search, and nothing to train."""

    version: ClassVar[int] = 1
    levels: ClassVar[frozenset[Level]] = frozenset()

    @abstractmethod
    def key(self, architecture: Architecture) -> Hashable:
        """The key that the table's rows are told apart by: equal for architectures that are one network."""

    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        """Raise NotImplementedError: there are scores only."""
        raise NotImplementedError(f"the space {self.name!r} is known by a table of scores; it builds no networks")


@dataclass(frozen=True)
class Table:
    """The scores of all architectures of a space.

    Args:
        title: of the measurement, for tables and figures.
        space: the architectures.
        rows: key of an architecture (`TableSpace.key`) -> row.
        columns: name -> `[num_rows]`; NaN where it was not measured.
        validation: the column that a search may see; larger is better.
        test: the column that it is judged by; larger is better.

    Raises:
        ValueError: there is no such column, or a column has another length.
    """

    title: str
    space: TableSpace
    rows: Mapping[Hashable, int]
    columns: Mapping[str, np.ndarray]
    validation: str
    test: str

    def __post_init__(self) -> None:
        for name in (self.validation, self.test):
            if name not in self.columns:
                raise ValueError(f"the table has no column {name!r}; columns: {', '.join(self.columns)}")
        for name, column in self.columns.items():
            if column.shape != (len(self.rows),):
                raise ValueError(f"column {name!r} has the shape {column.shape}; the table has {len(self.rows)} rows")

    def row(self, architecture: Architecture) -> int | None:
        """The row of an architecture; None where it was not trained."""
        return self.rows.get(self.space.key(architecture))
