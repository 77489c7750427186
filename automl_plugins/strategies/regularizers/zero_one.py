"""The zero-one loss: gates that do not compete are driven to 0 or 1."""

from __future__ import annotations

import torch
from torch import Tensor

from automl_plugins.strategies.regularizers.base import Regularizer
from automl_plugins.strategies.step import SearchStep
from automl_plugins.system.arguments import positive


class ZeroOne(Regularizer):
    r"""The zero-one loss of Fair-DARTS (Chu, Zhou, Zhang and Li 2020, arXiv 1911.12126, equation 4).

    :math:`-w \cdot \mathrm{mean}_{eo} (p_{eo} - 0.5)^2` over open options is added, with the probabilities p of the
    searchable's relaxation: the sigmoids of the paper, or others.

    Args:
        weight: w; the paper's is 10.

    Raises:
        ValueError: the weight is negative.
    """

    def __init__(self, weight: float = 10.0) -> None:
        self.weight = positive("weight", weight, zero=True)

    def __call__(self, step: SearchStep) -> Tensor:
        terms = []
        for searchable in step.searchables.values():
            probabilities = searchable.relaxation.probabilities(searchable.logits, searchable.mask)
            terms.append((probabilities[searchable.mask] - 0.5).square().mean())
        return -self.weight * torch.stack(terms).sum()
