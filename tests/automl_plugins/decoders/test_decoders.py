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
from automl_plugins.decoders.base import Evaluation, Found
from automl_plugins.decoders.best_sampled import BestSampled, ranked
from automl_plugins.decoders.most_likely import MostLikely
from automl_plugins.errors import DivergedError
from automl_plugins.supernets.rules import argmax, strongest_inputs
from automl_plugins.supernets.searchable import Searchable
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
    searchable.set_logits(architecture)

    def never() -> float:
        raise AssertionError("it evaluates nothing")

    assert MostLikely()(searchable, never) == [Found(architecture)]


def test_the_best_sampled_architecture_has_the_lowest_loss_and_the_searchable_is_left_as_it_was(
    searchable: Searchable,
) -> None:
    best = searchable.space.sample(np.random.default_rng(3))
    before = {name: value.clone() for name, value in searchable.state_dict().items()}
    gates = searchable.gates().matrix.clone()
    # The space has 40 architectures.
    first, *others = BestSampled(samples=400)(searchable, lambda: planted(searchable, best))
    assert first == Found(best, {"search_loss": 0.0})
    assert all(each.figures["search_loss"] > 0 for each in others)
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

    assert {each.architecture["depth"] for each in BestSampled(samples=20)(searchable, evaluate)} == {2}


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


# Ranking by successive halving.


class Noisy(Evaluation):
    """Losses of batches: each architecture's own, and noise that is settled by the architecture and the batch."""

    def __init__(self, searchable: Searchable, batches: int, noise: float = 0.0) -> None:
        super().__init__(self.look, batches, lambda line: self.lines.append(line))
        self.searchable, self.noise = searchable, noise
        self.lines: list[str] = []
        self.asked: list[tuple[Architecture, int]] = []

    def look(self, batch: int) -> float | None:
        held = self.searchable.space.decode(self.searchable.gates())
        self.asked.append((held, batch))
        return self.own(held) + self.noise * float(np.random.default_rng([self.number(held), batch]).normal())

    def number(self, architecture: Architecture) -> int:
        return list(enumerate_space(self.searchable.space)).index(architecture)

    def own(self, architecture: Architecture) -> float:
        return float(self.number(architecture))


@pytest.mark.parametrize(("candidates", "batches"), [(40, 16), (40, 1), (3, 16), (2, 8), (1, 4), (17, 5)])
def test_ranking_reads_no_batch_twice_and_judges_the_last_two_on_all(
    searchable: Searchable, candidates: int, batches: int
) -> None:
    every = list(enumerate_space(searchable.space))[:candidates]
    evaluation = Noisy(searchable, batches)
    assert ranked(every, searchable, evaluation)[0].architecture == every[0], "the lowest loss without noise"
    assert len(set(evaluation.asked)) == len(evaluation.asked)
    looks = {each: [batch for held, batch in evaluation.asked if held == each] for each in every}
    assert all(batches_of == list(range(len(batches_of))) for batches_of in looks.values()), "the same ones for all"
    on_all = [each for each in every if len(looks[each]) == batches]
    assert len(on_all) >= min(2, candidates)
    assert len(evaluation.asked) <= candidates * (1 + math.log2(batches)) + 2 * batches
    assert f"ranking {candidates} architectures on the search data: {candidates} left, 0" in evaluation.lines[0]


def test_ranking_in_halves_finds_what_a_full_comparison_finds_nearly_always(searchable: Searchable) -> None:
    every = list(enumerate_space(searchable.space))
    regrets = []
    for noise in (0.5, 2.0):
        evaluation = Noisy(searchable, 16, noise)
        means = {each: [] for each in every}
        for each in every:
            with searchable.hold(each):
                means[each] = [evaluation.look(batch) for batch in range(16)]
        full = min(every, key=lambda each: sum(means[each]))
        found = ranked(every, searchable, evaluation)[0].architecture
        regrets.append(abs(sum(means[found]) - sum(means[full])) / 16)
    # A quarter of the noise of a single batch at most.
    assert regrets[0] == 0
    assert regrets[1] <= 0.5


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_on_any_batch_ranks_last(searchable: Searchable, bad: float) -> None:
    every = list(enumerate_space(searchable.space))[:8]

    class Diverging(Noisy):
        def look(self, batch: int) -> float | None:
            loss = super().look(batch)
            # The best ones by far, until the last batch.
            return bad if batch == 3 and self.asked[-1][0] in every[:2] else loss

    assert ranked(every, searchable, Diverging(searchable, 4))[0].architecture == every[2]


def test_where_nothing_has_a_finite_loss_there_is_no_winner(searchable: Searchable) -> None:
    for loss in (math.nan, math.inf, None):
        with pytest.raises(DivergedError, match=r"none of .* architectures has a finite loss"):
            BestSampled(samples=5)(searchable, Evaluation(lambda _, loss=loss: loss, 4))
    # Batches that no step gave a loss for are left out.
    evaluation = Evaluation(lambda batch: None if batch == 0 else 1.0, 4)
    BestSampled(samples=5)(searchable, evaluation)
    assert evaluation() == 1.0


def test_best_sampled_draws_within_limits() -> None:
    space = PerceptronSpace()
    cap = sorted(space.num_parameters(each, TASK) for each in enumerate_space(space))[15]
    searchable = PerceptronSpace(max_parameters=cap).searchable(TASK)
    searchable.close("activation", "relu")
    seen = []

    def look(batch: int) -> float:
        seen.append(searchable.space.decode(searchable.gates()))
        # The best ones by far are closed or beyond the cap.
        return -float(space.num_parameters(seen[-1], TASK))

    found = BestSampled(samples=50)(searchable, Evaluation(look))[0].architecture
    assert all(searchable.limits.admits(each) for each in seen)
    assert space.num_parameters(found, TASK) == max(space.num_parameters(each, TASK) for each in seen) <= cap
