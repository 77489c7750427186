"""The methods that a test suite of spaces is given, and what its tests share."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Task

if TYPE_CHECKING:
    from automl_plugins.spaces.draws import Generator


def _torch_generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


_GENERATORS: Mapping[str, Callable[[int], Generator]] = {"numpy": np.random.default_rng, "torch": _torch_generator}


class SpaceSuite(ABC):
    """The three methods of a test suite of spaces; see `automl_plugins.testing.search_space`."""

    samples: ClassVar[int] = 30
    """The number of architectures that a test draws."""
    enumerable: ClassVar[int] = 5000
    """Spaces of at most so many architectures are counted one by one."""

    @abstractmethod
    def space(self) -> SearchSpace:
        """The space, equal at every call; give it no parameter cap."""

    @abstractmethod
    def tasks(self) -> Sequence[Task]:
        """Tasks that the space has networks for, at least one for each of its levels."""

    @abstractmethod
    def loss(self, network: nn.Module, task: Task) -> Tensor:
        """A scalar from one forward pass over data that fit the task.

        All of the network's parameters take part in it. Its data are the same whenever torch's
        global generator is seeded alike before the call.
        """

    # How pytest sees it.

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run a test that takes a `task` or a `generators` once for each of them."""
        if "task" in metafunc.fixturenames:
            metafunc.parametrize("task", list(self.tasks()), ids=_task_name)
        if "generators" in metafunc.fixturenames:
            metafunc.parametrize("generators", list(_GENERATORS.values()), ids=list(_GENERATORS))

    def _drawn(self, space: SearchSpace) -> list[Architecture]:
        generator = np.random.default_rng(0)
        return [space.sample(generator) for _ in range(self.samples)]

    def _neighbours(self, space: SearchSpace, architecture: Architecture) -> list[Architecture]:
        return list(itertools.islice(space.neighbours(architecture), self.enumerable))


def _task_name(task: Task) -> str:
    features = "categories" if task.node_categories else "features"
    edges = "no-edge-features"
    if task.edge_channels:
        edges = "edge-categories" if task.edge_categories else "edge-features"
    return f"{task.level}-{task.target}-{features}-{edges}"


def assert_same_state(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    """Hold that two `state_dict`s are equal, bit by bit."""
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), f"{name} differs"
