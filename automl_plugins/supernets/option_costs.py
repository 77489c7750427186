"""The cost of every option: what choosing it costs beyond the cheapest option of its gate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, Literal, Protocol, get_args

import numpy as np
import torch
from torch import Tensor, nn

from automl_plugins.measures.activations import activation_mib
from automl_plugins.measures.latency import measure_latency
from automl_plugins.measures.macs import macs
from automl_plugins.measures.params import params
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.completions import settled
from automl_plugins.spaces.draws import Draws
from automl_plugins.supernets.gates import Gates, matrix_shape
from automl_plugins.system.nested import tensors_in

CostFigure = Literal["params", "macs", "activation_mib", "latency_ms"]
"""Trainable parameters, multiply-accumulates, MiB kept for the backward pass, milliseconds of a forward pass."""

_TRIES = 64
"""Random scores that are decoded to find an architecture with an option that the reference cannot be given."""


class Gated(Protocol):
    """The members of a `GatedSpace` that costs are made with."""

    name: ClassVar[str]
    version: ClassVar[int]
    choices: tuple[Choice, ...]

    @property
    def gate_choices(self) -> tuple[Choice, ...]: ...
    def decode(self, scores: Mapping[str, Tensor]) -> Architecture: ...
    def gates(self, architecture: Architecture, dtype: torch.dtype | None = None) -> Gates: ...


def cost_of(network: nn.Module, inputs: Sequence[Any], figure: CostFigure) -> float:
    """One figure of a network.

    Args:
        network: is moved to the inputs' device.
        inputs: the arguments of its `forward`; not read for `params`.
        figure: which one.

    Raises:
        ValueError: there is no such figure.
    """
    measures: dict[str, Callable[[], float]] = {
        "params": lambda: params(network),
        "macs": lambda: macs(network, inputs),
        "activation_mib": lambda: activation_mib(network, inputs),
        "latency_ms": lambda: measure_latency(network, inputs).milliseconds,
    }
    if figure not in measures:
        raise ValueError(f"the figure of an option's cost is one of {', '.join(get_args(CostFigure))}; got {figure!r}")
    if figure != "params" and not len(inputs):
        raise ValueError(f"figure={figure!r} is measured on inputs, the arguments of a forward pass; none are given")
    device = next((tensor.device for tensor in tensors_in(inputs)), None)
    if device is not None:
        network.to(device)
    return float(measures[figure]())


@contextmanager
def inputs_of(networks: Mapping[str, nn.Module]) -> Iterator[dict[str, tuple[Any, ...]]]:
    """The positional arguments of the first call of each network inside the `with` block, by name."""
    inputs: dict[str, tuple[Any, ...]] = {}

    def remember(name: str, network: nn.Module, arguments: tuple[Any, ...]) -> None:
        inputs.setdefault(name, arguments)

    handles = [network.register_forward_pre_hook(partial(remember, name)) for name, network in networks.items()]
    try:
        yield inputs
    finally:
        for handle in handles:
            handle.remove()


def costs_by_difference(
    space: Gated, cost: Callable[[Architecture], float], reference: Architecture | None = None
) -> Tensor:
    """The cost of each option, beyond that of the cheapest option of its gate, all else as in the reference.

    Every option stands in an architecture that differs from the reference as little as may be. If costs add up over
    gates, and each gate has an option that costs as little as leaving it away, they are exact: the costs of any two
    architectures differ as the sums over their gates do. Elsewhere they hold near the reference.

    Args:
        space: of the gates.
        cost: of an architecture; asked once for each.
        reference: what options are compared in; None: the middle option of every choice.

    Returns:
        float64 `[num_choices, most_options]`, at least 0; 0 too where no architecture with the option was found, as for
        `none`, and beyond a choice's own options.
    """
    variants = _Variants(space, middle(space) if reference is None else reference)
    known: dict[Architecture, float] = {}

    def asked(architecture: Architecture) -> float:
        if architecture not in known:
            known[architecture] = cost(architecture)
        return known[architecture]

    costs = torch.zeros(matrix_shape(space.gate_choices), dtype=torch.float64)
    for row in range(len(space.gate_choices)):
        of_row = {column: asked(variant) for column, variant in variants(row).items()}
        for column, value in of_row.items():
            costs[row, column] = value - min(of_row.values())
    return costs


def expected_cost(probabilities: Mapping[str, Tensor] | Tensor, costs: Tensor) -> Tensor:
    r"""The expected cost :math:`\sum_{i,o} p_{io} c_{io}` (SNAS, Xie et al. 2019, section 2.3), a scalar.

    It is differentiable in the probabilities, and of one-hot gates the cost of their architecture.

    Args:
        probabilities: gates, or their matrix `[num_choices, most_options]`.
        costs: of the options, of the same shape.
    """
    matrix = probabilities.matrix if isinstance(probabilities, Gates) else probabilities
    if not isinstance(matrix, Tensor) or matrix.shape != costs.shape:
        raise ValueError(f"probabilities are gates or a matrix {tuple(costs.shape)}, as the costs are")
    return (matrix * costs.to(matrix)).sum()


def middle(space: Gated) -> Architecture:
    """The architecture with the middle option of every active choice."""
    draws = _draws(space, {})
    values = {choice.name: choice.options[len(choice.options) // 2] for choice in space.choices}
    found = draws.mixed(values)
    if found is None:
        raise ValueError(f"the space {space.name!r} has no architecture with the middle option of every choice")
    return found


class _Variants:
    """Architectures that differ from a reference in one gate."""

    def __init__(self, space: Gated, reference: Architecture) -> None:
        self.space, self.reference = space, reference
        self.choices = {choice.name: choice for choice in space.choices}

    def __call__(self, row: int) -> dict[int, Architecture]:
        """For each option of a gate that an architecture was found with, that architecture."""
        choice = self.space.gate_choices[row]
        is_choice = choice.name in self.choices and self.choices[choice.name].options == choice.options
        base = self._active(choice) if is_choice else self._with(row, range(len(choice.options)), self.reference)
        if base is None:
            return {}
        found: dict[int, Architecture] = {}
        for column, option in enumerate(choice.options):
            variant = _draws(self.space, {}).mixed({choice.name: option}, base) if is_choice else None
            variant = variant or self._with(row, [column], base)
            if variant is not None and self._uses(variant, row, column):
                found[column] = variant
        return found

    def _active(self, choice: Choice) -> Architecture | None:
        """The reference, changed so far that a choice is active."""
        allowed = settled(self.space.choices, {choice.name: choice.options}, np.random.default_rng(0))
        return None if allowed is None else _draws(self.space, allowed).mixed(self.reference)

    def _with(self, row: int, columns: Sequence[int], base: Architecture) -> Architecture | None:
        """An architecture near `base` that has one of some options of a gate."""
        near = 1.0 + 2.0 * self.space.gates(base, torch.float64).matrix
        generator = torch.Generator().manual_seed(0)
        for number in range(_TRIES):
            scores = near if number == 0 else torch.rand(near.shape, generator=generator, dtype=torch.float64)
            for column in columns:
                forced = scores.clone()
                forced[row, column] = 5.0
                found = self.space.decode(Gates(self.space.gate_choices, forced))
                if self._uses(found, row, column):
                    return found
        return None

    def _uses(self, architecture: Architecture, row: int, column: int) -> bool:
        return bool(self.space.gates(architecture).matrix[row, column])


def _draws(space: Gated, allowed: Mapping[str, Sequence[Value]]) -> Draws:
    return Draws(
        space.choices,
        lambda values: Architecture(space.name, space.version, values),
        lambda choice, values: allowed.get(choice.name, choice.options),
    )
