"""The contract finds what it is for: each space here breaks one promise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from automl_plugins import Architecture, Choice, Operation, SearchSpace, Task
from automl_plugins.spaces.task import Level
from automl_plugins.testing import SearchSpaceContract

TASK = Task("graph", "regression", 3, 1)


class Sound(SearchSpace):
    name: ClassVar[str] = "sound"
    version: ClassVar[int] = 1
    levels: ClassVar[frozenset[Level]] = frozenset(("graph",))

    def __init__(self) -> None:
        super().__init__(
            [Choice("width", (4, 8)), Choice("deep", (False, True)), Choice("inner", (2, 3), {"deep": (True,)})]
        )

    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        width = architecture["width"]
        layers: list[nn.Module] = []
        if architecture["deep"]:
            layers = [nn.Linear(width, architecture["inner"]), nn.Linear(architecture["inner"], width)]
        return nn.Sequential(nn.Linear(task.in_channels, width), *layers, nn.Linear(width, task.out_channels))

    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        return [Operation("input", "input"), Operation("all", "all", ("input",), tuple(architecture))]


class UnusedWeight(Sound):
    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        network = super().build(architecture, task)
        if architecture["deep"] and architecture["inner"] == 3:
            network[0].register_parameter("forgotten", nn.Parameter(torch.zeros(2)))
        return network


class InfiniteOption(Sound):
    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        network = super().build(architecture, task)
        if architecture["width"] == 8:
            nn.init.constant_(network[-1].bias, torch.inf)
        return network


class OwnRandomness(Sound):
    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        network = super().build(architecture, task)
        nn.init.constant_(network[-1].bias, np.random.default_rng().normal())
        return network


class Scaled(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.scale = torch.rand(())

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x) * self.scale


class StateOutsideStateDict(Sound):
    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        return Scaled(super().build(architecture, task))


class BuildsOnTheCpu(Sound):
    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        with torch.device("cpu"):
            return super().build(architecture, task)


class SilentOperation(Sound):
    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        return [Operation("all", "all", (), ("width", "deep"))]


class BackwardsOperations(Sound):
    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        return super().operations(architecture)[::-1]


class Unpicklable(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.helper = lambda: None


class WrongSize(Sound):
    size = 8


class Stored(Sound):
    """Suggests what is not active."""

    def suggest(self, trial: Any) -> Architecture:
        trial.suggest_categorical("inner", (2, 3))
        return super().suggest(trial)


class Contract(SearchSpaceContract):
    def __init__(self, space: Callable[[], SearchSpace]) -> None:
        self.space = space

    def space(self) -> SearchSpace:
        raise NotImplementedError

    def tasks(self) -> Sequence[Task]:
        return [TASK]

    def loss(self, network: nn.Module, task: Task) -> Tensor:
        return network(torch.randn(5, task.in_channels)).square().mean()


BROKEN = {
    "test_size_is_the_number_of_architectures": (WrongSize, {}),
    "test_survives_pickling": (Unpicklable, {}),
    "test_a_trial_suggests_the_active_choices_and_no_others": (Stored, {"sampler": "RandomSampler"}),
    "test_operations_come_in_order_and_name_every_active_choice": (SilentOperation, {}),
    "test_the_graph_is_acyclic_and_labelled": (BackwardsOperations, {}),
    "test_every_option_builds_and_trains": (UnusedWeight, {"task": TASK}),
    "test_a_network_is_settled_by_the_seed": (OwnRandomness, {"task": TASK}),
    "test_a_network_survives_its_state_dict": (StateOutsideStateDict, {"task": TASK}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_is_found(name: str) -> None:
    space, arguments = BROKEN[name]
    getattr(Contract(Sound), name)(**arguments)
    with pytest.raises((AssertionError, AttributeError, TypeError, ValueError)):
        getattr(Contract(space), name)(**arguments)


def test_an_option_that_breaks_the_loss_is_found_and_named() -> None:
    with pytest.raises(AssertionError, match="'width': 8"):
        Contract(InfiniteOption).test_every_option_builds_and_trains(TASK)


def test_memory_given_to_a_network_that_is_then_refused_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match="memory"):
        Contract(BuildsOnTheCpu).test_a_parameter_cap_is_enforced_before_building(TASK, monkeypatch)
