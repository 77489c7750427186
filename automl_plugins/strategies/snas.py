"""SNAS: samples of the concrete distribution, one level, and a term for what the network costs."""

from __future__ import annotations

from typing import ClassVar, Unpack

from torch import Tensor

from automl_plugins.strategies.base import Components, Strategy
from automl_plugins.strategies.regularizers.expected_cost import ExpectedCost
from automl_plugins.strategies.schedules import checked_temperature, linear
from automl_plugins.strategies.step import SearchStep
from automl_plugins.supernets.option_costs import CostFigure
from automl_plugins.supernets.relaxations import Concrete, Relaxation
from automl_plugins.system.arguments import positive


class SNAS(Strategy):
    r"""Logits learn on the training batch, through concrete samples that grow harder (Xie et al. 2019, section 2.2).

    With a `cost_weight` the expected cost of a sampled architecture is added to the loss (section 2.3): the
    regularizer `ExpectedCost`, which other strategies may be given, too.

    Args:
        start: the temperature at first.
        end: the temperature in the end, reached linearly.
        cost_weight: of the expected cost; 0: none.
        cost: its figure, see `ExpectedCost`.
        components: see `Strategy`.

    Raises:
        ValueError: a temperature is not greater than zero, the weight is negative, or there is no such cost.
    """

    uses_search_data: ClassVar[bool] = False
    shares_draw: ClassVar[bool] = True

    def __init__(
        self,
        start: float = 1.0,
        end: float = 0.03,
        cost_weight: float = 0.0,
        cost: CostFigure = "params",
        **components: Unpack[Components],
    ) -> None:
        super().__init__(**components)
        self.start, self.end = checked_temperature("start", start), checked_temperature("end", end)
        self.cost_weight, self.cost = positive("cost_weight", cost_weight, zero=True), cost
        own = ExpectedCost(self.cost_weight, cost)
        if self.cost_weight:
            self.regularizers = [*self.regularizers, own]

    def relaxation(self) -> Relaxation:
        return Concrete(self.start)

    def schedule(self, relaxation: Relaxation, progress: float) -> None:
        relaxation.temperature = linear(self.start, self.end, progress)

    def architecture_loss(self, step: SearchStep) -> Tensor:
        return step.training_loss()
