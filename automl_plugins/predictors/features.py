"""Architectures as rows of numbers, for predictors that know no graphs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from automl_plugins.architecture import Architecture
from automl_plugins.choice import Value
from automl_plugins.space import SearchSpace


def one_hot(space: SearchSpace, architectures: Sequence[Architecture]) -> np.ndarray:
    """The rows that `space.encode` gives, many at once and without its checks.

    Returns:
        float64 `[num_architectures, space.encoding_length]`.
    """
    columns: dict[tuple[str, type, Value], int] = {}
    for choice in space.choices:
        for option in choice.options:
            columns[choice.name, type(option), option] = len(columns)
    rows = np.zeros((len(architectures), len(columns)))
    for row, architecture in zip(rows, architectures, strict=True):
        row[[columns[name, type(value), value] for name, value in architecture.items()]] = 1.0
    return rows
