"""`GatedSpace`: a search space whose architectures are read off gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Task
from automl_plugins.supernets import rules
from automl_plugins.supernets.gates import Closed, Gates, matrix_shape
from automl_plugins.supernets.option_costs import CostFigure, cost_of, costs_by_difference


class GatedSpace(SearchSpace):
    """The gates of a search space: those that an architecture stands for, and the architecture that scores stand for.

    By default the gates are the space's choices. A space in which they are not says, in four members, which decisions
    there are (`gate_choices`) and how they and architectures become each other. This is all that logits, masks and
    limits need to know of a space; the weights behind the gates are `automl_plugins.supernets.space.SupernetSpace`'s.
    """

    parameter_free: ClassVar[frozenset[Value]] = frozenset()
    """Options of the gates without weights; a search that ends with little else has collapsed."""

    identities: ClassVar[frozenset[Value]] = frozenset()
    """Options of the gates that hand on what they read as it is."""

    # Said by a subclass whose gates are not its choices.

    @property
    def gate_choices(self) -> tuple[Choice, ...]:
        """The decisions that there are gates for."""
        return self.whole.choices

    @property
    def gate_groups(self) -> tuple[tuple[str, ...], ...]:
        """The gates of the edges that lead to one node, for each node that has several."""
        return ()

    def gate_values(self, architecture: Architecture) -> Mapping[str, Value]:
        """The option that each gate is one-hot at; gates left out are zero."""
        return architecture

    def decode(self, scores: Mapping[str, Tensor]) -> Architecture:
        """The architecture that scores stand for; that of an architecture's own gates is itself.

        An option whose score is minus infinity is closed: the architecture has it only where there is none without.

        Args:
            scores: for every gate, `[num_options]`; higher is better.
        """
        return self.architecture(rules.argmax(self.gate_choices, scores))

    def open_options(self, choice: Choice, values: Mapping[str, Value], closed: Closed) -> Sequence[Value]:
        """The options that an active choice has left where some options of gates are closed.

        Options too many are sorted out later.

        Args:
            choice: one of the space's.
            values: those of the choices before.
            closed: for gates with closed options, which they are.
        """
        if choice.name not in closed:
            return choice.options
        return [option for option in choice.options if option not in closed[choice.name]]

    def option_costs(
        self,
        task: Task,
        inputs: Sequence[Any] = (),
        figure: CostFigure = "macs",
        reference: Architecture | None = None,
    ) -> Tensor:
        """The cost of choosing each option, beyond the cheapest option of its gate; see `costs_by_difference`.

        A space that knows its costs better, such as those of a trellis, says so itself. The cap does not count here.

        Args:
            task: what networks must fit.
            inputs: the arguments of a network's `forward`, on the device to measure on; not needed for `params`.
            figure: `params`, `macs`, `activation_mib` (kept for the backward pass) or `latency_ms`.
            reference: what options are compared in; None: the middle option of every choice.

        Returns:
            float64 `[num_choices, most_options]`, at least 0, a row for each of `gate_choices`.

        Raises:
            ValueError: the space has no networks for the task, or there is no such figure.
        """
        whole = self.whole
        whole.check_task(task)

        def cost(architecture: Architecture) -> float:
            if figure == "params":
                return float(whole.num_parameters(architecture, task))
            return cost_of(whole.build(architecture, task), inputs, figure)

        return costs_by_difference(whole, cost, reference)

    # What follows from it.

    def gates(self, architecture: Architecture, dtype: torch.dtype | None = None) -> Gates:
        """The one-hot gates of an architecture.

        Raises:
            ValueError: the architecture is not of this space.
        """
        self.validate(architecture)
        choices = self.gate_choices
        matrix = torch.zeros(matrix_shape(choices), dtype=dtype)
        values = self.gate_values(architecture)
        for row, choice in enumerate(choices):
            if choice.name in values:
                matrix[row, choice.index(values[choice.name])] = 1.0
        return Gates(choices, matrix)
