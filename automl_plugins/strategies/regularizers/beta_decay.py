"""Beta-decay: a weight decay of the gates, so that no logit runs away early."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from automl_plugins.strategies.regularizers.base import Regularizer
from automl_plugins.strategies.step import SearchStep
from automl_plugins.system.arguments import positive


class BetaDecay(Regularizer):
    r"""Beta-decay (beta-DARTS; Ye, Li, Li, Xu, Zuo, Wei and Ye 2022, arXiv 2203.01665, equation 12).

    The term :math:`\lambda(t) \cdot \mathrm{mean}_e \log \sum_o \exp \alpha_{eo}` of each searchable, over its open
    options, is added; its weight grows linearly from 0 to the end of the search. Rows with a single open option have
    nothing to decide, and do not count.

    Args:
        weight: at the end of the search; the paper's 50 is reached after 100 epochs on NAS-Bench-201.

    Raises:
        ValueError: the weight is negative.
    """

    needs_end: ClassVar[bool] = True

    def __init__(self, weight: float = 50.0) -> None:
        self.weight = positive("weight", weight, zero=True)

    def __call__(self, step: SearchStep) -> Tensor:
        terms = []
        for searchable in step.searchables.values():
            several = searchable.mask.sum(dim=1) > 1
            logits = searchable.logits.masked_fill(~searchable.mask, torch.finfo(searchable.logits.dtype).min)
            rows = torch.where(several, logits.logsumexp(dim=1), 0.0)
            terms.append(rows.sum() / several.sum().clamp(min=1))
        return self.weight * step.progress * torch.stack(terms).sum()
