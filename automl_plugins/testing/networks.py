"""The promises of a space about its networks."""

from __future__ import annotations

import copy
import io
import math
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from automl_plugins.errors import ParameterCapError
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.enumeration import covering
from automl_plugins.spaces.task import Level, Task
from automl_plugins.testing.space_suite import SpaceSuite, assert_same_state

if TYPE_CHECKING:
    pass


class NetworkSuite(SpaceSuite):
    """Building, training, counting, caps, seeds and states."""

    def test_every_option_builds_and_trains(self, task: Task) -> None:
        space = self.space()
        for architecture in covering(space, np.random.default_rng(0)):
            network = space.network(architecture, task)
            optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
            loss = self.loss(network.train(), task)
            assert loss.shape == ()
            assert math.isfinite(loss.item()), f"the loss is {loss.item()}: {architecture}"
            loss.backward()
            trained = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
            unused = [name for name, weight in trained.items() if weight.grad is None]
            assert not unused, f"parameters without a gradient: {architecture}"
            bad = [name for name, weight in trained.items() if not _finite(weight.grad)]
            assert not bad, f"gradients that are not finite: {architecture}"
            optimizer.step()
            assert math.isfinite(self.loss(network, task).item()), f"one step broke the network: {architecture}"

    def test_parameters_are_counted_without_building(self, task: Task) -> None:
        space = self.space()
        for architecture in covering(space, np.random.default_rng(0)):
            state = torch.get_rng_state()
            counted = space.num_parameters(architecture, task)
            assert torch.equal(state, torch.get_rng_state()), "counting used torch's global generator"
            network = space.network(architecture, task)
            assert counted == sum(weight.numel() for weight in network.parameters() if weight.requires_grad)

    def test_a_parameter_cap_is_enforced_before_building(self, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
        space = self.space()
        architecture = space.sample(np.random.default_rng(0))
        built: list[nn.Module] = []
        build = space.build

        def recorded(architecture: Architecture, task: Task) -> nn.Module:
            built.append(build(architecture, task))
            return built[-1]

        monkeypatch.setattr(space, "build", recorded)
        count = space.num_parameters(architecture, task)
        space.max_parameters = count
        space.network(architecture, task)
        if count > 1:
            built.clear()
            space.max_parameters = count - 1
            with pytest.raises(ParameterCapError, match="max_parameters"):
                space.network(architecture, task)
            for network in built:
                assert all(weight.is_meta for weight in network.parameters()), "memory was given to the network"

    def test_references_are_points_of_the_space_and_build(self, task: Task) -> None:
        space = self.space()
        for name, architecture in space.references(task).items():
            assert isinstance(name, str)
            space.validate(architecture)
            network = space.network(architecture, task)
            assert math.isfinite(self.loss(network.train(), task).item()), f"the loss of {name}"

    def test_a_narrowed_space_is_the_same_space_within_the_cap(self) -> None:
        space, task = self.space(), self.tasks()[0]
        generator = np.random.default_rng(0)
        counts = [space.num_parameters(space.sample(generator), task) for _ in range(4)]
        space.max_parameters = cap = max(counts)
        narrowed = space.within(task)
        assert type(narrowed) is type(space)
        assert narrowed.whole is space
        for choice in narrowed.choices:
            (whole,) = (other for other in space.choices if other.name == choice.name)
            assert set(choice.options) <= set(whole.options) & set(space.options_for(whole, task))
        drawn = narrowed.sample(generator)
        mutated = narrowed.mutate(drawn, generator) if any(len(c.options) > 1 for c in narrowed.choices) else drawn
        for architecture in (drawn, mutated):
            space.validate(architecture)
            assert space.num_parameters(architecture, task) <= cap

    def test_a_network_is_settled_by_the_seed(self, task: Task) -> None:
        space = self.space()
        for architecture in self._drawn(space)[:5]:
            states = []
            for _ in range(2):
                torch.manual_seed(0)
                states.append(space.network(architecture, task).state_dict())
            assert_same_state(*states)

    def test_a_network_survives_its_state_dict(self, task: Task) -> None:
        space = self.space()
        for architecture in self._drawn(space)[:5]:
            network = space.network(architecture, task)
            file = io.BytesIO()
            torch.save(network.state_dict(), file)
            file.seek(0)
            again = space.network(Architecture.from_json(architecture.to_json()), task)
            again.load_state_dict(torch.load(file, weights_only=True))
            assert_same_state(network.state_dict(), again.state_dict())
            losses = []
            for each in (network, again, copy.deepcopy(network)):
                torch.manual_seed(0)
                with torch.no_grad():
                    losses.append(self.loss(each.eval(), task).item())
            assert losses[0] == losses[1] == losses[2], f"equal weights, but the losses {losses}: {architecture}"

    def test_a_task_of_another_level_is_refused(self, task: Task) -> None:
        space = self.space()
        architecture = space.sample(np.random.default_rng(0))
        for level in set(get_args(Level)) - space.levels:
            with pytest.raises(ValueError, match=level):
                space.network(architecture, replace(task, level=level))


def _finite(gradient: Tensor | None) -> bool:
    return gradient is not None and bool(gradient.isfinite().all())
