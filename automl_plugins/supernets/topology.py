"""Searches of connections that are independent of each other: what a space may tell of its topology."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor


class TopologyTerms(NamedTuple):
    """Terms that a search of independent connections may add to its loss (DiNTS, He et al. 2021, arXiv 2103.15954).

    All are scalars, differentiable with respect to the gates.

    Args:
        arrow_entropy: of the connections, from 0 (all decided) to 1 (none decided).
        operation_entropy: of the operations, alike.
        mismatch: how little the connections of neighbouring layers fit to each other; 0 where they do.
        memory: that of the expected network, as a share of the one with all connections.
    """

    arrow_entropy: Tensor
    operation_entropy: Tensor
    mismatch: Tensor
    memory: Tensor


@runtime_checkable
class SearchesTopology(Protocol):
    """A space with connections that a search may open independently of each other."""

    def topology_terms(self, gates: Mapping[str, Tensor]) -> TopologyTerms:
        """The terms of these gates.

        Args:
            gates: the probabilities of each gate's options, `[num_options]`.

        Raises:
            ValueError: the space has no such connections as it was made.
        """
