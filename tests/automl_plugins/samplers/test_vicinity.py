"""Draws near an architecture and near the parameters beside it, against their own probabilities."""

from __future__ import annotations

import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from automl_plugins.samplers.vicinity import Vicinity, _of_parameter, draw_near, nearest
from automl_plugins.testing.toy_space import ToySpace, all_b

SMALL = ToySpace(layers=2, operations="abc")
EVERY = {
    SMALL.architecture({"depth": depth, **dict(zip(names, values, strict=True))})
    for depth, names, options in [
        (1, ("layer0.operation", "layer0.width"), ("abc", (1, 2))),
        (2, tuple(choice.name for choice in SMALL.choices[1:]), ("abc", (1, 2), "abc", (1, 2))),
    ]
    for values in product(*options)
}


@pytest.mark.parametrize("centre", [None, all_b(SMALL, 1), all_b(SMALL, 2)], ids=["none", "shallow", "deep"])
def test_architectures_are_drawn_as_often_as_they_are_likely(centre: object) -> None:
    vicinity = Vicinity(SMALL, centre, {})
    likelihoods = {each: math.exp(vicinity.log_likelihood(each, {})) for each in EVERY}
    assert len(EVERY) == SMALL.size
    assert sum(likelihoods.values()) == pytest.approx(1.0)
    generator = np.random.default_rng(0)
    drawn = Counter(vicinity.draw(generator) for _ in range(4000))
    for architecture, likelihood in likelihoods.items():
        error = math.sqrt(likelihood * (1 - likelihood) / 4000)
        assert drawn[architecture] / 4000 == pytest.approx(likelihood, abs=4.5 * error)


def test_one_choice_is_changed_on_average_however_many_there_are() -> None:
    space = ToySpace(layers=20)
    centre, generator = all_b(space, 20), np.random.default_rng(0)
    vicinity = Vicinity(space, centre, {})
    drawn = [vicinity.draw(generator) for _ in range(1000)]
    changed = [sum(each[name] != value for name, value in centre.items() if name in each) for each in drawn]
    assert np.mean(changed) == pytest.approx(1.0, abs=0.15)


NUMBERS: list[tuple[BaseDistribution, float]] = [
    (FloatDistribution(1e-4, 1e-1, log=True), 1e-3),
    (FloatDistribution(-1.0, 3.0), 3.0),
    (FloatDistribution(0.0, 1.0, step=0.125), 0.25),
    (IntDistribution(0, 100), 20),
    (IntDistribution(1, 1024, log=True), 32),
    (IntDistribution(16, 528, step=16), 64),
]


@pytest.mark.parametrize(("distribution", "centre"), NUMBERS, ids=str)
def test_numbers_are_drawn_near_their_centre_and_within_their_range(
    distribution: BaseDistribution, centre: float
) -> None:
    generator = np.random.default_rng(0)
    drawn = [draw_near(distribution, centre, generator) for _ in range(400)]
    assert all(distribution._contains(value) for value in drawn)
    assert all(type(value) is (int if isinstance(distribution, IntDistribution) else float) for value in drawn)
    # As many lie below the middle of the range as the density says.
    scale = np.log if distribution.log else np.asarray
    back = np.exp if distribution.log else np.asarray
    places = np.linspace(scale(distribution.low), scale(distribution.high), 2001)
    densities = [math.exp(_of_parameter(distribution, float(back(place)), centre)) for place in places]
    expected = np.trapezoid(densities[:1001], dx=1 / 2000)
    below = np.mean(scale(drawn) < places[1000]) + np.mean(np.isclose(scale(drawn), places[1000])) / 2
    assert below == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("centre", [1e-4, 1e-3, 1e-1])
def test_a_number_s_density_integrates_to_one_over_its_range(centre: float) -> None:
    distribution = FloatDistribution(1e-4, 1e-1, log=True)
    grid = np.geomspace(1e-4, 1e-1, 4001)
    densities = [math.exp(_of_parameter(distribution, float(value), centre)) for value in grid]
    assert np.trapezoid(densities, dx=1 / 4000) == pytest.approx(1.0, abs=1e-4)


def test_a_category_is_kept_half_of_the_time() -> None:
    distribution, generator = CategoricalDistribution(("adam", "sgd", "adamw")), np.random.default_rng(0)
    drawn = Counter(draw_near(distribution, "sgd", generator) for _ in range(1000))
    for name, likelihood in (("sgd", 0.5), ("adam", 0.25), ("adamw", 0.25)):
        assert math.exp(_of_parameter(distribution, name, "sgd")) == pytest.approx(likelihood)
        assert drawn[name] / 1000 == pytest.approx(likelihood, abs=0.06)


@pytest.mark.parametrize(
    ("distribution", "centre", "expected"),
    [
        (FloatDistribution(1e-4, 1e-1, log=True), 0.01, 0.01),
        (FloatDistribution(1e-4, 1e-1, log=True), 5.0, 0.1),
        (FloatDistribution(1e-4, 1e-1, log=True), -5.0, None),
        (FloatDistribution(0.0, 1.0), math.nan, None),
        (FloatDistribution(0.0, 1.0), "fast", None),
        (FloatDistribution(0.0, 1.0), True, None),
        (IntDistribution(16, 128, step=16), 60, 64),
        (IntDistribution(1, 9), 4, 4),
        (CategoricalDistribution(("adam", "sgd")), "sgd", "sgd"),
        (CategoricalDistribution(("adam", "sgd")), "lion", None),
    ],
    ids=str,
)
def test_a_default_is_itself_or_the_nearest_that_there_is(
    distribution: BaseDistribution, centre: object, expected: object
) -> None:
    found = nearest(distribution, centre)
    assert found == pytest.approx(expected) if isinstance(expected, float) else found == expected
