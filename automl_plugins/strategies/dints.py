"""DiNTS: independent connections, driven to decide, to fit each other, and to keep to a share of the memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Unpack

from torch import Tensor

from automl_plugins.strategies.base import Components
from automl_plugins.strategies.darts import DARTS
from automl_plugins.strategies.step import SearchStep
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.supernets.topology import SearchesTopology, TopologyTerms


class DiNTS(DARTS):
    r"""DARTS with the losses of DiNTS (He, Yang, Roth, Zhao and Xu 2021, arXiv 2103.15954).

    To the loss on the search batch, t times

    .. math::
        H_\text{arrows} + H_\text{operations} + |m - M| + \lambda T

    is added: entropies of connections and of operations, the distance of the expected memory M, a share of that of all
    connections, from a target m, and the mismatch T between neighbouring layers; t grows linearly from 0 after the
    warm-up to 1 at the end of the search. The space gives them (`supernets.topology.SearchesTopology`). The
    paper's schedule is `warmup_epochs` of half of all epochs.

    The defaults are those of the authors' code. Departures: an entropy is a share of the largest that
    there can be, where theirs is divided by the number of patterns or options.

    Args:
        memory: the target m.
        topology_weight: of the mismatch, :math:`\lambda`.
        components: see `Strategy`.

    Raises:
        ValueError: the memory is no share from 0 to 1, or the weight is negative.
    """

    needs_end: ClassVar[bool] = True

    def __init__(self, memory: float = 0.8, topology_weight: float = 1e-3, **components: Unpack[Components]) -> None:
        super().__init__(**components)
        if not 0 <= memory <= 1:
            raise ValueError(f"memory is a share of that of all connections, from 0 to 1; got {memory}")
        if not topology_weight >= 0:
            raise ValueError(f"topology_weight is at least 0; got {topology_weight}")
        self.memory, self.topology_weight = float(memory), float(topology_weight)

    def check(self, searchables: Mapping[str, Searchable]) -> None:
        for searchable in searchables.values():
            _terms(searchable)

    def architecture_loss(self, step: SearchStep) -> Tensor:
        loss = step.search_loss()
        for searchable in step.searchables.values():
            terms = _terms(searchable)
            distance = (self.memory - terms.memory).abs()
            added = terms.arrow_entropy + terms.operation_entropy + distance + self.topology_weight * terms.mismatch
            loss = loss + step.progress * added
        return loss


def _terms(searchable: Searchable) -> TopologyTerms:
    probabilities = searchable.relaxation.probabilities(searchable.logits, searchable.mask)
    space = searchable.space
    gates = Gates(searchable.choices, probabilities)
    if not isinstance(space, SearchesTopology):
        raise ValueError(
            f"DiNTS searches connections that are independent of each other; the space {space.name!r} has none as it "
            "was made; use a space that has them (`supernets.topology.SearchesTopology`), or another strategy"
        )
    return space.topology_terms(gates)
