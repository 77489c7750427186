"""Rules that a space's `decode` is made of: from scores of options to values of choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from automl_plugins.spaces.choice import Choice, Value


def argmax(choices: Sequence[Choice], scores: Mapping[str, Tensor]) -> dict[str, Value]:
    """The option with the highest score for every active choice, in order; the first one of equals.

    Args:
        choices: in order; a choice stands after those that it requires.
        scores: for every choice, `[num_options]`.
    """
    values: dict[str, Value] = {}
    for choice in choices:
        if choice.is_active(values):
            values[choice.name] = choice.options[int(scores[choice.name].argmax())]
    return values


def strongest_inputs(scores: Tensor, count: int) -> list[tuple[int, int]]:
    """The inputs that a node keeps, and their operations: the `count` inputs whose best operation scores highest.

    Args:
        scores: `[num_inputs, num_operations]`, without the operation `none` (DARTS, Liu et al. 2019, section 2.4).
        count: how many inputs are kept.

    Returns:
        Pairs of an input and its operation, in order of the inputs; the earlier input wins among equals.
    """
    best, operations = scores.max(dim=1)
    order = torch.sort(best, descending=True, stable=True).indices[:count].sort().values
    return [(int(position), int(operations[position])) for position in order]
