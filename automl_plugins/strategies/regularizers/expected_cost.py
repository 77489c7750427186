"""The expected cost of a sampled architecture, as a term of the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import torch
from torch import Tensor

from automl_plugins.strategies.regularizers.base import Regularizer
from automl_plugins.strategies.step import SearchStep
from automl_plugins.supernets.option_costs import CostFigure, expected_cost, inputs_of
from automl_plugins.system.arguments import one_of, positive


class ExpectedCost(Regularizer):
    r"""The expected local cost of SNAS (Xie et al. 2019, arXiv 1812.09926, section 2.3).

    :math:`w \sum_{io} p_{io} c_{io}` is added, where the costs c of options (`GatedSpace.option_costs`) are shares of
    that of the dearest architecture, so that one weight does for networks of any size, and p are their
    probabilities. They are taken once, in the first step that moves the logits, on the inputs of its training batch;
    a checkpoint keeps them, so that measured milliseconds, which no two measurements share, are the same after a kill.

    Args:
        weight: w.
        figure: `params`; or `macs`, `activation_mib` or `latency_ms` on the inputs of that batch.

    Raises:
        ValueError: the weight is negative, or there is no such figure.
    """

    def __init__(self, weight: float = 0.1, figure: CostFigure = "params") -> None:
        self.weight = positive("weight", weight, zero=True)
        one_of("figure", figure, get_args(CostFigure))
        self.figure: CostFigure = figure
        self._costs: dict[str, Tensor] = {}

    def begin(self) -> None:
        self._costs = {}

    def __call__(self, step: SearchStep) -> Tensor:
        if not self._costs:
            with inputs_of(step.searchables) as inputs, torch.no_grad():
                step.training_loss()
            self._costs = {name: self._shares(step, name, inputs[name]) for name in step.searchables}
        terms = []
        for name, costs in self._costs.items():
            searchable = step.searchables[name]
            probabilities = searchable.relaxation.probabilities(searchable.logits, searchable.mask)
            terms.append(expected_cost(probabilities, costs))
        return self.weight * torch.stack(terms).sum()

    def _shares(self, step: SearchStep, name: str, inputs: Sequence[Any]) -> Tensor:
        """The costs of options, as shares of that of the dearest architecture; equal on all ranks."""
        searchable = step.searchables[name]
        costs = searchable.space.option_costs(searchable.task, inputs, self.figure)
        if self.figure != "params":
            costs.apply_(step.average)
        return costs / costs.amax(dim=1).sum().clamp(min=1e-30)

    def state_dict(self) -> dict[str, Any]:
        return dict(self._costs)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._costs = dict(state)
