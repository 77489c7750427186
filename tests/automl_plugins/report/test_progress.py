from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from typing import Any

import optuna
import pytest
import pytorch_lightning as pl
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from perceptron_space.space import PerceptronSpace
from rich.console import Console

from automl_plugins.report.progress import Progress
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.pulse import pulses
from automl_plugins.studies.study import Study


class Look(pl.Callback):
    """Notes what the sign of life of its own training says in an epoch."""

    seen: list[str] = []  # noqa: RUF012 - shared on purpose: a training copies its callbacks

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seen.extend(pulses(self.folder))


def trial(state: TrialState, value: float | None = None, **attributes: Any) -> FrozenTrial:
    return create_trial(
        state=state,
        value=value,
        params={"depth": 1},
        distributions={"depth": CategoricalDistribution((1, 2))},
        user_attrs=attributes,
    )


@pytest.fixture
def study(make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study of eight trials, five of which are in its books."""
    study = make_study(trials=8)
    trials = [
        trial(TrialState.COMPLETE, 0.5, seconds=30.0),
        trial(TrialState.COMPLETE, 0.25, seconds=10.0),
        trial(TrialState.PRUNED, refused="9 parameters"),
        trial(TrialState.FAIL, failure="ValueError: no", traceback="line one\nValueError: no"),
        trial(TrialState.RUNNING),
    ]
    books = optuna.create_study()
    for each in trials:
        books.add_trial(each)
    monkeypatch.setattr(study, "arm_trials", lambda arm: books.get_trials())
    return study


def shown(study: Study, terminal: bool = False) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    progress = Progress(study, console)
    if terminal:
        console.print(progress._table())
    else:
        progress._print_lines()
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_line_says_what_is_done_running_and_best(study: Study) -> None:
    line = shown(study).splitlines()[-2]
    assert line == "search: 3 of 8 done (1 failed, 1 refused), 1 running, best val_loss 0.2500"


def test_a_terminal_has_a_table(study: Study) -> None:
    table = shown(study, terminal=True)
    for cell in ("3 of 8 done (1 failed, 1 refused)", "1 running", "best val_loss 0.2500", "about 1:20 left"):
        assert cell in table


def test_the_time_left_is_that_of_all_searches_and_final_trainings(study: Study) -> None:
    # Three trials took 40 s, so the five that are left take 66.7 s, and the final training of one finalist 13.3 s.
    assert shown(study).splitlines()[-1] == "in all: 0:00, about 1:20 left"
    # With random search beside it, which has the same books here, all of it comes twice.
    study.random_search = True
    assert "about 2:40 left" in shown(study)


def test_final_trainings_of_more_epochs_take_longer(study: Study) -> None:
    study.trial_epochs = 1  # of 2
    assert "about 1:33 left" in shown(study)


def test_more_workers_take_less_time(study: Study) -> None:
    study.workers = 2
    assert "about 0:40 left" in shown(study)


def test_what_trains_now_says_how_far_it_is(study: Study) -> None:
    path = study.folder.pulse(os.getpid())
    path.parent.mkdir(parents=True)
    path.write_text('{"label": "trial 4 of search", "epoch": 3, "epochs": 12}')
    assert "trial 4 of search: epoch 3 of 12" in shown(study)


def test_a_training_writes_how_far_it_is_and_takes_it_back(make_study: Callable[..., Study]) -> None:
    study = make_study()
    study.trainer = {**study.trainer, "callbacks": [Look(study.folder)]}
    study.run()
    assert "trial 0 of search: epoch 1 of 2" in Look.seen
    assert any("seed 1: epoch 1 of 2" in line for line in Look.seen)
    assert pulses(study.folder) == []


def test_a_run_that_goes_on_says_so(study: Study) -> None:
    console = Console(file=io.StringIO(), width=120)
    with Progress(study, console):
        pass
    assert console.file.getvalue().startswith("goes on after 3 of 8 trials of search\n")  # type: ignore[attr-defined]


def test_a_long_phase_shows_that_it_lives(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("automl_plugins.report.progress._REFRESH_SECONDS", 0.01)
    monkeypatch.setattr("automl_plugins.report.progress._FIRST_LINES_SECONDS", 0.05)
    monkeypatch.setattr("automl_plugins.report.progress.clock", lambda seconds: f"{seconds:.2f}")
    console = Console(file=io.StringIO(), width=120)
    with Progress(study, console):
        time.sleep(0.5)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert 3 <= text.count("in all: ") <= 11
    assert text.count("search: ") == 1, "what has not changed is not said again"


def test_a_failure_is_shown_once_with_the_end_of_its_traceback(study: Study) -> None:
    console = Console(file=io.StringIO(), width=120)
    progress = Progress(study, console)
    progress._print_lines()
    progress._print_lines()
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.count("trial 3 of search failed:") == 1
    assert "ValueError: no" in text


def test_failures_of_an_earlier_run_are_not_shown_again(study: Study) -> None:
    console = Console(file=io.StringIO(), width=120)
    with Progress(study, console):
        pass
    assert "failed:" not in console.file.getvalue()  # type: ignore[attr-defined]


def test_it_ends_with_a_last_line_and_whatever_the_block_raises(study: Study) -> None:
    console = Console(file=io.StringIO(), width=120)
    with pytest.raises(ZeroDivisionError), Progress(study, console):
        raise ZeroDivisionError
    assert "search: 3 of 8 done (1 failed, 1 refused), " in console.file.getvalue()  # type: ignore[attr-defined]


def test_final_trainings_are_counted_of_those_that_there_are(make_study: Callable[..., Study]) -> None:
    # There are four architectures, so both searches end with the same ones, which are trained once.
    study = make_study(
        space=PerceptronSpace(widest=2), trials=12, random_search=True, finalists=9, seeds=2, sampler="RandomSampler"
    )
    study.run()
    trained = len(list(study.folder.path.glob("contenders/*/*-train.json")))
    assert trained == 4 * 2
    assert f"final trainings: {trained} of {trained} done" in shown(study)
