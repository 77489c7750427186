"""DrNAS: gates are drawn from a Dirichlet distribution whose concentrations are learned."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor

from automl_plugins.strategies.base import Components
from automl_plugins.strategies.darts import DARTS
from automl_plugins.strategies.step import SearchStep
from automl_plugins.supernets.dirichlet import Dirichlet, concentrations
from automl_plugins.supernets.relaxations import Relaxation
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.system.arguments import positive, switch

_KEPT = 4 / 7
"""The share of its options that a choice keeps in the progressive form: 4 of the 7 of DARTS's space."""


class DrNAS(DARTS):
    r"""Logits are concentrations of Dirichlet gates (Chen, Wang, Cheng, Tang and Hsieh 2021, arXiv 2006.10355).

    Gates are drawn from :math:`\mathrm{Dir}(\mathrm{ELU}(\beta) + 1)`, and the divergence from :math:`\mathrm{Dir}(1)`
    times a weight is added to the loss on search data (section 3.1). In the progressive form each choice
    keeps the likelier four sevenths of its options, two at least, from the half of the search on (section 3.3).

    Departure from the paper: channels are not sampled, so that the progressive form widens none.

    Args:
        divergence_weight: of the divergence.
        progressive: whether options are closed at the half.
        components: see `Strategy`.

    Raises:
        ValueError: the weight is negative.
    """

    needs_end: ClassVar[bool] = True
    refuses: ClassVar[Mapping[str, str]] = {"relaxation": "its logits are concentrations of a Dirichlet distribution"}

    def __init__(
        self, divergence_weight: float = 1e-3, progressive: bool = False, **components: Unpack[Components]
    ) -> None:
        super().__init__(**components)
        self.divergence_weight = positive("divergence_weight", divergence_weight, zero=True)
        self.progressive = switch("progressive", progressive)
        self._closed = False

    def relaxation(self) -> Relaxation:
        return Dirichlet()

    def begin(self, step: SearchStep) -> None:
        self._closed = False

    def architecture_loss(self, step: SearchStep) -> Tensor:
        loss = step.search_loss()
        for searchable in step.searchables.values():
            loss = loss + self.divergence_weight * divergence(searchable.logits, searchable.mask)
        return loss

    def end_epoch(self, step: SearchStep) -> None:
        if self.progressive and not self._closed and step.progress >= 0.5:
            self._closed = True
            for searchable in step.searchables.values():
                _halve(searchable)

    def state_dict(self) -> dict[str, Any]:
        return {"closed": self._closed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._closed = bool(state["closed"])


def divergence(logits: Tensor, mask: Tensor) -> Tensor:
    r"""The sum over rows of :math:`KL(\mathrm{Dir}(c) \| \mathrm{Dir}(1))` among open options: a scalar.

    Args:
        logits: `[num_choices, most_options]`.
        mask: of the same shape; rows with one open option, or none, have nothing to decide.
    """
    # A concentration of 1 has no part in the sum of the logarithms, and that of the total leaves it out.
    c = torch.where(mask, concentrations(logits), 1.0)
    count = mask.sum(dim=1)
    total = torch.where(mask, c, 0.0).sum(dim=1, keepdim=True)
    several = count > 1
    safe = torch.where(several.unsqueeze(1), total, 1.0)
    inner = torch.where(mask, (c - 1) * (torch.digamma(c) - torch.digamma(safe)), 0.0).sum(dim=1)
    rows = torch.lgamma(safe.squeeze(1)) - torch.lgamma(c).sum(dim=1) - torch.lgamma(count.clamp(min=1).to(c)) + inner
    return torch.where(several, rows, 0.0).sum()


def _halve(searchable: Searchable) -> None:
    """Close the less probable options of every choice, as far as architectures are left."""
    shares = searchable.probabilities().matrix
    for row, choice in enumerate(searchable.choices):
        ranked = sorted(
            searchable.mask[row].nonzero().flatten().tolist(), key=lambda column: float(shares[row, column])
        )
        for column in ranked[: len(ranked) - max(2, round(_KEPT * len(ranked)))]:
            with suppress(ValueError):  # no architecture would be left without it
                searchable.close(choice.name, choice.options[column])
