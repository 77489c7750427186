"""DARTS and its one-level form: a soft mixture of all options."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from automl_plugins.strategies.base import Strategy
from automl_plugins.strategies.step import SearchStep
from automl_plugins.supernets.relaxations import Relaxation, Softmax


class DARTS(Strategy):
    """Logits learn on search data, weights on training data, in turn (Liu et al. 2019, algorithm 1, first order)."""

    def relaxation(self) -> Relaxation:
        return Softmax()


class SingleLevel(DARTS):
    """Logits and weights learn on the same training batch (Hou et al. 2021, Single-DARTS).

    Both gradients are of the same draw of the batch; the logits move first, where the paper moves both at once.
    Of `benchmarks/planted.py` it finds one of three seeds where sums decide.
    """

    uses_search_data: ClassVar[bool] = False

    def architecture_loss(self, step: SearchStep) -> Tensor:
        return step.training_loss()
