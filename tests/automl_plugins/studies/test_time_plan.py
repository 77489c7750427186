"""A study that is planned for a time: what a training takes is measured, and epochs, trials and finals follow."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState, create_trial
from perceptron_space.space import PerceptronSpace

from automl_plugins.cli import main
from automl_plugins.report.progress import State
from automl_plugins.report.trial_cost import has_ended
from automl_plugins.studies.arm import arms_of
from automl_plugins.studies.study import Study
from automl_plugins.studies.time_plan import Timing, measure, plan_for

MakeStudy = Callable[..., Study]
SIZES = [(3, 5), (2, 3), (1, 3), (1, 2)]


def finals(finalists: int, seeds: int) -> int:
    """Two searches and three references, as a study counts them."""
    return (2 * finalists * (finalists > 1) + 3) * 2 + (2 + 3) * seeds


def trial(state: TrialState = TrialState.PRUNED, **attributes: Any) -> FrozenTrial:
    return create_trial(state=state, user_attrs=attributes)


@settings(max_examples=300, deadline=None)
@given(
    minutes=st.floats(0.1, 600),
    epoch=st.floats(0.001, 60),
    start=st.floats(0, 10),
    epochs=st.integers(2, 200),
    arms=st.integers(1, 3),
)
def test_what_is_planned_takes_the_time_that_was_given(
    minutes: float, epoch: float, start: float, epochs: int, arms: int
) -> None:
    timing = Timing(epoch, start)
    try:
        plan = plan_for(60 * minutes, timing, arms, finals, SIZES, epochs)
    except ValueError:  # the time is too short
        assume(False)
    trained = finals(plan.finalists, plan.seeds) * timing.training(plan.max_epochs)
    left = 0.92 * 60 * minutes - trained
    each = arms * timing.training(plan.trial_epochs)
    assert left >= 6 * each * (1 - 1e-9), "there is time for some trials"
    assert 1 <= plan.trial_epochs <= plan.max_epochs <= epochs
    assert plan.trials >= 6
    # The time ends the search, and not the number of trials, unless that is large already.
    assert plan.trials == 1000 or plan.trials * each >= 0.9 * left


def test_with_little_time_final_trainings_become_shorter_and_then_fewer() -> None:
    timing = Timing(1.0, 0.0)
    plans = [plan_for(seconds, timing, 2, finals, SIZES, 40) for seconds in (1e5, 2500, 1000, 300)]
    # Of 2,500 s final trainings have 1,035, so each of the 43 has 24; of 1,000 s they have 414, so 43 would have nine,
    # less than a quarter of forty, and 29 have 14; of 300 s the 16 that there are at least have seven.
    assert [plan.max_epochs for plan in plans] == [40, 24, 14, 7]
    assert [(plan.finalists, plan.seeds) for plan in plans] == [(3, 5), (3, 5), (2, 3), (1, 2)]


def test_trials_are_longer_where_there_is_time_for_fifty() -> None:
    timing = Timing(1.0, 0.0)
    plans = [plan_for(seconds, timing, 1, lambda *_: 10, SIZES, 40) for seconds in (1_100, 2_000, 1e5)]
    # Of 2,000 s, 1,840 are left, 400 of them for ten final trainings of 40 epochs: 1,440 are fifty trials of 28.
    assert [plan.trial_epochs for plan in plans] == [12, 28, 40]
    assert [plan.max_epochs for plan in plans] == [40, 40, 40]


def test_what_was_given_stays() -> None:
    plan = plan_for(1000, Timing(1.0, 0.0), 2, finals, [(1, 2)], 20, may_shorten=False, trial_epochs=3)
    assert (plan.max_epochs, plan.trial_epochs, plan.finalists, plan.seeds) == (20, 3, 1, 2)
    with pytest.raises(ValueError, match=r"1:40 minutes of training are too short for 16 final trainings of 20 epochs"):
        plan_for(100, Timing(1.0, 0.0), 2, finals, [(1, 2)], 20, may_shorten=False)


def test_a_small_and_a_large_network_are_measured(make_study: MakeStudy) -> None:
    study = make_study(space=PerceptronSpace(widest=64))
    timing = measure(study.project, 60)
    assert 0 < timing.epoch < 60
    assert timing.start >= 0
    assert timing.macs > 0
    assert timing.times(timing.macs) == timing.times(None) == 1
    assert timing.times(0) >= 0
    assert not study.folder.path.exists()


def test_networks_that_cost_more_take_longer_in_part() -> None:
    timing = Timing(epoch=2.0, start=0.0, macs=100, mac=0.01)
    assert timing.times(300) == pytest.approx(2.0), "each epoch takes 1 s, and 0.01 s for each multiply-accumulate"


# A search that ends by its time.


def test_a_search_ends_when_its_trials_have_taken_their_time() -> None:
    books = [trial(seconds=4.0), trial(seconds=5.0)]
    assert has_ended(books, 9, 10.0) is False
    assert has_ended([*books, trial(seconds=1.0)], 9, 10.0) is True
    assert has_ended([*books, trial(seconds=1.0), trial(TrialState.RUNNING)], 9, 10.0) is None
    assert has_ended(books, 2, 10.0) is True
    assert has_ended([*books, trial(TrialState.RUNNING)], 3) is None
    assert has_ended(books, 9, is_over=True) is True
    assert has_ended([*books, trial(TrialState.RUNNING)], 9, is_over=True) is None


def test_the_forecast_is_of_the_time_where_that_is_shorter() -> None:
    state = State(
        {"search": [trial(seconds=5.0), trial(seconds=5.0)]}, {"search": 100}, [], 0, 0, [], search_seconds=20.0
    )
    assert state.spendings["search"].due == 4


def test_a_study_with_a_time_has_fewer_trials_and_goes_on_to_its_finals(make_study: MakeStudy) -> None:
    study = make_study(trials=500, search_minutes=1e-3)
    summary = study.run()
    assert 1 <= summary.searches["search"]["trials"] < 20
    assert summary.winner is not None
    (arm,) = arms_of(study.project, study.plan, study.store)
    assert arm.seconds == 0.06


# On the command line.


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("automl_plugins.cli.minutes.measure", lambda project, seconds: Timing(0.05, 0.02))
    names = {"space": "space.PerceptronSpace", "data": "data.WavesData", "module": "module.PixelRegression"}
    classes = {key: {"class_path": f"perceptron_space.{name}"} for key, name in names.items()}
    Path("small.yaml").write_text(yaml.safe_dump({**classes, "references": [], "seeds": 1, "equal_cost": "steps"}))
    return ["study", "--config", "small.yaml", "--trainer.accelerator", "cpu"]


def test_minutes_plan_a_study_that_goes_on_with_its_plan(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*command, "--trials", "3", "--trainer.max_epochs", "100"]  # by which it ends, and not by its time
    assert main([*command, "--minutes", "3"]) == 0
    said = capsys.readouterr().err
    assert "plans for 3 minutes, an epoch taking 0.05 s here: trial_epochs=" in said
    assert "seeds=" not in said, "they are settled when finalists are chosen"
    planned = json.loads(Path("runs/small/minutes.json").read_text())["settings"]
    config = yaml.safe_load(Path("runs/small/config.yaml").read_text())
    assert config["trial_epochs"] == planned["trial_epochs"] < 100
    assert config["minutes"] == 3
    assert main([*command, "--minutes", "3"]) == 0
    assert "plans for" not in capsys.readouterr().err
    assert main([*command, "--minutes", "0.4"]) == 2
    assert "was planned for 3.0; go on with that, or give this one another --folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--minutes", "0"], "minutes is a number greater than 0; got 0"),
        (["--minutes", "soon"], "minutes is a number greater than 0; got 'soon'"),
        (["--minutes", "0.01"], "minutes: 0:0\\d minutes of training are too short for 2 final trainings"),
    ],
    ids=str,
)
def test_a_time_that_cannot_be_is_one_line(
    flags: list[str], told: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, *flags]) in (1, 2)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("automl-plugins")]
    assert len(said) == 1
    assert re.search(told, said[0])
    assert not Path("runs/small/config.yaml").exists()
