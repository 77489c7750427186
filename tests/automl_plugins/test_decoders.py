"""How scores become an architecture."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from perceptron_space.space import PerceptronSpace

from automl_plugins import Architecture, Choice, Task
from automl_plugins.decoders import BestSampled, MostLikely, argmax, strongest_inputs
from automl_plugins.searchable import Searchable
from automl_plugins.testing import enumerate_space

TASK = Task("pixel", "regression", 3, 1)


@pytest.fixture
def searchable() -> Searchable:
    torch.manual_seed(0)
    return PerceptronSpace().searchable(TASK)


# Rules.


def test_argmax_takes_the_highest_option_of_every_active_choice_and_the_first_of_equals() -> None:
    choices = (Choice("deep", (False, True)), Choice("inner", (2, 3, 4), {"deep": (True,)}), Choice("outer", (5, 6)))
    scores = {"deep": torch.tensor([0.0, 1.0]), "inner": torch.tensor([0.0, 2.0, 2.0]), "outer": torch.zeros(2)}
    assert argmax(choices, scores) == {"deep": True, "inner": 3, "outer": 5}
    assert argmax(choices, {**scores, "deep": torch.tensor([1.0, 0.0])}) == {"deep": False, "outer": 5}


@given(data=st.data(), inputs=st.integers(1, 5), operations=st.integers(1, 4), count=st.integers(1, 6))
def test_the_strongest_inputs_are_those_that_brute_force_finds(
    data: st.DataObject, inputs: int, operations: int, count: int
) -> None:
    # Few different scores, so that many are equal.
    row = st.lists(st.sampled_from((0.0, 0.1, 0.2, 0.5)), min_size=operations, max_size=operations)
    scores = data.draw(st.lists(row, min_size=inputs, max_size=inputs))
    kept = min(count, inputs)
    # The subset whose best operations score highest in total, the earliest of equals.
    best = max(itertools.combinations(range(inputs), kept), key=lambda some: sum(max(scores[each]) for each in some))
    expected = [(each, scores[each].index(max(scores[each]))) for each in best]
    found = strongest_inputs(torch.tensor(scores, dtype=torch.float64), count)
    assert sum(scores[each][operation] for each, operation in found) == pytest.approx(
        sum(scores[each][operation] for each, operation in expected)
    )
    assert [each for each, _ in found] == sorted({each for each, _ in found})
    assert all(operation == scores[each].index(max(scores[each])) for each, operation in found)
    # The earlier input wins among equals.
    assert not any(
        max(scores[left]) >= max(scores[each]) and left < each
        for each, _ in found
        for left in range(inputs)
        if left not in {one for one, _ in found}
    )


def test_one_hot_scores_of_every_architecture_decode_to_it() -> None:
    space = PerceptronSpace()
    for architecture in enumerate_space(space):
        assert space.decode(space.gates(architecture)) == architecture
        assert (
            space.decode({name: 7.0 * gate - 3.0 for name, gate in space.gates(architecture).items()}) == architecture
        )


# Decoders.


def planted(searchable: Searchable, best: Architecture) -> float:
    """A loss that is lower the more gates agree with those of `best`."""
    wanted = searchable.space.gates(best).matrix
    return float((searchable.gates().matrix.detach() - wanted).abs().sum())


def test_the_most_likely_architecture_is_the_spaces_own_decoding(searchable: Searchable) -> None:
    architecture = searchable.space.sample(np.random.default_rng(3))
    searchable.prefer(architecture)

    def never() -> float:
        raise AssertionError("it evaluates nothing")

    assert MostLikely()(searchable, never) == architecture


def test_the_best_sampled_architecture_has_the_lowest_loss_and_the_searchable_is_left_as_it_was(
    searchable: Searchable,
) -> None:
    best = searchable.space.sample(np.random.default_rng(3))
    before = {name: value.clone() for name, value in searchable.state_dict().items()}
    gates = searchable.gates().matrix.clone()
    # The space has 40 architectures.
    assert BestSampled(samples=400)(searchable, lambda: planted(searchable, best)) == best
    assert torch.equal(searchable.gates().matrix, gates)
    assert all(torch.equal(value, before[name]) for name, value in searchable.state_dict().items())


def test_each_sampled_architecture_is_evaluated_once_and_the_draws_are_settled_by_the_seed(
    searchable: Searchable,
) -> None:
    seen = []

    def evaluate() -> float:
        seen.append(searchable.space.decode(searchable.gates()))
        return 0.0

    found = [BestSampled(samples=30, seed=seed)(searchable, evaluate) for seed in (1, 1, 2)]
    assert found[0] == found[1]
    third = len(seen) // 3
    assert len(set(seen[:third])) == third < 30
    assert seen[:third] == seen[third : 2 * third] != seen[2 * third :]


def test_an_architecture_whose_loss_is_not_a_number_is_not_the_best(searchable: Searchable) -> None:
    def evaluate() -> float:
        depth = searchable.space.decode(searchable.gates())["depth"]
        return math.nan if depth == 1 else 5.0

    assert BestSampled(samples=20)(searchable, evaluate)["depth"] == 2


def test_an_error_in_the_evaluation_leaves_the_searchable_as_it_was(searchable: Searchable) -> None:
    gates = searchable.gates().matrix.clone()

    def evaluate() -> float:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        BestSampled(samples=3)(searchable, evaluate)
    assert torch.equal(searchable.gates().matrix, gates)


def test_fewer_than_one_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="samples is at least 1; got 0"):
        BestSampled(samples=0)
