"""Gates: for every decision of a supernet, how much of each option it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from automl_plugins.spaces.choice import Choice, Value

Closed = Mapping[str, frozenset[Value]]
"""Of each gate with closed options, which they are."""


class Gates(Mapping[str, Tensor]):
    """For every choice of a supernet, a weight for each of its options.

    Soft gates mix options, a one-hot gate runs one option alone, and a zero means "not run". It
    reads as a mapping from a choice's name to its weights `[num_options]`.

    Args:
        choices: the decisions that a supernet has gates for.
        matrix: `[num_choices, most_options]`, a row for each choice in order; what stands beyond a
            choice's own options is zero.

    Raises:
        ValueError: the matrix has another shape.
    """

    def __init__(self, choices: Sequence[Choice], matrix: Tensor) -> None:
        self.choices = tuple(choices)
        shape = matrix_shape(self.choices)
        if tuple(matrix.shape) != shape:
            raise ValueError(
                f"the gates of {len(self.choices)} choices are a matrix {shape}; got {tuple(matrix.shape)}"
            )
        self.matrix = matrix
        self._rows = {choice.name: row for row, choice in enumerate(self.choices)}

    @classmethod
    def of(cls, choices: Sequence[Choice], weights: Mapping[str, Tensor]) -> Gates:
        """The gates with these weights, choice by choice.

        Args:
            choices: the decisions that a supernet has gates for.
            weights: for every one of them, a tensor `[num_options]`.

        Raises:
            ValueError: a choice is missing or unknown, or its weights are not as many as its options.
        """
        if isinstance(weights, Gates):
            return weights
        names = [choice.name for choice in choices]
        if set(names) != set(weights):
            odd = sorted(set(names) ^ set(weights))
            raise ValueError(f"gates are given for each choice and no other; {odd[0]!r} is missing or unknown")
        width = matrix_shape(choices)[1]
        rows = []
        for choice in choices:
            row = weights[choice.name]
            if row.shape != (len(choice.options),):
                raise ValueError(
                    f"the gate of {choice.name!r} is a tensor [{len(choice.options)}]; got {list(row.shape)}"
                )
            rows.append(torch.nn.functional.pad(row, (0, width - len(row))))
        return cls(choices, torch.stack(rows))

    @cached_property
    def _values(self) -> list[list[float]]:
        # Asked of the device once for all choices: every question makes a GPU wait.
        values: list[list[float]] = self.matrix.detach().tolist()
        return values

    def open(self, name: str) -> tuple[int, ...]:
        """The positions of the options that are run: those whose weight is not zero."""
        return tuple(position for position, value in enumerate(self._values[self._rows[name]]) if value != 0)

    def is_constant_one(self, name: str) -> bool:
        """True where one option alone is run, with a weight of 1 that asks for no gradient."""
        values = [self._values[self._rows[name]][position] for position in self.open(name)]
        return values == [1] and not self.matrix.requires_grad

    def row(self, name: str) -> int:
        """The row of a choice in `matrix`."""
        return self._rows[name]

    def __getitem__(self, name: str) -> Tensor:
        row = self._rows[name]
        return self.matrix[row, : len(self.choices[row].options)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def matrix_shape(choices: Sequence[Choice]) -> tuple[int, int]:
    """The shape of a matrix with a row for each choice and a column for each option of the largest."""
    return len(choices), max((len(choice.options) for choice in choices), default=0)


def option_mask(choices: Sequence[Choice]) -> Tensor:
    """The entries of such a matrix that are options, boolean `[num_choices, most_options]`."""
    columns = torch.arange(matrix_shape(choices)[1])
    return columns < torch.tensor([len(choice.options) for choice in choices]).unsqueeze(1)
