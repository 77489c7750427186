"""Architectures as numbers: one-hot vectors, and graphs of operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.operation import Operation

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class OperationGraph(NamedTuple):
    """An architecture as a graph: operations are nodes, edges show where data flows.

    Args:
        features: `[num_operations, len(vocabulary)]`, a one for each option that settles the operation (the first
            column: none does).
        edge_index: `[2, num_edges]`, from the operation that is read to the one that reads it.
        labels: what each operation is called.
    """

    features: Tensor
    edge_index: Tensor
    labels: tuple[str, ...]


def encode(choices: Sequence[Choice], values: Mapping[str, Value]) -> np.ndarray:
    """Each choice's options one-hot, in order; zeros for inactive choices: float64 `[number of all options]`."""
    import numpy as np

    encoding = np.zeros(sum(len(choice.options) for choice in choices))
    offset = 0
    for choice in choices:
        if choice.name in values:
            encoding[offset + choice.index(values[choice.name])] = 1.0
        offset += len(choice.options)
    return encoding


def vocabulary_of(choices: Sequence[Choice]) -> tuple[tuple[str, Value], ...]:
    """The options that settle an operation, as (action class, option), each once; see `SearchSpace.vocabulary`."""
    seen: dict[tuple[str, type, Value], tuple[str, Value]] = {}
    for choice in choices:
        for option in choice.options:
            seen.setdefault((choice.kind, type(option), option), (choice.kind, option))
    return (("operation", "fixed"), *seen.values())


def operation_graph(
    choices: Sequence[Choice], operations: Sequence[Operation], values: Mapping[str, Value]
) -> OperationGraph:
    """The graph of operations.

    Args:
        choices: of the space.
        operations: of the architecture, inputs first.
        values: of its active choices.
    """
    import torch

    position = {operation.name: index for index, operation in enumerate(operations)}
    vocabulary = vocabulary_of(choices)
    column = {(kind, type(option), option): index for index, (kind, option) in enumerate(vocabulary) if index > 0}
    kinds = {choice.name: choice.kind for choice in choices}
    features = torch.zeros(len(operations), len(vocabulary))
    for index, operation in enumerate(operations):
        if not operation.choices:
            features[index, 0] = 1.0
        for name in operation.choices:
            features[index, column[kinds[name], type(values[name]), values[name]]] = 1.0
    edges = [(position[source], position[operation.name]) for operation in operations for source in operation.inputs]
    edge_index = torch.tensor(edges, dtype=torch.long).reshape(-1, 2).t().contiguous()
    return OperationGraph(features, edge_index, tuple(operation.label for operation in operations))
