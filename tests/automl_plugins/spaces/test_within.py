"""Spaces that are narrowed to a task and a cap, on the real spaces."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from perceptron_space.space import PerceptronSpace

from automl_plugins import Choice, ParameterCapError, SearchSpace, Task
from automl_plugins.samplers import ControllerSampler, EvolutionSampler, PredictorSampler, ReinforceSampler
from automl_plugins.spaces.choice import Value
from automl_plugins.spaces.enumeration import enumerate_space
from automl_plugins.spaces.limits import budget_of
from automl_plugins.spaces.narrowing import narrowed
from automl_plugins.spaces.refusal import prolong_startup
from automl_plugins.supernets.space import SupernetSpace
from gnn_space import AGNNSpace, EGNASSpace
from seg_space import AutoDeepLabSpace

GRAPH = Task("graph", "regression", 5, 1)
NODE = Task("node", "classes", 5, 3)
PIXEL = Task("pixel", "classes", 3, 4)
WAVES = Task("pixel", "regression", 3, 1)
SPACES: dict[str, tuple[Callable[[int | None], SearchSpace], Task]] = {
    "agnn": (lambda cap: AGNNSpace(layers=1, max_parameters=cap), GRAPH),
    "egnas": (lambda cap: EGNASSpace(cells=1, nodes=2, node_channels=4, edge_channels=2, max_parameters=cap), GRAPH),
    "auto-deeplab": (
        lambda cap: AutoDeepLabSpace(layers=3, blocks=1, filters=2, stem=(2, 2), max_parameters=cap),
        PIXEL,
    ),
}


def capped(name: str, rank: int) -> tuple[SearchSpace, Task, int]:
    """A space narrowed to a cap that is the `rank`-th smallest of 20 random networks' sizes."""
    make, task = SPACES[name]
    generator = np.random.default_rng(0)
    whole = make(None)
    cap = sorted(whole.num_parameters(whole.sample(generator), task) for _ in range(20))[rank]
    # Of references no limits follow here: the cap alone is looked at.
    return make(cap).within(task, {"references": None}), task, cap


@pytest.fixture(scope="module", params=[(name, rank) for name in SPACES for rank in (1, 10)], ids=str)
def case(request: pytest.FixtureRequest) -> tuple[SearchSpace, Task, int]:
    return capped(*request.param)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_what_is_drawn_keeps_the_cap(case: tuple[SearchSpace, Task, int], seed: int) -> None:
    space, task, cap = case
    generator = np.random.default_rng(seed)
    drawn = space.sample(generator)
    for architecture in (drawn, space.mutate(drawn, generator), *islice(space.neighbours(drawn), 3)):
        space.validate(architecture)
        assert space.num_parameters(architecture, task) <= cap
        space.network(architecture, task)


def test_neighbours_are_those_of_the_whole_space_within_the_cap(case: tuple[SearchSpace, Task, int]) -> None:
    space, task, cap = case
    architecture = space.sample(np.random.default_rng(0))
    expected = [
        neighbour
        for neighbour in islice(space.whole.neighbours(architecture), 200)
        if space.num_parameters(neighbour, task) <= cap
    ]
    found = list(islice(space.neighbours(architecture), 200))
    assert found[: len(expected)] == expected[: len(found)]


@pytest.fixture(scope="module", params=list(SPACES))
def tight(request: pytest.FixtureRequest) -> tuple[SearchSpace, Task]:
    """A space narrowed to limits of all figures that one of 30 random networks keeps."""
    make, task = SPACES[request.param]
    whole, generator = make(None), np.random.default_rng(0)
    open_budget = budget_of(whole, task, {"params": 1e12, "macs": 1e15, "activations": 1e15, "references": None})
    counted = [open_budget.figures(whole.sample(generator)) for _ in range(30)]
    least = min(counted, key=lambda figures: figures["macs"] * figures["activations"] * figures["params"])
    return whole.within(task, {name: float(value) for name, value in least.items()}), task


def test_every_option_that_is_offered_has_a_network_within_the_limits(tight: tuple[SearchSpace, Task]) -> None:
    space, task = tight
    assert space.budget is not None
    assert space._within is not None
    fresh = budget_of(space.whole, task, {**space.budget.limits, "references": None})
    offered = {(choice.name, option) for choice in space.choices for option in choice.options}
    witnesses = space._within.witnesses
    assert witnesses.keys() >= offered
    for name, option in offered:
        witness = witnesses[name, option]
        assert witness[name] == option
        assert fresh.admits(witness)


@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_all_limits_are_kept_by_what_is_drawn_and_decoded(tight: tuple[SearchSpace, Task], seed: int) -> None:
    space, task = tight
    generator = np.random.default_rng(seed)
    drawn = space.sample(generator)
    beyond = space.whole.sample(generator)
    found = [drawn, space.mutate(drawn, generator), space.step(drawn, generator), space.repaired(beyond, generator)]
    assert isinstance(space, SupernetSpace)
    searchable = space.searchable(task, seed=seed)
    torch.nn.init.normal_(searchable.logits, generator=torch.Generator().manual_seed(seed))
    found += [searchable.architecture(), searchable.sample(torch.Generator().manual_seed(seed))]
    for architecture in found:
        assert space.admits(architecture)


@pytest.mark.parametrize("sampler", [EvolutionSampler, ControllerSampler, ReinforceSampler, PredictorSampler])
def test_samplers_of_ours_propose_within_the_limits(sampler: type[Any]) -> None:
    space, task, _ = capped("agnn", 0)
    options = {"startup": 4} if sampler in (ControllerSampler, PredictorSampler) else {}
    study = optuna.create_study(sampler=sampler(space, **options))
    study.optimize(lambda trial: float(space.num_parameters(space.suggest(trial), task)), n_trials=8)
    assert all(trial.state is optuna.trial.TrialState.COMPLETE for trial in study.trials)


def test_what_a_foreign_sampler_proposes_beyond_is_a_broken_constraint_and_prolongs_its_startup() -> None:
    space, task, cap = capped("agnn", 1)
    sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=3)
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: float(space.num_parameters(space.suggest(trial), task)), n_trials=12)
    refused = study.get_trials(states=(optuna.trial.TrialState.PRUNED,))
    assert refused
    for trial in refused:
        excess = space.num_parameters(space.whole.architecture(trial.params), task) / cap - 1
        assert trial.constraints == {"params": pytest.approx(excess)}
        assert "max_parameters is" in trial.user_attrs["refused"]
    prolong_startup(study)
    assert sampler._n_startup_trials == 3 + len(refused)


def test_limits_are_relative_to_the_dearest_reference_unless_they_are_switched_off() -> None:
    class Named(AGNNSpace):
        def references(self, task: Task) -> dict[str, Any]:
            return {"first": self.sample(np.random.default_rng(0)), "second": self.sample(np.random.default_rng(1))}

    whole = Named(layers=1, hidden_channels=(2, 4, 64))
    counting = budget_of(whole, GRAPH, {"params": 1e12, "macs": 1e15, "activations": 1e15})
    figures = [counting.figures(one) for one in whole.references(GRAPH).values()]
    dearest = {name: max(each[name] for each in figures) for name in figures[0]}
    by_default = whole.within(GRAPH).budget
    assert by_default is not None
    assert by_default.limits == {name: 4 * value for name, value in dearest.items()}
    twice = whole.within(GRAPH, {"references": 2, "macs": 5e9}).budget
    assert twice is not None
    assert twice.limits == {**{name: 2 * value for name, value in dearest.items()}, "macs": 5e9}
    unlimited = whole.within(GRAPH, {"references": None})
    assert unlimited.choices == whole.choices


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"mac": 3}, "limits.mac is no limit; did you mean 'macs'"),
        ({"macs": 0}, "limits.macs is above 0; got 0"),
        ({"references": 0.5}, "limits.references is at least 1"),
        (
            {"activations": 1},
            "limits.activations=1 admits no network of the space 'agnn' .* activations; allow as many",
        ),
    ],
)
def test_limits_without_meaning_are_refused_in_a_line(limits: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AGNNSpace(layers=1, hidden_channels=(2, 4)).within(GRAPH, limits)


def test_suggestions_are_ordinary_parameters_and_those_beyond_the_cap_are_pruned() -> None:
    space, task, cap = capped("agnn", 5)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(lambda trial: float(space.num_parameters(space.suggest(trial), task)), n_trials=30)
    states = {trial.state for trial in study.trials}
    assert states == {optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED}
    options = {choice.name: choice.options for choice in space.choices}
    for trial in study.trials:
        assert {name: each.choices for name, each in trial.distributions.items()} == options
        architecture = space.whole.architecture(trial.params)
        is_within = space.num_parameters(architecture, task) <= cap
        assert is_within == (trial.state is optuna.trial.TrialState.COMPLETE)


@pytest.mark.parametrize("sampler_of", ["whole", "narrowed"])
def test_a_sampler_of_ours_may_be_made_of_either(sampler_of: str) -> None:
    space, task, cap = capped("agnn", 1)
    assert space.choices != space.whole.choices
    sampler = EvolutionSampler(space if sampler_of == "narrowed" else space.whole, population=3, tournament=2)
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: float(space.num_parameters(space.suggest(trial), task)), n_trials=12)
    complete = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    assert all(value.value is not None and value.value <= cap for value in complete)
    assert len(complete) == 12 or sampler_of == "whole"


def test_a_sampler_ends_where_everything_within_the_cap_was_tried() -> None:
    whole = PerceptronSpace()
    sizes = sorted(whole.num_parameters(architecture, WAVES) for architecture in enumerate_space(whole))
    space = PerceptronSpace(max_parameters=sizes[3]).within(WAVES)
    study = optuna.create_study(sampler=EvolutionSampler(space, population=3, tournament=2))
    study.optimize(lambda trial: float(space.num_parameters(space.suggest(trial), WAVES)), n_trials=10)
    assert {trial.value for trial in study.trials} == set(map(float, sizes[:4]))


def test_an_option_that_cannot_be_had_within_the_cap_is_not_offered() -> None:
    whole = PerceptronSpace(widest=64)
    counts = {architecture: whole.num_parameters(architecture, WAVES) for architecture in enumerate_space(whole)}
    cap = sorted(counts.values())[1]
    space = PerceptronSpace(widest=64, max_parameters=cap).within(WAVES)
    admitted = [architecture for architecture, count in counts.items() if count <= cap]
    for choice in space.choices:
        had = {architecture[choice.name] for architecture in admitted if choice.name in architecture}
        assert set(choice.options) == had
    assert space.size < whole.size


def test_a_cap_that_admits_nothing_is_refused() -> None:
    make, task = SPACES["agnn"]
    with pytest.raises(ParameterCapError, match=r"max_parameters=10 admits no network of the space 'agnn' .* smallest"):
        make(10).within(task)


def test_a_limit_that_admits_nothing_is_named_as_it_was_given() -> None:
    make, task = SPACES["agnn"]
    with pytest.raises(ParameterCapError, match=r"limits\.params=10 admits no network of the space 'agnn'"):
        make(None).within(task, {"params": 10})


def test_narrowing_draws_nothing_from_the_callers_generator() -> None:
    make, task = SPACES["agnn"]
    torch.manual_seed(3)
    before = torch.get_rng_state()
    make(None).within(task)  # the costs of references are counted
    assert torch.equal(torch.get_rng_state(), before)


def test_a_refusal_names_the_limit_as_it_was_given() -> None:
    space = AGNNSpace(layers=2)
    large = space.sample(np.random.default_rng(0))
    count = space.num_parameters(large, NODE)

    def refusal(space: AGNNSpace, **limits: float | None) -> str:
        open_limits: dict[str, float | None] = {"macs": None, "activations": None, "references": None}
        return str(budget_of(space, NODE, open_limits | limits).refusal(large)).partition("; ")[2]

    assert refusal(space, params=count - 1) == f"limits.params is {count - 1:,}"
    capped = AGNNSpace(layers=2, max_parameters=count - 1)
    assert refusal(capped) == f"max_parameters is {count - 1:,}"
    assert refusal(capped, params=count - 2) == f"limits.params is {count - 2:,}"
    assert refusal(capped, params=2 * count) == f"max_parameters is {count - 1:,}"


def test_a_refusal_by_an_implicit_limit_says_what_it_is_and_how_to_give_another() -> None:
    space = AGNNSpace(layers=2)
    budget = budget_of(space, NODE, {"macs": None, "activations": None})
    drawn = (space.sample(np.random.default_rng(seed)) for seed in range(500))
    told = next(reason for reason in map(budget.refusal, drawn) if reason is not None)
    assert re.fullmatch(
        r"[\d,]+ parameters; 4 times the dearest reference \(gat; limits.params gives another limit\) is [\d,]+", told
    )


def test_a_narrowed_space_is_the_same_space() -> None:
    space, task, _ = capped("egnas", 1)
    assert type(space) is EGNASSpace
    assert space.within(task).whole is space.whole
    again = pickle.loads(pickle.dumps(space))
    generators = (np.random.default_rng(3), np.random.default_rng(3))
    assert [space.sample(generators[0]) for _ in range(3)] == [again.sample(generators[1]) for _ in range(3)]
    searchable = space.searchable(task)
    assert searchable.space is space.whole
    assert searchable.choices == space.gate_choices


def test_without_a_cap_all_is_as_it_was() -> None:
    whole = EGNASSpace(cells=1, nodes=2)
    space = whole.within(GRAPH)
    assert space.choices == whole.choices
    assert space.size == whole.size
    assert space.sample(np.random.default_rng(0)) == whole.sample(np.random.default_rng(0))


def test_a_task_of_another_level_is_refused() -> None:
    with pytest.raises(ValueError, match="pixel"):
        EGNASSpace(cells=1).within(PIXEL)


class OneLayerForClasses(PerceptronSpace):
    """Perceptrons that have one layer where the task is to tell classes."""

    def options_for(self, choice: Choice, task: Task) -> Sequence[Value]:
        return (1,) if choice.name == "depth" and task.target == "classes" else choice.options


def test_options_that_a_task_does_not_admit_are_left_out_with_what_requires_them() -> None:
    whole = OneLayerForClasses()
    space = whole.within(Task("pixel", "classes", 3, 4))
    assert {choice.name for choice in whole.choices} - {choice.name for choice in space.choices} == {"layer1.width"}
    assert {architecture["depth"] for architecture in enumerate_space(space)} == {1}
    assert space.size == len(list(enumerate_space(space)))
    assert whole.within(WAVES).choices == whole.choices
    deep = {"depth": 2, "layer0.width": 8, "layer1.width": 4, "activation": "tanh"}
    with pytest.raises(ValueError, match=r"'2' not in \(1,\)"):
        space.suggest(optuna.trial.FixedTrial(deep))


def test_alternatives_are_narrowed_one_by_one() -> None:
    choices = (
        Choice("a", (1, 2, 3)),
        Choice("b", (1, 2), [{"a": (1, 2)}, {"a": (3,)}]),
        Choice("c", (1, 2), {"a": (3,), "b": (2,)}),
    )
    left = narrowed(choices, {"a": {3}})
    assert [(choice.name, choice.options, choice.alternatives) for choice in left] == [
        ("a", (1, 2), ()),
        ("b", (1, 2), ({"a": (1, 2)},)),
    ]


def test_the_supernet_of_a_narrowed_space_is_that_of_the_whole_space_with_the_rest_closed() -> None:
    task = Task("pixel", "classes", 3, 4)
    searchable = OneLayerForClasses().within(task).searchable(task)
    whole = OneLayerForClasses().supernet(task)
    assert {name: each.shape for name, each in searchable.supernet.state_dict().items()} == {
        name: each.shape for name, each in whole.state_dict().items()
    }
    deep = searchable.space.architecture({"depth": 2, "layer0.width": 8, "layer1.width": 4, "activation": "tanh"})
    with pytest.raises(ValueError, match="closed"):
        searchable.set_logits(deep)
    searchable.open("depth", 2)
    searchable.set_logits(deep)
    assert searchable.architecture() == deep
    assert searchable(torch.zeros(1, 3, 2, 2)).shape == (1, 4, 2, 2)
