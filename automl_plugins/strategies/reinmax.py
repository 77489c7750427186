"""ReinMax as a strategy: one-hot samples with a gradient of second order, two levels."""

from __future__ import annotations

from automl_plugins.strategies.base import Strategy
from automl_plugins.supernets.reinmax import ReinMax as SecondOrder
from automl_plugins.supernets.relaxations import Relaxation


class ReinMax(Strategy):
    """Logits learn on search data through one-hot samples with ReinMax's gradient (Liu et al. 2023).

    The weights learn with samples of their own. The paper differentiates networks by it; as a way to search it stands
    beside GDAS in confopt (AutoML-Conf 2025), which is what this follows. See `supernets.reinmax` for the estimator.
    Of `benchmarks/planted.py` it finds two of three seeds where sums decide.

    Args:
        decoder: see `Strategy`.
        relaxation: see `Strategy`.
        regularizers: see `Strategy`.
        perturbation: see `Strategy`.
    """

    def relaxation(self) -> Relaxation:
        return SecondOrder()
