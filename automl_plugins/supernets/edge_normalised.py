"""Edge normalisation: what comes into a node is weighed edge by edge, beside the gates of each edge's operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from automl_plugins.supernets.relaxations import Concrete, Relaxation, Softmax, make_relaxation


class EdgeNormalised(Relaxation):
    r"""Gates times the weights of their edges (PC-DARTS; Xu et al. 2020, arXiv 1907.05737, equation 4).

    Of the gates that lead into one node (`GatedSpace.gate_groups`), row :math:`e` is multiplied by
    :math:`\mathrm{softmax}_e(\beta)`, and so are the probabilities that are decoded. Other rows stay as they are.

    Departure from the paper: :math:`\beta_e` is no parameter of its own but the mean of the row's open logits, which
    its softmax does not see: the same gates can be reached, and a checkpoint has logits as those of other searches.

    Args:
        relaxation: of the rows; a registered name or a relaxation, `softmax` or `concrete`.

    Raises:
        ValueError: the relaxation is another one.
    """

    stochastic: ClassVar[bool] = False

    def __init__(self, relaxation: str | Relaxation = "softmax") -> None:
        self.rows = make_relaxation(relaxation)
        if type(self.rows) not in (Softmax, Concrete):
            raise ValueError(
                "relaxation is one that leaves the mean of a row's logits free for the weight of its edge, softmax or "
                f"concrete; got {type(self.rows).__name__}"
            )
        # Drawn where the rows are.
        self.stochastic = self.rows.stochastic  # type: ignore[misc]
        self.groups: tuple[tuple[int, ...], ...] = ()

    @property
    def temperature(self) -> float:
        """That of the rows."""
        return self.rows.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        self.rows.temperature = value

    def group(self, groups: Sequence[Sequence[int]]) -> None:
        self.groups = tuple(map(tuple, groups))

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.rows(logits, mask, generator) * self.weights(logits, mask)

    def probabilities(self, logits: Tensor, mask: Tensor) -> Tensor:
        return self.rows.probabilities(logits, mask) * self.weights(logits, mask)

    def weights(self, logits: Tensor, mask: Tensor) -> Tensor:
        """The weight of each row, `[num_choices, 1]`: one outside of groups; a row without an open option has none."""
        opened = mask.sum(dim=1)
        means = torch.where(mask, logits, 0.0).sum(dim=1) / opened.clamp(min=1)
        weights = torch.ones_like(means)
        for group in self.groups:
            rows = torch.tensor(group, device=logits.device)
            among = means[rows].masked_fill(opened[rows] == 0, torch.finfo(means.dtype).min)
            weights = weights.index_copy(0, rows, among.softmax(dim=0))
        return weights.unsqueeze(1)
