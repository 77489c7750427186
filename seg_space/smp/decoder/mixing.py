"""Sums of options of different widths, weighted by their gates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

from automl_plugins.spaces.choice import Value
from automl_plugins.supernets.gates import Gates


class State(NamedTuple):
    """A feature map that is a mixture of narrower and wider ones.

    Args:
        features: `[batch, channels, height, width]`, as wide as the widest of them.
        share: for each channel, the sum of the weights of those that have it, `[channels]`.
    """

    features: Tensor
    share: Tensor


def as_state(x: Tensor) -> State:
    """A feature map that is no mixture."""
    return State(x, x.new_ones(x.size(1)))


def mixed(parts: Iterable[tuple[Tensor | None, State]]) -> State:
    """The sum of states, each times its weight; narrower ones are as wide as the widest, with zeros.

    Args:
        parts: weights and states, at least one; a weight that is None is one.
    """
    weighted = [
        (state if weight is None else State(weight * state.features, weight * state.share)) for weight, state in parts
    ]
    width = max(state.features.size(1) for state in weighted)
    first, *others = [_widened(state, width) for state in weighted]
    for state in others:
        first = State(first.features + state.features, first.share + state.share)
    return first


def _widened(state: State, width: int) -> State:
    more = width - state.features.size(1)
    if not more:
        return state
    return State(functional.pad(state.features, (0, 0, 0, 0, 0, more)), functional.pad(state.share, (0, more)))


def opened(gates: Gates, name: str) -> Iterator[tuple[Value, Tensor]]:
    """The open options of a gate and their weights; none where the space has no such choice."""
    if name in gates:
        row = gates[name]
        options = gates.choices[gates.row(name)].options
        yield from ((options[position], row[position]) for position in gates.open(name))


def product(weights: Iterable[Tensor | None]) -> Tensor | None:
    """The product of weights; None stands for one."""
    found: Tensor | None = None
    for weight in weights:
        found = weight if found is None else found if weight is None else found * weight
    return found


def total_of(parts: Iterable[tuple[Tensor | None, Tensor]]) -> Tensor:
    """The sum of tensors of one shape, each times its weight, at least one; a weight that is None is one."""
    found: Tensor | None = None
    for weight, x in parts:
        added = x if weight is None else weight * x
        found = added if found is None else found + added
    if found is None:
        raise ValueError("every option of a gate that is needed is closed; at least one of its weights is not zero")
    return found
