"""PC-DARTS: mixtures run on some of the channels, and edges are weighed against each other."""

from __future__ import annotations

from typing import Any, Unpack

from automl_plugins.strategies.base import Components
from automl_plugins.strategies.darts import DARTS
from automl_plugins.supernets.edge_normalised import EdgeNormalised
from automl_plugins.supernets.relaxations import Relaxation


class PCDARTS(DARTS):
    """DARTS with partial channel connections and edge normalisation (Xu et al. 2020, arXiv 1907.05737).

    One channel in `partial_channels` goes through the mixtures of a supernet that was made for it, the others pass by,
    so that activations take a fraction of the memory; `EdgeNormalised` weighs the edges that lead to a node. Both may
    be had with other strategies, too: `partial_channels` is an argument of each, and so is the relaxation.

    The paper's logits rest for the first 15 of 50 epochs: `ArchitectureSearch(warmup_epochs=15)`.

    Args:
        partial_channels: the paper's 4 on CIFAR-10, 2 on ImageNet.
        components: see `Strategy`.

    Raises:
        ValueError: see `Strategy`.
    """

    # The default is another one than that of other strategies.
    def __init__(self, partial_channels: int = 4, **components: Unpack[Components]) -> None:  # type: ignore[misc]
        given: dict[str, Any] = {**components, "partial_channels": partial_channels}
        super().__init__(**given)

    def relaxation(self) -> Relaxation:
        return EdgeNormalised()
