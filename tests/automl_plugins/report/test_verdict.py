"""What a study says of its search, from the validation scores of the seeds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from automl_plugins.objectives.contender import Contender
from automl_plugins.objectives.standing import Standing
from automl_plugins.report.verdict import worth_lines

TOOK = {"search": {"cpu_seconds": 100.0}, "random": {"cpu_seconds": 90.0}}


def standing(found_by: str, *values: float, broken: Sequence[str] = ()) -> Standing:
    return Standing(Contender(found_by, reference=found_by, found_by=found_by), values, maximize=True, broken=broken)


def last(*standings: Standing) -> str:
    return worth_lines(standings, TOOK, "val_accuracy")[-1]


def test_two_seeds_do_not_show_what_looks_clear() -> None:
    # Three standard errors apart: with two seeds each, chance alone does that one time in ten.
    search, other = standing("search", 0.81, 0.83), standing("random search", 0.77, 0.79)
    assert last(search, other) == (
        "the search was not shown to be worth its cost: Welch's 95 % interval of a difference includes 0 (2 seeds)"
    )
    line, _ = worth_lines([search, other], TOOK, "val_accuracy")
    assert "is 0.0400 better (Welch's 95 % interval: -0.0208 to 0.1008) than random search's 0.7800" in line


def test_five_seeds_show_it() -> None:
    search = standing("search", 0.81, 0.83, 0.82, 0.82, 0.82)
    others = standing("random search", 0.77, 0.79, 0.78, 0.78, 0.78), standing("hand", 0.7, 0.71, 0.7, 0.72, 0.71)
    assert last(search, *others) == (
        "the search was worth its cost: it is ahead of all others, and Welch's 95 % intervals of the differences are "
        "above 0 (5 seeds)"
    )
    beyond = standing("hand", 0.6, 0.6, 0.6, 0.6, 0.6, broken=["params"])
    assert "ahead of all others within the limits, and" in last(search, *others, beyond)


def test_what_is_clearly_better_and_took_less_is_named() -> None:
    search, other = standing("search", 0.70, 0.71, 0.70), standing("hand", 0.80, 0.81, 0.80)
    assert last(search, other) == (
        "the search was not worth its cost: what took less was better, and Welch's 95 % interval of the difference is "
        "above 0 (3 seeds)"
    )


def test_one_seed_cannot_tell() -> None:
    assert last(standing("search", 0.9), standing("hand", 0.1)) == (
        "one seed cannot tell whether the search was worth its cost: give more of them (--seeds 5)"
    )


@pytest.mark.parametrize("values", [(0.9,), (0.9, 0.91, 0.9)])
def test_without_anything_beside_it_nothing_is_known(values: tuple[float, ...]) -> None:
    assert "there is nothing beside it" in last(standing("search", *values))
