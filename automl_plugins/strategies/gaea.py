"""GAEA: the gates move on the simplex by exponentiated gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from automl_plugins.strategies.darts import DARTS
from automl_plugins.supernets.relaxations import Relaxation, softmax


class GAEA(DARTS):
    r"""Two levels, and gates that learn by exponentiated gradients (Li, Khodak, Balcan and Talwalkar, ICLR 2021).

    :math:`\theta \leftarrow \theta \odot \exp(-\eta \nabla_\theta L) / Z` (arXiv 2004.07802, algorithm 1). With logits
    :math:`\theta = \mathrm{softmax}(\alpha)` this is :math:`\alpha \leftarrow \alpha - \eta \nabla_\theta L`:
    plain gradient descent, where the gradient by the gates is handed to the logits as it is. Weight decay and
    betas are not used. The paper's :math:`\eta` is 0.1, which is the `learning_rate` of its searches unless they are
    given another.

    Of `benchmarks/planted.py` it finds two of three seeds where sums decide.

    Args:
        decoder: see `Strategy`.
        regularizers: see `Strategy`; they are differentiated by the gates too.
        perturbation: see `Strategy`.
    """

    learning_rate: ClassVar[float | None] = 0.1
    refuses: ClassVar[Mapping[str, str]] = {"relaxation": "its gradients are those of gates on the simplex"}

    def relaxation(self) -> Relaxation:
        return Simplex()

    def optimizer(
        self, logits: Sequence[nn.Parameter], learning_rate: float, weight_decay: float, betas: tuple[float, float]
    ) -> torch.optim.Optimizer:
        return torch.optim.SGD(logits, lr=learning_rate)


class Simplex(Relaxation):
    """A softmax that hands the gradient of its gates to the logits of open options, as it is."""

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.probabilities(logits, mask)

    def probabilities(self, logits: Tensor, mask: Tensor) -> Tensor:
        gates = softmax(logits, mask).detach()
        return gates + torch.where(mask, logits - logits.detach(), 0.0)
