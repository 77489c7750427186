"""DARTS-: an auxiliary skip connection beside the mixture, whose weight decays to nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Unpack

import torch
from torch import Tensor

from automl_plugins.strategies.base import Components
from automl_plugins.strategies.darts import DARTS
from automl_plugins.strategies.schedules import linear
from automl_plugins.strategies.step import SearchStep
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.system.arguments import positive


class DARTSMinus(DARTS):
    r"""DARTS with an auxiliary skip connection (DARTS-; Chu, Wang, Zhang, Lu, Wei and Yan, ICLR 2021).

    A mixture computes :math:`\beta x + \sum_o p_o o(x)` (arXiv 2009.01027, equation 4), so that the
    logit of the identity no longer has to stand for the ease of training that any skip connection brings; :math:`\beta`
    falls linearly to 0. Since a supernet is a function of gates, :math:`\beta` is added to the gate of the identity
    (`GatedSpace.identities`), wherever it is open beside others. Validation sees the mixture without it.

    Args:
        auxiliary: :math:`\beta` at first.
        components: see `Strategy`.

    Raises:
        ValueError: the auxiliary weight is negative, or (in a fit) a space has no identity.
    """

    needs_end: ClassVar[bool] = True

    def __init__(self, auxiliary: float = 1.0, **components: Unpack[Components]) -> None:
        super().__init__(**components)
        self.auxiliary = positive("auxiliary", auxiliary, zero=True)

    def check(self, searchables: Mapping[str, Searchable]) -> None:
        for searchable in searchables.values():
            if not _identities(searchable).any():
                raise ValueError(
                    f"DARTSMinus adds to the gates of identities, and the space {searchable.space.name!r} has no gate "
                    "with one beside other options; use another strategy"
                )

    def architecture_loss(self, step: SearchStep) -> Tensor:
        held = {name: self._with_auxiliary(searchable, step) for name, searchable in step.searchables.items()}
        return step.loss_of(held, step.search_batch)

    def weight_gates(self, searchable: Searchable, step: SearchStep) -> Gates:
        gates = self._with_auxiliary(searchable, step)
        return Gates(gates.choices, gates.matrix.detach())

    def _with_auxiliary(self, searchable: Searchable, step: SearchStep) -> Gates:
        gates, weight = searchable.gates(), linear(self.auxiliary, 0.0, step.progress)
        return Gates(gates.choices, gates.matrix + weight * _identities(searchable).to(gates.matrix))


def _identities(searchable: Searchable) -> Tensor:
    """The open identities that stand beside other open options, boolean `[num_choices, most_options]`."""
    identities = torch.zeros_like(searchable.mask)
    for row, choice in enumerate(searchable.choices):
        for column, option in enumerate(choice.options):
            identities[row, column] = option in searchable.space.identities
    several = searchable.mask.sum(dim=1, keepdim=True) > 1
    return identities & searchable.mask & several
