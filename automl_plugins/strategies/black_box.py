"""A cost that is measured on sampled architectures, with a surrogate whose gradient is a control variate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from automl_plugins.spaces.draws import draw_integer
from automl_plugins.spaces.probe import probe_of
from automl_plugins.strategies.step import SearchStep
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.option_costs import CostFigure, cost_of
from automl_plugins.supernets.searchable import Searchable

_RIDGE = 1.0
"""The weight of the surrogate's penalty (Vahdat et al. 2020, the authors' code)."""
_INPUTS = 8
"""Graphs or images of the made-up inputs that networks are measured on."""


class BlackBoxCost:
    """The excess of a sampled architecture's cost over a target, and a ridge regression of it from one-hot gates.

    Networks are measured on made-up inputs of the task's level, each architecture once; ranks keep the mean of what
    each measured.

    Args:
        figure: of `option_costs`: `params`, `macs`, `activation_mib` or `latency_ms`.
        target: up to which a network costs nothing, in the figure's unit; None: 0.
        samples: random architectures that the regression is fitted to.
    """

    def __init__(self, figure: CostFigure, target: float | None, samples: int) -> None:
        self.figure, self.target, self.samples = figure, target, samples
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._known: dict[str, dict[str, float]] = {}
        self._scales: dict[str, float] = {}
        self._slopes: dict[str, Tensor] = {}

    def fit(self, step: SearchStep) -> None:
        """Measure random architectures, and fit the regression to them."""
        for name, searchable in step.searchables.items():
            drawn = [_random_gates(searchable, step.generator) for _ in range(self.samples)]
            costs = [self._measured(name, searchable, gates, step) for gates in drawn]
            self._scales[name] = self.target or max(sum(costs) / len(costs), 1e-30)
            values = torch.tensor([self._excess(name, cost) for cost in costs], dtype=torch.float64)
            rows = torch.stack([gates.matrix.flatten().double().cpu() for gates in drawn])
            self._slopes[name] = ridge(rows, values).to(searchable.logits.device)

    def of(self, step: SearchStep, name: str, hard: Gates) -> float:
        """The excess of the architecture that one-hot gates stand for, as a share of the target."""
        return self._excess(name, self._measured(name, step.searchables[name], hard, step))

    def surrogate(self, name: str, soft: Gates) -> Tensor:
        """The regression's value at soft gates: a scalar, differentiable with respect to them."""
        slopes = self._slopes[name].to(soft.matrix)
        return (soft.matrix.flatten() * slopes[:-1]).sum() + slopes[-1]

    def state_dict(self) -> dict[str, Any]:
        return {"known": self._known, "scales": self._scales, "slopes": self._slopes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._known = {name: dict(each) for name, each in state["known"].items()}
        self._scales, self._slopes = dict(state["scales"]), dict(state["slopes"])

    def _excess(self, name: str, cost: float) -> float:
        share = cost / self._scales[name]
        return share if self.target is None else max(share - 1.0, 0.0)

    def _measured(self, name: str, searchable: Searchable, gates: Gates, step: SearchStep) -> float:
        architecture = searchable.space.decode(Gates(gates.choices, gates.matrix.detach().double().cpu()))
        known, key = self._known.setdefault(name, {}), architecture.to_json()
        if key not in known:
            if self.figure == "params":
                cost = float(searchable.space.num_parameters(architecture, searchable.task))
            else:
                inputs = probe_of(searchable.task).example(_INPUTS, torch.Generator().manual_seed(0))
                inputs = tuple(
                    each.to(searchable.logits.device) if isinstance(each, Tensor) else each for each in inputs
                )
                cost = cost_of(searchable.space.build(architecture, searchable.task), inputs, self.figure)
            known[key] = step.average(cost)
        return known[key]


def ridge(rows: Tensor, values: Tensor) -> Tensor:
    """The coefficients of a ridge regression, with the intercept, which is not penalised, as the last one.

    Args:
        rows: float64 `[samples, features]`.
        values: `[samples]`.
    """
    mean, centre = values.mean(), rows.mean(dim=0)
    centred = rows - centre
    penalty = _RIDGE * torch.eye(rows.size(1), dtype=rows.dtype)
    slopes = torch.linalg.solve(centred.T @ centred + penalty, centred.T @ (values - mean))
    return torch.cat([slopes, (mean - centre @ slopes).unsqueeze(0)])


def _random_gates(searchable: Searchable, generator: torch.Generator) -> Gates:
    """One open option of every gate, each as likely as any other."""
    matrix = torch.zeros(searchable.mask.shape, dtype=searchable.logits.dtype)
    for row, is_open in enumerate(searchable.mask.cpu()):
        columns = is_open.nonzero().flatten().tolist()
        if columns:
            matrix[row, columns[draw_integer(len(columns), generator)]] = 1.0
    return Gates(searchable.choices, matrix)
