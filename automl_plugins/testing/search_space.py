"""The contract that every search space keeps, as a test suite to subclass.

A space of your own is proven by three methods in a test file of your own::

    from automl_plugins.testing import SearchSpaceContract

    class TestPerceptronSpace(SearchSpaceContract):
        def space(self):
            return PerceptronSpace()

        def tasks(self):
            return [Task("pixel", "regression", in_channels=3, out_channels=1)]

        def loss(self, network, task):
            image = torch.randn(4, task.in_channels, 1, 1)
            return network(image).square().mean()

and pytest, which runs what `SearchSpaceContract` says of it. For the full story of a failed assertion,
put `pytest.register_assert_rewrite("automl_plugins.testing")` into your `conftest.py`.
"""

from __future__ import annotations

import copy
import io
import itertools
import json
import math
import pickle
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from automl_plugins.errors import ParameterCapError
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Value
from automl_plugins.spaces.enumeration import covering, enumerate_space
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Level, Task

if TYPE_CHECKING:
    from automl_plugins.spaces.draws import Generator


def _torch_generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


_GENERATORS: Mapping[str, Callable[[int], Generator]] = {"numpy": np.random.default_rng, "torch": _torch_generator}


class SearchSpaceContract(ABC):
    """The promises of every search space; subclass it as `Test...` and give it three methods.

    `space`, `tasks` and `loss` are called anew for each test. The tests over tasks run once for
    each of them.
    """

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

    # The space.

    def test_says_what_it_is(self) -> None:
        space = self.space()
        assert isinstance(space.name, str)
        assert space.name
        assert isinstance(space.version, int)
        assert space.levels, "a space has networks for at least one level"
        assert space.levels <= set(get_args(Level))
        assert {task.level for task in self.tasks()} == space.levels, "tasks() covers each level of the space"

    def test_size_is_the_number_of_architectures(self) -> None:
        space = self.space()
        assert type(space.size) is int
        assert space.size > 0
        if space.size <= self.enumerable:
            every = list(enumerate_space(space))
            assert space.size == len(every) == len(set(every))
            for architecture in every:
                space.validate(architecture)

    def test_survives_pickling(self) -> None:
        space = self.space()
        again = pickle.loads(pickle.dumps(space))
        assert type(again) is type(space)
        assert (again.name, again.version, again.choices) == (space.name, space.version, space.choices)
        for architecture in self._drawn(space):
            again.validate(architecture)

    def test_every_choice_can_be_made(self) -> None:
        space = self.space()
        for architecture in covering(space, np.random.default_rng(0)):
            space.validate(architecture)

    # Ways to an architecture.

    def test_samples_are_valid_and_settled_by_the_generator(self, generators: Callable[[int], Generator]) -> None:
        space = self.space()
        one, two = generators(1), generators(1)
        torch_state, numpy_state = torch.get_rng_state(), _numpy_state()
        for _ in range(self.samples):
            architecture = space.sample(one)
            space.validate(architecture)
            assert architecture == space.sample(two)
        assert torch.equal(torch_state, torch.get_rng_state()), "sample() used torch's global generator"
        assert numpy_state == _numpy_state(), "sample() used NumPy's global generator"

    def test_a_mutation_changes_one_choice_and_is_a_neighbour(self, generators: Callable[[int], Generator]) -> None:
        space = self.space()
        one, two = generators(2), generators(2)
        for architecture in self._drawn(space):
            if not any(len(choice.options) > 1 for choice in space.choices if choice.name in architecture):
                with pytest.raises(ValueError, match="second option"):
                    space.mutate(architecture, one)
                continue
            mutated = space.mutate(architecture, one)
            space.validate(mutated)
            assert mutated == space.mutate(architecture, two)
            kept = architecture.keys() & mutated.keys()
            assert len([name for name in kept if architecture[name] != mutated[name]]) == 1
            neighbours = self._neighbours(space, architecture)
            assert mutated in neighbours or len(neighbours) == self.enumerable

    def test_neighbours_are_valid_and_differ(self) -> None:
        space = self.space()
        for architecture in self._drawn(space)[:5]:
            neighbours = self._neighbours(space, architecture)
            assert len(set(neighbours)) == len(neighbours)
            assert architecture not in neighbours
            for neighbour in neighbours:
                space.validate(neighbour)

    @pytest.mark.parametrize("sampler", ["RandomSampler", "TPESampler"])
    def test_a_trial_suggests_the_active_choices_and_no_others(self, sampler: str) -> None:
        import optuna

        space = self.space()
        study = optuna.create_study(sampler=getattr(optuna.samplers, sampler)(seed=0))
        for number in range(15):  # TPE draws at random for its first ten trials
            trial = study.ask()
            architecture = space.suggest(trial)
            space.validate(architecture)
            assert trial.params == dict(architecture)
            study.tell(trial, float(number % 4))

    def test_a_fixed_or_enqueued_trial_gives_the_architecture_back(self) -> None:
        import optuna

        space = self.space()
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        for architecture in self._drawn(space):
            assert space.suggest(optuna.trial.FixedTrial(dict(architecture))) == architecture
            study.enqueue_trial(dict(architecture))
            trial = study.ask()
            assert space.suggest(trial) == architecture
            assert Architecture(space.name, space.version, study.trials[-1].params) == architecture

    # An architecture.

    def test_an_architecture_survives_json_and_pickling(self) -> None:
        space = self.space()
        for architecture in self._drawn(space):
            for again in (
                Architecture.from_json(architecture.to_json()),
                pickle.loads(pickle.dumps(architecture)),
                copy.deepcopy(architecture),
                space.architecture(dict(reversed(list(architecture.items())))),
            ):
                assert again == architecture
                assert hash(again) == hash(architecture)
                space.validate(again)
                assert np.array_equal(space.encode(again), space.encode(architecture))
            assert json.loads(architecture.to_json()).keys() == {"space", "version", "choices"}

    def test_what_is_not_of_the_space_is_refused_by_name(self) -> None:
        space = self.space()
        for architecture in self._drawn(space):
            values = dict(architecture)
            with pytest.raises(ValueError, match="another-space"):
                space.validate(Architecture("another-space", space.version, values))
            with pytest.raises(ValueError, match="version"):
                space.validate(Architecture(space.name, space.version + 1, values))
            with pytest.raises(ValueError, match="'no such choice'"):
                space.validate(Architecture(space.name, space.version, {**values, "no such choice": 1}))
            assert space.architecture({**values, "learning_rate_of_somebody": 1}) == architecture
            misspelt = f"{max(values, key=len)}_"
            _refused(space, {**values, misspelt: 1}, misspelt)
            for choice in space.choices:
                if choice.name in values:
                    _refused(space, {**values, choice.name: "no such option"}, choice.name)
                    _refused(space, {name: values[name] for name in values if name != choice.name}, choice.name)
                else:
                    _refused(space, {**values, choice.name: choice.options[0]}, choice.name)

    def test_encodings_have_one_length_and_tell_architectures_apart(self) -> None:
        space = self.space()
        encodings: dict[bytes, Architecture] = {}
        for architecture in self._drawn(space):
            encoding = space.encode(architecture)
            assert encoding.shape == (space.encoding_length,)
            assert encoding.dtype == np.float64
            assert np.isfinite(encoding).all()
            assert encodings.setdefault(encoding.tobytes(), architecture) == architecture

    def test_the_encoding_of_an_inactive_choice_is_zero(self) -> None:
        space = self.space()
        ends = np.cumsum([len(choice.options) for choice in space.choices])
        for architecture in self._drawn(space):
            parts = np.split(space.encode(architecture), ends[:-1])
            for choice, part in zip(space.choices, parts, strict=True):
                assert part.sum() == (choice.name in architecture)

    def test_operations_come_in_order_and_name_every_active_choice(self) -> None:
        space = self.space()
        for architecture in covering(space, np.random.default_rng(0)):
            earlier: set[str] = set()
            named: set[str] = set()
            for operation in space.operations(architecture):
                assert operation.name not in earlier, f"two operations are called {operation.name!r}"
                assert set(operation.inputs) <= earlier, f"{operation.name!r} reads what comes later"
                earlier.add(operation.name)
                named.update(operation.choices)
            assert named == set(architecture), f"operations must name the active choices: {architecture}"

    def test_the_graph_is_acyclic_and_labelled(self) -> None:
        space = self.space()
        for architecture in covering(space, np.random.default_rng(0)):
            graph = space.graph(architecture)
            operations = space.operations(architecture)
            assert graph.features.shape == (len(operations), len(space.vocabulary))
            assert graph.features.is_floating_point()
            assert (graph.features.sum(dim=1) > 0).all(), "an operation that is told by nothing"
            assert not graph.edge_index.is_floating_point()
            assert graph.edge_index.shape == (2, sum(len(operation.inputs) for operation in operations))
            assert (graph.edge_index[0] < graph.edge_index[1]).all()
            assert len(graph.labels) == len(operations)
            assert all(isinstance(label, str) and label for label in graph.labels)

    # Its network.

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


def _task_name(task: Task) -> str:
    features = "categories" if task.node_categories else "features"
    edges = "no-edge-features"
    if task.edge_channels:
        edges = "edge-categories" if task.edge_categories else "edge-features"
    return f"{task.level}-{task.target}-{features}-{edges}"


def _numpy_state() -> str:
    # Read, not used: this is how we see that nobody else uses it.
    return repr(np.random.get_state(legacy=False))  # noqa: NPY002


def _refused(space: SearchSpace, values: Mapping[str, Value], name: str) -> None:
    """Both ways in refuse the values, and the message names the choice."""
    named = re.escape(repr(name))
    text = Architecture(space.name, space.version, values).to_json()
    with pytest.raises(ValueError, match=named):
        space.validate(Architecture.from_json(text))
    with pytest.raises(ValueError, match=named):
        space.architecture(values)


def _finite(gradient: Tensor | None) -> bool:
    return gradient is not None and bool(gradient.isfinite().all())


def assert_same_state(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    """Hold that two `state_dict`s are equal, bit by bit."""
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), f"{name} differs"
