"""GDAS: one sampled path at a time, two levels."""

from __future__ import annotations

from typing import Unpack

from automl_plugins.strategies.base import Components, Strategy
from automl_plugins.strategies.schedules import checked_temperature, linear
from automl_plugins.supernets.relaxations import Relaxation, StraightThrough


class GDAS(Strategy):
    """Logits learn on search data, and each step runs one sampled option of each choice (Dong and Yang 2019).

    Architecture and weights draw paths of their own (section 3.3). The way of the gradient to the
    logits departs from GDAS's code: see `relaxations.StraightThrough`.

    Of `benchmarks/planted.py` it finds five of ten seeds where sums decide.

    Args:
        start: the temperature at first.
        end: the temperature in the end, reached linearly.
        components: see `Strategy`.

    Raises:
        ValueError: a temperature is not greater than zero.
    """

    def __init__(self, start: float = 10.0, end: float = 0.1, **components: Unpack[Components]) -> None:
        super().__init__(**components)
        self.start, self.end = checked_temperature("start", start), checked_temperature("end", end)

    def relaxation(self) -> Relaxation:
        return StraightThrough(self.start)

    def schedule(self, relaxation: Relaxation, progress: float) -> None:
        relaxation.temperature = linear(self.start, self.end, progress)
