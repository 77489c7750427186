from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import optuna
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from automl_plugins import Architecture, Choice, Operation, SearchSpace, Task
from automl_plugins.spaces.choice import Value
from automl_plugins.spaces.task import Level
from automl_plugins.testing import SearchSpaceContract, architecture_with, enumerate_space

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


class PerceptronSpace(SearchSpace):
    """Up to three layers, each with its own width: the widths of layers that are not there are not chosen."""

    name: ClassVar[str] = "toy-perceptron"
    version: ClassVar[int] = 1
    levels: ClassVar[frozenset[Level]] = frozenset(("graph", "node"))

    def __init__(self, max_parameters: int | None = None) -> None:
        depths = (1, 2, 3)
        widths = [
            Choice(f"layer{layer}.width", (4, 8), {"depth": tuple(depth for depth in depths if depth > layer)})
            for layer in range(3)
        ]
        choices = (Choice("depth", depths), *widths, Choice("act", tuple(ACTIVATIONS)), Choice("bias", (True, False)))
        super().__init__(choices, max_parameters)

    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        layers: list[nn.Module] = []
        channels = task.in_channels
        for layer in range(architecture["depth"]):
            width = architecture[f"layer{layer}.width"]
            layers += nn.Linear(channels, width, bias=architecture["bias"]), ACTIVATIONS[architecture["act"]]()
            channels = width
        return nn.Sequential(*layers, nn.Linear(channels, task.out_channels, bias=architecture["bias"]))

    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        operations = [Operation("input", "input")]
        for layer in range(architecture["depth"]):
            name = f"layer{layer}.width"
            label = f"{architecture[name]} {architecture['act']}"
            operations.append(Operation(f"layer{layer}", label, (operations[-1].name,), (name, "act", "bias")))
        return [*operations, Operation("output", "output", (operations[-1].name,), ("depth",))]


class TestPerceptronSpace(SearchSpaceContract):
    def space(self) -> SearchSpace:
        return PerceptronSpace()

    def tasks(self) -> Sequence[Task]:
        return [Task("graph", "regression", 3, 1), Task("node", "classes", 5, 4)]

    def loss(self, network: nn.Module, task: Task) -> Tensor:
        return network(torch.randn(6, task.in_channels)).square().mean()


class AnySpace(SearchSpace):
    """Choices, whatever they are; its networks have one weight for each choice made."""

    name: ClassVar[str] = "any"
    version: ClassVar[int] = 7
    levels: ClassVar[frozenset[Level]] = frozenset(("graph",))

    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        return nn.Linear(len(architecture), task.out_channels)

    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        return [Operation("input", "input"), Operation("all", "all", ("input",), tuple(architecture))]


@st.composite
def spaces(draw: st.DrawFn) -> AnySpace:
    """Spaces of up to five choices that depend on earlier ones in any way."""
    options = st.lists(st.sampled_from(["a", "b", 0, 1, 2, 0.5, None]), min_size=1, max_size=3, unique=True)
    choices: list[Choice] = []
    for position in range(draw(st.integers(1, 5))):
        # Up to two alternatives, each of which may require two choices.
        alternatives = (
            draw(st.lists(st.lists(st.sampled_from(choices), min_size=1, max_size=2, unique=True), max_size=2))
            if choices
            else []
        )
        requires = [
            {
                parent.name: tuple(draw(st.lists(st.sampled_from(parent.options), min_size=1, unique=True)))
                for parent in parents
            }
            for parents in alternatives
        ]
        choices.append(Choice(f"group{position % 2}.choice{position}", tuple(draw(options)), requires))
    return AnySpace(choices)


def every_valid(space: SearchSpace) -> list[Architecture]:
    """What `validate` accepts of all ways to give each choice an option or nothing."""
    absent = object()
    found = []
    for values in itertools.product(*((absent, *choice.options) for choice in space.choices)):
        named = {choice.name: value for choice, value in zip(space.choices, values, strict=True) if value is not absent}
        architecture = Architecture(space.name, space.version, named)
        try:
            space.validate(architecture)
        except ValueError:
            continue
        found.append(architecture)
    return found


class TestEverySpace:
    @given(spaces())
    def test_size_counts_what_validate_accepts(self, space: AnySpace) -> None:
        valid = every_valid(space)
        assert space.size == len(valid)
        assert set(enumerate_space(space)) == set(valid)

    @given(spaces(), st.integers(0, 2**32))
    def test_samples_and_mutations_are_among_the_valid(self, space: AnySpace, seed: int) -> None:
        valid = set(every_valid(space))
        generator = np.random.default_rng(seed)
        architecture = space.sample(generator)
        assert architecture in valid
        if any(len(choice.options) > 1 and choice.name in architecture for choice in space.choices):
            mutated = space.mutate(architecture, generator)
            assert mutated in valid
            assert mutated in set(space.neighbours(architecture))
        else:
            assert list(space.neighbours(architecture)) == []
            with pytest.raises(ValueError, match="second option"):
                space.mutate(architecture, generator)

    @given(spaces(), st.integers(0, 2**32))
    def test_neighbours_differ_in_one_choice_that_both_make(self, space: AnySpace, seed: int) -> None:
        architecture = space.sample(np.random.default_rng(seed))
        expected = {
            other
            for other in every_valid(space)
            if sum(architecture[name] != other[name] for name in architecture.keys() & other.keys()) == 1
        }
        neighbours = list(space.neighbours(architecture))
        assert len(neighbours) == len(set(neighbours))
        assert set(neighbours) <= expected
        for neighbour in neighbours:
            assert architecture in set(space.neighbours(neighbour))

    @given(spaces())
    def test_encodings_are_one_hot_and_injective(self, space: AnySpace) -> None:
        valid = every_valid(space)
        encodings = np.stack([space.encode(architecture) for architecture in valid])
        assert encodings.shape == (len(valid), space.encoding_length)
        assert len(np.unique(encodings, axis=0)) == len(valid)
        assert encodings.sum(axis=1).tolist() == [len(architecture) for architecture in valid]

    @given(spaces(), st.integers(0, 2**32))
    def test_optuna_and_json_give_the_architecture_back(self, space: AnySpace, seed: int) -> None:
        architecture = space.sample(np.random.default_rng(seed))
        assert space.suggest(optuna.trial.FixedTrial(dict(architecture))) == architecture
        again = Architecture.from_json(architecture.to_json())
        space.validate(again)
        assert again == architecture

    @given(spaces(), st.integers(0, 2**32), st.integers(0, 2**32))
    def test_equal_architectures_mutate_alike(self, space: AnySpace, seed: int, mutation: int) -> None:
        architecture = space.sample(np.random.default_rng(seed))
        shuffled = Architecture(space.name, space.version, dict(reversed(list(architecture.items()))))
        try:
            mutated = space.mutate(architecture, np.random.default_rng(mutation))
        except ValueError:
            return
        assert mutated == space.mutate(shuffled, np.random.default_rng(mutation))

    @given(spaces(), st.data())
    def test_an_option_can_be_asked_for_wherever_it_can_be_had(self, space: AnySpace, data: st.DataObject) -> None:
        choice = data.draw(st.sampled_from(space.choices))
        value = data.draw(st.sampled_from(choice.options))
        if any(choice.name in architecture for architecture in every_valid(space)):
            architecture = architecture_with(space, choice.name, value, np.random.default_rng(0))
            space.validate(architecture)
            assert architecture[choice.name] == value
        else:
            with pytest.raises(ValueError, match=choice.name):
                architecture_with(space, choice.name, value, np.random.default_rng(0))

    @given(spaces(), st.integers(0, 2**32))
    def test_graphs_have_a_column_for_each_option_of_a_class(self, space: AnySpace, seed: int) -> None:
        architecture = space.sample(np.random.default_rng(seed))
        graph = space.graph(architecture)
        assert graph.features.shape == (2, len(space.vocabulary))
        assert graph.features[0].nonzero().tolist() == [[0]]
        told = {space.vocabulary[column] for column in graph.features[1].nonzero().flatten().tolist()}
        assert told == {(name.rpartition(".")[2], value) for name, value in architecture.items()}


def test_a_size_beyond_floats_is_exact() -> None:
    space = AnySpace([Choice(f"choice{position}", tuple(range(10))) for position in range(40)])
    assert space.size == 10**40


def test_sampling_is_uniform_over_the_options_of_a_choice() -> None:
    space = AnySpace([Choice("a", (1, 2, 3, 4))])
    generator = np.random.default_rng(0)
    counts = np.bincount([space.sample(generator)["a"] for _ in range(4000)], minlength=5)[1:]
    assert np.abs(counts - 1000).max() < 150  # five standard deviations


def test_neighbours_come_one_by_one() -> None:
    # Turning `deep` on opens 4**40 architectures: nobody can list them first.
    inner = [Choice(f"choice{position}", (1, 2, 3, 4), {"deep": (True,)}) for position in range(40)]
    space = AnySpace([Choice("deep", (False, True)), *inner])
    neighbours = space.neighbours(space.architecture({"deep": False}))
    assert [next(neighbours)["deep"] for _ in range(100)] == [True] * 100


def test_a_mutation_draws_what_it_opens_and_keeps_the_rest() -> None:
    space = PerceptronSpace()
    architecture = space.architecture({"depth": 1, "layer0.width": 4, "act": "relu", "bias": True})
    generator = np.random.default_rng(0)
    deeper = {mutated for _ in range(200) if (mutated := space.mutate(architecture, generator))["depth"] == 3}
    assert {(each["layer1.width"], each["layer2.width"]) for each in deeper} == {(4, 4), (4, 8), (8, 4), (8, 8)}
    assert {each["layer0.width"] for each in deeper} == {4}


def test_values_are_put_into_the_order_of_the_choices() -> None:
    space = PerceptronSpace()
    architecture = space.architecture({"bias": True, "act": "relu", "layer0.width": 4, "depth": 1})
    assert list(architecture) == ["depth", "layer0.width", "act", "bias"]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"dept": 1}, "no choice 'dept'; did you mean 'depth'?"),
        ({"depth": 1}, "choice 'layer0.width' is missing; options: 4, 8"),
        ({"depth": 1, "layer0.width": 5}, "choice 'layer0.width' has no option 5; options: 4, 8"),
        ({"depth": True}, "choice 'depth' has no option True"),
        ({"depth": 1, "layer0.width": 4, "layer1.width": 4}, "'layer1.width' is not active here: it requires depth in"),
    ],
)
def test_a_wrong_architecture_is_told_what_is_wrong(values: dict[str, Value], complaint: str) -> None:
    import re

    with pytest.raises(ValueError, match=re.escape(complaint)):
        PerceptronSpace().architecture(values)


@pytest.mark.parametrize("use", ["mutate", "neighbours", "encode", "graph", "network", "num_parameters"])
def test_nothing_is_done_with_an_architecture_of_another_space(use: str) -> None:
    space, foreign = PerceptronSpace(), Architecture("other", 1, {"depth": 1})
    uses = {
        "mutate": lambda: space.mutate(foreign, np.random.default_rng(0)),
        "neighbours": lambda: list(space.neighbours(foreign)),
        "encode": lambda: space.encode(foreign),
        "graph": lambda: space.graph(foreign),
        "network": lambda: space.network(foreign, Task("graph", "regression", 3, 1)),
        "num_parameters": lambda: space.num_parameters(foreign, Task("graph", "regression", 3, 1)),
    }
    with pytest.raises(ValueError, match="'other', not of 'toy-perceptron'"):
        uses[use]()


@pytest.mark.parametrize(
    ("choices", "complaint"),
    [
        ([Choice("a", (1,)), Choice("a", (2,))], "one name"),
        ([Choice("b", (1,), {"a": (1,)}), Choice("a", (1,))], "'b' requires 'a', which is no earlier choice"),
        ([Choice("b", (1,), {"a": (1,)})], "'b' requires 'a', which is no earlier choice"),
        ([Choice("b", (1,), {"b": (1,)})], "'b' requires 'b', which is no earlier choice"),
        ([Choice("a", (1, 2)), Choice("b", (1,), {"a": (3,)})], "'a' has no option 3"),
        ([Choice("a", (1, 2)), Choice("b", (1,), {"a": (True,)})], "'a' has no option True"),
    ],
)
def test_choices_that_make_no_space_are_refused(choices: list[Choice], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        AnySpace(choices)


def test_a_cap_below_one_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match="max_parameters is at least 1 or null; got 0"):
        PerceptronSpace(max_parameters=0)


@pytest.mark.parametrize("generator", [random.Random(0), 0, None, np.random])
def test_drawing_needs_a_generator(generator: object) -> None:
    with pytest.raises(TypeError, match=r"numpy.random.Generator or a torch.Generator"):
        PerceptronSpace().sample(generator)


def test_a_class_called_like_the_fixed_column_has_columns_of_its_own() -> None:
    space = AnySpace([Choice("operation", ("fixed", "other"))])
    graph = space.graph(space.architecture({"operation": "fixed"}))
    assert graph.features.tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def test_a_fixed_trial_with_a_value_that_is_no_option_is_refused() -> None:
    space = AnySpace([Choice("a", (1, 2))])
    with pytest.raises(ValueError, match="a"):
        space.suggest(optuna.trial.FixedTrial({"a": True}))
