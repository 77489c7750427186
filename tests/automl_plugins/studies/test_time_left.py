"""A study keeps the time that it has: its searches end for the final trainings, which have as many seeds as fit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState, create_trial
from perceptron_space.space import PerceptronSpace

from automl_plugins.report.trial_cost import cost_of
from automl_plugins.studies.study import Study
from automl_plugins.studies.time_left import Speed, TimeLeft, seeds_within

MakeStudy = Callable[..., Study]
WIDE = PerceptronSpace(widest=64)


def trial(steps: int, macs: int, seconds: float) -> FrozenTrial:
    return create_trial(state=TrialState.PRUNED, user_attrs={"steps": steps, "macs": macs, "seconds": seconds})


def racing(make_study: MakeStudy, **given: Any) -> Study:
    defaults = {"random_search": True, "sampler": "RandomSampler", "trials": 500, "space": WIDE, "finalists": 2}
    return make_study(**{**defaults, "seeds": 4, **given})


# The time of a step.


@given(
    least=st.floats(0, 1),
    mac=st.floats(0, 1e-3),
    macs=st.lists(st.integers(1, 10_000), min_size=2, max_size=9, unique=True),
)
def test_the_time_of_a_step_is_a_line_over_multiply_accumulates(least: float, mac: float, macs: list[int]) -> None:
    speed = Speed.of([trial(10, each, 10 * (least + mac * each)) for each in macs])
    for each in (1, 500, 10_000):
        assert speed.of_step(each) == pytest.approx(least + mac * each, rel=1e-3, abs=1e-6)


@given(st.lists(st.tuples(st.integers(0, 10_000), st.floats(0, 100)), max_size=9))
def test_it_never_falls_and_is_never_below_zero(told: list[tuple[int, float]]) -> None:
    speed = Speed.of([trial(10, macs, seconds) for macs, seconds in told])
    assert 0 <= speed.of_step(0) <= speed.of_step(1) <= speed.of_step(10**6)


# A study.


def test_where_the_time_ends_the_search_the_arms_have_had_the_same_cost(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = iter(range(100))
    monkeypatch.setattr(TimeLeft, "is_up", lambda self: next(asked) >= 4)
    study = racing(make_study, minutes=10)
    summary = study.run()
    assert summary.searches["search"]["trials"] == 4
    costs = [summary.searches[arm]["macs"] for arm in ("search", "random")]
    largest = max(cost_of(each, "macs") for each in study.arm_trials("random"))
    assert 0 <= costs[1] - costs[0] < largest


def test_the_search_ends_when_what_is_left_is_just_enough_for_the_rest(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = racing(make_study, trials=4, random_search=False, finalists=1, seeds=3, trial_epochs=1)
    study.run()
    left = TimeLeft(lambda: study.finals, 60, datetime.now())
    # One finalist on three seeds, each twice as long as its trial.
    best = min(study.arm_trials("search"), key=lambda each: each.value)
    rest = 3 * 2 * best.user_attrs["seconds"]
    for path in study.folder.path.glob("contenders/*/*-train.json"):
        path.unlink()
    trials = study.arm_trials("search")
    trained = sum(each.user_attrs["seconds"] for each in trials)
    beside = sum(each.duration.total_seconds() for each in trials) / trained
    due = (rest + trained / 4 / 2) * min(2.0, max(1.0, beside))
    for seconds, is_up in ((0.999 * due, True), (1.001 * due, False)):
        monkeypatch.setattr(TimeLeft, "left", lambda self, finals, seconds=seconds: seconds)
        assert left.is_up() is is_up


def test_a_time_that_is_over_ends_the_search_at_once_and_the_study_at_its_least(make_study: MakeStudy) -> None:
    study = racing(make_study, minutes=1e-3)
    summary = study.run()
    assert summary.searches["search"]["trials"] == 1
    assert list(summary.seeds) == [1, 2], "two seeds are the least"
    assert summary.winner is not None
    again = racing(make_study, minutes=1e-3)
    trained = {path: path.stat().st_mtime_ns for path in study.folder.path.glob("contenders/*/*.json")}
    assert again.run() == summary
    assert trained == {path: path.stat().st_mtime_ns for path in study.folder.path.glob("contenders/*/*.json")}
    longer = racing(make_study, trials=4)
    assert longer.run().searches["search"]["trials"] == 4, "without a time it goes on"
    assert len(longer.finals.comparison.seeds) == 4


def test_time_that_an_earlier_run_took_counts(make_study: MakeStudy) -> None:
    study = racing(make_study, trials=3)
    study.run()
    now = datetime.now()
    finals = study.finals
    whole, later = (TimeLeft(lambda: study.finals, 10, since).left(finals) for since in (now - timedelta(1), now))
    trained = sum(each.user_attrs.get("seconds", 0) for arm in study.plan.arms for each in study.arm_trials(arm))
    assert whole < 0
    assert 0 < later < 10 * 60 * 0.97 - trained


def test_seeds_are_settled_once(make_study: MakeStudy) -> None:
    study = racing(make_study, trials=3, minutes=10)
    study.run()
    assert seeds_within(study.folder, study.plan) == 4
    study.folder.settled_seeds.write_text('{"minutes": 10.0, "seeds": 3}')
    TimeLeft(lambda: study.finals, 10, datetime.now()).settle_seeds()
    assert seeds_within(study.folder, study.plan) == 3
    assert len(study.finals.comparison.seeds) == 3
    for spoilt in ("{", '{"minutes": 10.0, "seeds": "many"}', '{"minutes": 3.0, "seeds": 2}'):
        study.folder.settled_seeds.write_text(spoilt)
        assert seeds_within(study.folder, study.plan) == 4
