"""Random search with weight sharing: the baseline that a search has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from automl_plugins.decoders.base import Decoder
from automl_plugins.decoders.best_sampled import BestSampled
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.strategies.base import Strategy
from automl_plugins.strategies.step import SearchStep
from automl_plugins.supernets.relaxations import Relaxation, Softmax
from automl_plugins.supernets.searchable import Searchable


class RandomSearch(Strategy):
    """Each step trains the weights of one architecture, drawn uniformly (Li and Talwalkar 2019, section 3.2).

    Draws have no closed option and keep the space's cap (`Searchable.sample`).

    In the end the best of random architectures on the search data goes into the logits, so that
    `Searchable.derive` gives it. Until then validation sees the last architecture that was trained.

    Args:
        decoder: see `Strategy`; by default `BestSampled`.
        components: none other has a use.
    """

    learns_logits: ClassVar[bool] = False

    refuses: ClassVar[Mapping[str, str]] = {
        "relaxation": "it learns no logits",
        "regularizers": "it learns no logits",
        "perturbation": "each step runs the one-hot gates of one architecture",
    }

    def __init__(self, decoder: Decoder | str | None = None, **components: Any) -> None:
        super().__init__(BestSampled() if decoder is None else decoder, **components)

    def relaxation(self) -> Relaxation:
        return Softmax()

    def weight_gates(self, searchable: Searchable, step: SearchStep) -> Architecture:
        return searchable.sample(step.generator)

    def single_path(self, progress: float) -> bool:
        return True
