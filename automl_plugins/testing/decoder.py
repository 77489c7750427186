"""The contract that every decoder keeps, as a test suite to subclass.

No network is trained: the loss is that of made-up targets, or whatever `loss` says::

    from automl_plugins.testing import DecoderContract

    class TestMyDecoder(DecoderContract):
        def decoder(self):
            return MyDecoder()

        def space(self, max_parameters):
            return PerceptronSpace(max_parameters=max_parameters)

        def task(self):
            return Task("pixel", "regression", in_channels=3, out_channels=1)
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from contextlib import suppress

import numpy as np
import pytest
import torch

from automl_plugins.decoders.base import Decoder, Evaluation
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.task import Task
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.supernets.space import SupernetSpace

LIMITS = ("none", "cap", "closed", "cap and closed")


class DecoderContract(ABC):
    """The promises of every decoder on every space: its result is within the limits, and nothing is left behind."""

    @abstractmethod
    def decoder(self) -> Decoder:
        """The decoder, equal at every call."""

    @abstractmethod
    def space(self, max_parameters: int | None) -> SupernetSpace:
        """A small space with this cap, equal at every call."""

    @abstractmethod
    def task(self) -> Task:
        """The task that its networks must fit."""

    # Made-up searches.

    def searchable(self, limits: str = "none") -> Searchable:
        """A searchable with random logits: with a cap that few architectures keep, and with closed options."""
        torch.manual_seed(0)
        cap = None
        if "cap" in limits:
            whole = self.space(None)
            generator = np.random.default_rng(0)
            cap = sorted(whole.num_parameters(whole.sample(generator), self.task()) for _ in range(9))[2]
        searchable = self.space(cap).searchable(self.task()).eval()
        if "closed" in limits:
            for choice in [choice for choice in searchable.choices if len(choice.options) > 2][:3]:
                searchable.close(choice.name, choice.options[1])
        with torch.no_grad():
            searchable.logits.normal_(0, 2, generator=torch.Generator().manual_seed(1))
        return searchable

    def evaluation(self, searchable: Searchable, batches: int = 4) -> Evaluation:
        """A loss that is lower the nearer the gates are to some random ones, another one for each batch."""
        generator = torch.Generator().manual_seed(2)
        targets = torch.rand(batches, *searchable.mask.shape, generator=generator)

        def loss(batch: int) -> float:
            gates = searchable.gates().matrix.detach().cpu().float()
            return float((gates - targets[batch]).abs().sum())

        return Evaluation(loss, batches)

    # The contract.

    @pytest.mark.parametrize("limits", LIMITS)
    def test_what_is_found_is_within_the_limits_and_each_once(self, limits: str) -> None:
        searchable = self.searchable(limits)
        found = list(self.decoder()(searchable, self.evaluation(searchable)))
        assert found, "a decoder finds at least one architecture"
        assert len({one.architecture for one in found}) == len(found)
        for one in found:
            searchable.space.validate(one.architecture)
            assert searchable.limits.admits(one.architecture), "beyond the cap, or with a closed option"
        searchable.set_logits(found[0].architecture)
        assert searchable.architecture() == found[0].architecture

    def test_figures_are_finite_numbers_and_survive_json(self) -> None:
        searchable = self.searchable()
        for one in self.decoder()(searchable, self.evaluation(searchable)):
            assert all(isinstance(name, str) for name in one.figures)
            assert all(math.isfinite(value) for value in one.figures.values())
            again = json.loads(json.dumps(one.to_dict()))
            assert again["figures"] == dict(one.figures)
            assert Architecture.from_json(json.dumps(again["architecture"])) == one.architecture

    def test_it_is_settled_and_leaves_everything_as_it_was(self) -> None:
        searchable = self.searchable("closed")
        state = {name: value.clone() for name, value in searchable.state_dict().items()}
        gates = searchable.gates().matrix.clone()
        torch_state = torch.get_rng_state()
        first, again = (list(self.decoder()(searchable, self.evaluation(searchable))) for _ in range(2))
        assert first == again, "two equal decodings find other architectures"
        assert torch.equal(torch_state, torch.get_rng_state()), "it used torch's global generator"
        assert torch.equal(searchable.gates().matrix, gates), "gates are held still"
        assert not searchable.training
        for name, value in searchable.state_dict().items():
            assert torch.equal(value, state[name]), f"{name} was changed"

    def test_an_error_of_the_evaluation_leaves_everything_as_it_was(self) -> None:
        searchable = self.searchable()
        state = {name: value.clone() for name, value in searchable.state_dict().items()}
        gates = searchable.gates().matrix.clone()

        def fail(batch: int) -> float:
            raise RuntimeError("out of memory")

        with suppress(RuntimeError):  # a decoder that evaluates nothing meets no error
            self.decoder()(searchable, Evaluation(fail, 2))
        assert torch.equal(searchable.gates().matrix, gates), "gates are held still"
        assert all(torch.equal(value, state[name]) for name, value in searchable.state_dict().items())
