"""SNAS: samples of the concrete distribution, one level, and a term for what the network costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from torch import Tensor

from automl_plugins.decoders.base import Decoder
from automl_plugins.strategies.base import Strategy, checked_temperature, linear
from automl_plugins.strategies.step import SearchStep
from automl_plugins.supernets.option_costs import expected_cost, inputs_of
from automl_plugins.supernets.relaxations import Concrete, Relaxation


class SNAS(Strategy):
    r"""Logits learn on the training batch, through concrete samples that grow harder (Xie et al. 2019, section 2.2).

    With a weight :math:`\eta` of the cost, :math:`\eta \sum_{i,o} p_{io} c_{io}` is added to the loss (section 2.3),
    where the costs c of options (`GatedSpace.option_costs`) are shares of that of the dearest architecture, so that one
    weight does for networks of any size, and p are their probabilities.

    Args:
        start: the temperature at first.
        end: the temperature in the end, reached linearly.
        cost_weight: of the expected cost; 0: none.
        cost: `params`, or `macs` or `activation_mib` on the inputs of the first training batch.
        decoder: see `Strategy`.

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
        cost: Literal["params", "macs", "activation_mib"] = "params",
        decoder: Decoder | str | None = None,
    ) -> None:
        super().__init__(decoder)
        self.start, self.end = checked_temperature("start", start), checked_temperature("end", end)
        if not cost_weight >= 0:
            raise ValueError(f"cost_weight is at least 0; got {cost_weight}")
        if cost not in ("params", "macs", "activation_mib"):
            raise ValueError(f"cost is params, macs or activation_mib; got {cost!r}")
        self.cost_weight, self.cost = float(cost_weight), cost
        self._costs: dict[str, Tensor] = {}

    def relaxation(self) -> Relaxation:
        return Concrete(self.start)

    def schedule(self, relaxation: Relaxation, progress: float) -> None:
        relaxation.temperature = linear(self.start, self.end, progress)

    def begin(self, step: SearchStep) -> None:
        self._costs = {}

    def architecture_loss(self, step: SearchStep) -> Tensor:
        if self.cost_weight and not self._costs:
            with inputs_of(step.searchables) as inputs:
                loss = step.training_loss()
            self._costs = {name: self._shares(step, name, inputs[name]) for name in step.searchables}
        else:
            loss = step.training_loss()
        for name, costs in self._costs.items():
            searchable = step.searchables[name]
            probabilities = searchable.relaxation.probabilities(searchable.logits, searchable.mask)
            loss = loss + self.cost_weight * expected_cost(probabilities, costs)
        return loss

    def _shares(self, step: SearchStep, name: str, inputs: Sequence[Any]) -> Tensor:
        """The costs of options, as shares of that of the dearest architecture; equal on all ranks."""
        searchable = step.searchables[name]
        costs = searchable.space.option_costs(searchable.task, inputs, self.cost)
        if self.cost != "params":
            costs.apply_(step.average)
        return costs / costs.amax(dim=1).sum().clamp(min=1e-30)

    def state_dict(self) -> dict[str, Any]:
        return dict(self._costs)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._costs = dict(state)
