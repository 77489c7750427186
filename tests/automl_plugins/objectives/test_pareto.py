from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna._hypervolume import compute_hypervolume

from automl_plugins.objectives.pareto import crowding_distances, dominance_ranks, hypervolume, pareto_front

POINTS = st.integers(1, 3).flatmap(
    lambda objectives: st.lists(st.tuples(*[st.integers(0, 6).map(float)] * objectives), min_size=1, max_size=14).map(
        np.array
    )
)


def dominates(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((one >= other).all() and (one > other).any())


def test_a_front_worked_out_by_hand() -> None:
    scores = np.array([[1, 4], [2, 3], [2, 2], [4, 1], [1, 4], [0, 0]])
    assert pareto_front(scores).tolist() == [True, True, False, True, True, False]
    assert dominance_ranks(scores).tolist() == [0, 0, 1, 0, 0, 2]
    # Three steps of 1 x 4, 1 x 3 and 2 x 1.
    assert hypervolume(scores, np.zeros(2)) == 4 + 3 + 2


@given(POINTS)
def test_the_front_is_what_nothing_dominates(scores: np.ndarray) -> None:
    expected = [not any(dominates(other, one) for other in scores) for one in scores]
    assert pareto_front(scores).tolist() == expected


@given(POINTS)
def test_each_rank_is_the_front_of_what_the_lower_ranks_leave(scores: np.ndarray) -> None:
    ranks = dominance_ranks(scores)
    for rank in range(ranks.max() + 1):
        left = scores[ranks >= rank]
        assert (pareto_front(left) == (ranks[ranks >= rank] == rank)).all()


@given(POINTS)
def test_the_hypervolume_is_optunas(scores: np.ndarray) -> None:
    reference = np.full(scores.shape[1], 0.5)
    better = scores[(scores > reference).all(axis=1)]
    # Optuna's is for losses.
    expected = compute_hypervolume(-better, -reference) if len(better) else 0.0
    assert hypervolume(scores, reference) == pytest.approx(expected)


def test_crowding_is_least_in_the_middle_of_a_crowd() -> None:
    scores = np.array([[0.0, 10.0], [1.0, 9.0], [2.0, 8.0], [10.0, 0.0]])
    distances = crowding_distances(scores)
    assert np.isinf(distances[[0, 3]]).all()
    assert distances[1] == pytest.approx(0.4)
    assert distances[2] == pytest.approx(1.8)


def test_points_of_one_value_are_no_division_by_zero() -> None:
    assert np.isinf(crowding_distances(np.ones((1, 2)))).all()
    assert np.isfinite(crowding_distances(np.ones((4, 2)))[1:3]).all()


def test_a_reference_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 2\) need a reference of shape \(2,\)"):
        hypervolume(np.zeros((3, 2)), np.zeros(3))


@given(POINTS, st.integers(0, 13), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_a_point_that_is_not_a_number_changes_nothing(scores: np.ndarray, place: int, value: float) -> None:
    place %= len(scores) + 1
    bad = scores.max(axis=0) + 1
    bad[-1] = value
    with_it = np.insert(scores, place, bad, axis=0)
    reference = np.full(scores.shape[1], -1.0)
    assert not pareto_front(with_it)[place]
    assert np.delete(dominance_ranks(with_it), place).tolist() == dominance_ranks(scores).tolist()
    assert dominance_ranks(with_it)[place] > dominance_ranks(scores).max()
    assert np.delete(crowding_distances(with_it), place).tolist() == crowding_distances(scores).tolist()
    assert crowding_distances(with_it)[place] == 0
    assert hypervolume(with_it, reference) == hypervolume(scores, reference)


def test_of_points_that_are_no_numbers_none_is_on_the_front() -> None:
    assert not pareto_front(np.full((3, 2), np.nan)).any()
    assert pareto_front(np.zeros((0, 2))).tolist() == []
    with pytest.raises(ValueError, match="the reference is of finite numbers"):
        hypervolume(np.zeros((1, 2)), np.array([0, np.nan]))
