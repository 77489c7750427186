"""RLNAS: a supernet that is trained on random labels, and the architecture whose weights turned most."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from automl_plugins.decoders.angle import Angle
from automl_plugins.decoders.base import Decoder
from automl_plugins.spaces.probe import Probe, probe_of
from automl_plugins.strategies.random_search import RandomSearch
from automl_plugins.strategies.step import SearchStep
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.system.arguments import at_least


class RLNAS(RandomSearch):
    """Single paths trained on fixed random labels, then evolution for the largest angle (Zhang, Hou et al., CVPR 2021).

    See arXiv 2101.11834. Weights learn by the user's own training step, whose batches have other targets: each sample
    has a random one that stays the same for the whole search (`automl_plugins.spaces.probe.Probe.relabelled`): a class,
    a number, or one for each block of an image's pixels; of one graph with masks, all nodes have one. The decoder is
    `decoders.angle.Angle`. So targets are read for their shape alone, and numbers for mean and deviation. Validation
    sees true targets.

    Samples are told apart by what they hold, so one that is augmented anew has new labels, which nothing can learn:
    search without augmentation.

    Args:
        decoder: see `Strategy`; by default `Angle`. `evolution` judges by the loss on true targets.
        seed: of the labels.
        components: none other has a use.

    Raises:
        ValueError: (before training) the probe of the task's level makes no random labels, or a batch has no targets
            that are known.
    """

    def __init__(self, decoder: Decoder | str | None = None, seed: int = 0, **components: Any) -> None:
        super().__init__(Angle() if decoder is None else decoder, **components)
        self.seed = at_least("seed", seed, 0)
        self._searchables: dict[str, Searchable] = {}
        self._initial: dict[str, dict[str, Tensor]] = {}
        self._scale = (0.0, 1.0)
        if isinstance(self.decoder, Angle):
            self.decoder.initial = self.initial_weights

    def check(self, searchables: Mapping[str, Searchable]) -> None:
        self._searchables = dict(searchables)
        if not hasattr(self._probe(searchables), "relabelled"):
            level = next(iter(searchables.values())).task.level
            raise ValueError(
                f"the probe of the level {level!r} makes no random labels; give it methods `targets` and `relabelled`"
            )

    def initial_weights(self, searchable: Searchable) -> Mapping[str, Tensor]:
        """The state of a searchable's supernet before its first step."""
        return next(self._initial[name] for name, each in self._searchables.items() if each is searchable)

    def begin(self, step: SearchStep) -> None:
        self._initial = {
            name: {key: value.detach().clone() for key, value in each.supernet.state_dict().items()}
            for name, each in step.searchables.items()
        }
        probe, batch = self._probe(step.searchables), step.search_batch
        probe.relabelled(batch, self.seed)  # refuses a batch without targets before anything is trained
        if next(iter(step.searchables.values())).task.target == "regression":
            targets = probe.targets(batch).detach().double()
            mean, square = (step.average(float(each.mean())) for each in (targets, targets.square()))
            deviation = math.sqrt(max(square - mean**2, 0.0))
            self._scale = (mean, deviation) if math.isfinite(deviation) and deviation > 0 else (0.0, 1.0)

    def weight_loss(self, step: SearchStep) -> Tensor:
        probe = self._probe(step.searchables)
        with torch.no_grad():
            batch = probe.relabelled(step.training_batch, self.seed, self._scale)
        return step.loss(batch)

    def state_dict(self) -> dict[str, Any]:
        return {"initial": self._initial, "scale": list(self._scale)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._initial = {name: dict(each) for name, each in state["initial"].items()}
        self._scale = (float(state["scale"][0]), float(state["scale"][1]))

    def _probe(self, searchables: Mapping[str, Searchable]) -> Probe:
        return probe_of(next(iter(searchables.values())).task)
