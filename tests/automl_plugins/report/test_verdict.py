"""What a study says of its search, from the scores of the seeds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from automl_plugins.objectives.contender import Contender
from automl_plugins.objectives.paired import paired_tests
from automl_plugins.objectives.standing import Standing
from automl_plugins.report.verdict import random_line, worth_lines

TOOK = {"search": {"cpu_seconds": 100.0}, "random": {"cpu_seconds": 90.0}}
MONITOR = "val_accuracy"
GIN = [0.70, 0.71, 0.70, 0.72, 0.71]
RANDOM = [0.77, 0.79, 0.78, 0.78, 0.77]
SEARCH = [0.81, 0.83, 0.82, 0.83, 0.82]


def standing(found_by: str, values: Sequence[float], broken: Sequence[str] = ()) -> Standing:
    return Standing(Contender("GIN", reference="gin", found_by=found_by), values, maximize=True, broken=broken)


def lines(beyond: Sequence[Standing] = (), test: bool = False, **values: Sequence[float]) -> list[str]:
    """The verdict on values by who found the networks; underscores are spaces."""
    given = {name.replace("_", " "): each for name, each in values.items()}
    tests = {MONITOR: paired_tests(given["search"], {k: v for k, v in given.items() if k != "search"}, maximize=True)}
    if test:
        tests["test_accuracy"] = tests[MONITOR]
    return worth_lines({name: standing(name, each) for name, each in given.items()}, tests, TOOK, MONITOR, beyond)


def test_what_is_ahead_of_all_was_worth_it() -> None:
    random, hand, last = lines(search=SEARCH, random_search=RANDOM, hand=GIN)
    assert random == (
        "search's val_accuracy 0.8220 is 0.0440 better (95 % interval 0.0372 to 0.0508, p < 0.0001) than random "
        "search's 0.7780; its trials took 100 CPU seconds, random's 90.0"
    )
    assert hand.startswith("search's val_accuracy 0.8220 is 0.1140 better (95 % interval ")
    assert hand.endswith(") than GIN's 0.7080, which took no search; the search took 100 CPU seconds")
    assert last == (
        "the search was worth its cost: it beats random search and GIN (paired t test over 5 seeds, p by Holm over 2 "
        "comparisons)"
    )


def test_what_a_hand_made_arm_took_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TOOK, "hand-made", {"cpu_seconds": 95.0})
    assert lines(search=SEARCH, hand=GIN)[0].endswith(
        " than GIN's 0.7080; its trials took 100 CPU seconds, the hand-made networks' 95.0"
    )


def test_no_evidence_is_an_answer() -> None:
    # Two standard errors apart on two seeds, by chance alone.
    line, last = lines(search=[0.81, 0.83], random_search=[0.78, 0.78])
    assert "is 0.0400 better (95 % interval -0.0871 to 0.1671, p = 0.16) than random search's 0.7800" in line
    assert last == (
        "the search was not shown to be worth its cost: no evidence that the search beats random search "
        "(paired t test over 2 seeds)"
    )
    assert "no evidence that the search beats random search; it beats GIN (" in lines(
        search=SEARCH, random_search=[0.81, 0.84, 0.80, 0.83, 0.83], hand=GIN
    )[-1]  # fmt: skip


def test_nothing_is_shown_of_either() -> None:
    last = lines(search=[0.8, 0.9, 0.7], random_search=[0.8, 0.7, 0.9], hand=[0.7, 0.9, 0.8])[-1]
    assert last.startswith(
        "the search was not shown to be worth its cost: no evidence that the search beats random search or GIN ("
    )


def test_what_is_better_is_named() -> None:
    line, _, last = lines(search=RANDOM, random_search=GIN, hand=SEARCH)
    assert "is 0.0700 better" in line
    assert last.startswith("the search was not worth its cost: GIN beats it; it beats random search (")


def test_the_test_is_told_beside_it_and_concludes_nothing() -> None:
    without = lines(search=SEARCH, random_search=RANDOM, hand=GIN)
    told = lines(search=SEARCH, random_search=RANDOM, hand=GIN, test=True)
    (line,) = set(told) - set(without)
    assert line.startswith("in the test, which chose nothing, search's test_accuracy is 0.0440 better (95 % interval ")
    assert ") than random search's, and 0.1140 better (" in line


def test_what_is_better_and_beyond_the_limits_is_said_to_be() -> None:
    beyond = standing("hand", [0.9] * 5, broken=["params"])
    assert "better than the search's, and beyond the limits: GIN" in lines([beyond], search=SEARCH, hand=GIN)


def test_one_seed_cannot_tell() -> None:
    line, last = lines(search=[0.9], hand=[0.1])
    assert line.startswith("search's val_accuracy 0.9000 is 0.8000 better than GIN's 0.1000,")
    assert last == "one seed cannot tell whether the search was worth its cost: give more of them (--seeds 5)"


@pytest.mark.parametrize("values", [(0.9,), (0.9, 0.91, 0.9)])
def test_without_anything_beside_it_nothing_is_known(values: tuple[float, ...]) -> None:
    assert "there is nothing beside it" in lines(search=values)[-1]


def test_random_networks_are_a_sample_of_the_space() -> None:
    assert random_line([0.5, None, 0.7], {"search": 0.9, "random": None}, MONITOR) == (
        "trials of 2 of 3 random networks: val_accuracy 0.6000 ± 0.1414 in the mean; "
        "the best: search's 0.9000, random's undefined"
    )
