"""SNAS: samples of the concrete distribution, one level."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from automl_plugins.decoders.base import Decoder
from automl_plugins.strategies.base import Strategy, checked_temperature, linear
from automl_plugins.strategies.step import SearchStep
from automl_plugins.supernets.relaxations import Concrete, Relaxation


class SNAS(Strategy):
    """Logits learn on the training batch, through concrete samples that grow harder (Xie et al. 2019, section 2.2).

    Args:
        start: the temperature at first.
        end: the temperature in the end, reached linearly.
        decoder: see `Strategy`.

    Raises:
        ValueError: a temperature is not greater than zero.
    """

    uses_search_data: ClassVar[bool] = False
    shares_draw: ClassVar[bool] = True

    def __init__(self, start: float = 1.0, end: float = 0.03, decoder: Decoder | str | None = None) -> None:
        super().__init__(decoder)
        self.start, self.end = checked_temperature("start", start), checked_temperature("end", end)

    def relaxation(self) -> Relaxation:
        return Concrete(self.start)

    def schedule(self, relaxation: Relaxation, progress: float) -> None:
        relaxation.temperature = linear(self.start, self.end, progress)

    def architecture_loss(self, step: SearchStep) -> Tensor:
        return step.training_loss()
