"""Noticing that a search has collapsed to options without weights."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor

from automl_plugins.supernets.searchable import Searchable

WARNED_SHARE = 0.75
"""The share of parameter-free options from which on a search is warned about."""
DECIDED = 0.9
"""The entropy below which the logits prefer anything: they begin at almost 1."""


class CollapseWatch:
    """Looks at the end of each epoch whether most choices prefer options without weights.

    Skip connections train fast, so that a search comes to prefer them whether they are good or not
    (Liang et al. 2019, DARTS+; Zela et al. 2020). On graphs they are often right, so without being asked to the
    watch only warns.

    Args:
        share: of the choices, at which the search stops; None: only warn.
    """

    def __init__(self, share: float | None) -> None:
        self.share = share
        self.healthy: list[Tensor] = []
        """The logits of the last epoch before a collapse, in order of the searchables."""
        self._warned = False

    def remember(self, searchables: Mapping[str, Searchable]) -> None:
        """Take the logits as they are for healthy ones."""
        self.healthy = [searchable.logits.detach().clone() for searchable in searchables.values()]

    def stops(self, searchables: Mapping[str, Searchable]) -> bool:
        """True where the search is to stop; its logits are then those of the last epoch before."""
        share = WARNED_SHARE if self.share is None else self.share
        if not any(
            float(searchable.entropy()) < DECIDED and searchable.parameter_free_share() >= share
            for searchable in searchables.values()
        ):
            self.remember(searchables)
            return False
        if self.share is not None:
            with torch.no_grad():
                for searchable, logits in zip(searchables.values(), self.healthy, strict=True):
                    searchable.logits.copy_(logits)
            return True
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"the search prefers options without weights in {share:.0%} or more of its choices: it may have "
                f"collapsed; collapse={share} stops it there",
                stacklevel=2,
            )
        return False
