"""Discretization-aware architecture search (Tian et al., Pattern Recognition 2021, arXiv 2007.03154)."""

import torch
from torch import Tensor

from automl_plugins.strategies import DARTS, SearchStep


class DiscretizationAware(DARTS):
    """DARTS whose loss grows by the entropy of the gates, so that little is lost when one option of each is kept.

    Args:
        weight: of the entropy at the end of the search; it grows linearly from 0.
    """

    needs_end = True

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def architecture_loss(self, step: SearchStep) -> Tensor:
        loss = step.search_loss()
        for searchable in step.searchables.values():
            shares = searchable.relaxation.probabilities(searchable.logits, searchable.mask)
            loss = loss + self.weight * step.progress * torch.special.entr(shares.clamp(min=1e-12)).sum()
        return loss
