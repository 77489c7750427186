"""PC-DARTS: mixtures run on some of the channels, and edges are weighed against each other."""

from __future__ import annotations

from typing import Unpack

from automl_plugins.strategies.base import Components
from automl_plugins.strategies.darts import DARTS
from automl_plugins.supernets.edge_normalised import EdgeNormalised
from automl_plugins.supernets.relaxations import Relaxation

_PARTIAL_CHANNELS = 4


class PCDARTS(DARTS):
    """DARTS with partial channel connections and edge normalisation (Xu et al. 2020, arXiv 1907.05737).

    One channel in `partial_channels` goes through the mixtures of a supernet that was made for it, the others pass by,
    so that activations take a fraction of the memory; `EdgeNormalised` weighs the edges that lead to a node. Both may
    be had with other strategies, too: `partial_channels` is an argument of each, and so is the relaxation.

    The paper's logits rest for the first 15 of 50 epochs: `ArchitectureSearch(warmup_epochs=15)`.

    Args:
        components: see `Strategy`; `partial_channels` is 4 where left out, as in the paper on CIFAR-10 (2 on ImageNet).

    Raises:
        ValueError: see `Strategy`.
    """

    def __init__(self, **components: Unpack[Components]) -> None:
        components.setdefault("partial_channels", _PARTIAL_CHANNELS)
        super().__init__(**components)

    def relaxation(self) -> Relaxation:
        return EdgeNormalised()
