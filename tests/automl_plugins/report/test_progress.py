from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import optuna
import pytest
import pytorch_lightning as pl
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from perceptron_space.space import PerceptronSpace
from rich.console import Console

from automl_plugins.report.forecast import Spending, seconds_left
from automl_plugins.report.progress import Progress, State
from automl_plugins.report.trial_cost import beside_training
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.pulse import pulses
from automl_plugins.studies.study import Study
from automl_plugins.studies.watch import Watch


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


BOOKS = [
    trial(TrialState.COMPLETE, 0.5, seconds=30.0),
    trial(TrialState.COMPLETE, 0.25, seconds=10.0),
    trial(TrialState.PRUNED, refused="9 parameters"),
    trial(TrialState.FAIL, failure="ValueError: no", traceback="line one\nValueError: no"),
    trial(TrialState.RUNNING),
]
"""Of a study of eight trials, five are in its books."""


def numbered(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    books = optuna.create_study()
    for each in trials:
        books.add_trial(each)
    return books.get_trials()


def progress(console: Console, *arms: str, running: tuple[str, ...] = (), **given: Any) -> Progress:
    names = arms or ("search",)
    state = State({arm: numbered(BOOKS) for arm in names}, dict.fromkeys(names, 8), [], len(names), 0, running)
    return Progress(lambda: state, "val_loss", console=console, **given)


def written(width: int = 120, **given: Any) -> Console:
    return Console(file=io.StringIO(), width=width, **given)


def text(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def shown(*arms: str, **given: Any) -> str:
    console = written()
    display = progress(console, *arms, **given)
    display._print_lines(display.look())
    return text(console)


def test_a_line_says_what_is_done_running_and_best() -> None:
    line = shown().splitlines()[-2]
    assert line == "search: 3 of 8 done (1 failed, 1 refused), 1 running, best val_loss 0.2500"
    assert "best val_loss 0.5000" in shown(maximize=True)


def test_a_terminal_has_a_table() -> None:
    console = written(force_terminal=True)
    display = progress(console)
    console.print(display._table(display.look()))
    for cell in ("3 of 8 done (1 failed, 1 refused)", "1 running", "best val_loss 0.2500", "about 1:20 left"):
        assert cell in text(console)


def test_the_time_left_is_that_of_all_searches_and_final_trainings() -> None:
    # Three trials took 40 s, so the five that are left take 66.7 s, and the final training of one finalist 13.3 s.
    assert shown().splitlines()[-1] == "in all: 0:00, about 1:20 left"
    # With random search beside it, which has the same books here, all of it comes twice.
    assert "about 2:40 left" in shown("search", "random")


def test_final_trainings_of_more_epochs_take_longer() -> None:
    assert "about 1:33 left" in shown(longer=2.0)


def test_more_workers_take_less_time() -> None:
    assert "about 0:40 left" in shown(workers=2)


def test_what_trains_now_says_how_far_it_is(make_study: Callable[..., Study]) -> None:
    study = make_study()
    path = study.folder.pulse(os.getpid())
    path.parent.mkdir(parents=True)
    figures = '{"loss": 0.31234, "val_loss": 1.5}'
    path.write_text(f'{{"label": "trial 4 of search", "epoch": 3, "epochs": 12, "figures": {figures}}}')
    running = Watch(lambda: study.finals)().running
    assert running == ["trial 4 of search: epoch 3 of 12, loss 0.3123, val_loss 1.5"]
    assert "trial 4 of search: epoch 3 of 12, loss" in shown(running=tuple(running))


def test_a_training_writes_how_far_and_how_good_it_is_and_takes_it_back(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("automl_plugins.studies.pulse._SECONDS", 0.0)
    study = make_study()
    callbacks = [Look(study.folder)]
    study = make_study(trainer={**study.project.trainer, "callbacks": callbacks})
    study.run()
    assert any(re.match(r"trial 0 of search: epoch 1 of 2, loss [\d.e-]+$", line) for line in Look.seen), Look.seen
    assert any(re.match(r"trial 0 of search: epoch 2 of 2, loss [\d.e-]+, val_loss", line) for line in Look.seen)
    assert any("seed 1: epoch 1 of 2" in line for line in Look.seen)
    assert pulses(study.folder) == []


def test_a_run_that_goes_on_says_so() -> None:
    console = written()
    with progress(console):
        pass
    assert text(console).startswith("goes on after 3 of 8 trials of search, which are kept\n")


def test_in_the_end_it_says_what_everything_cost() -> None:
    console = written()
    with progress(console, "search", "random"):
        pass
    assert text(console).splitlines()[-1] == "trained for 1:20: search 0:40, random 0:40"


def test_a_plain_line_is_one_line_however_long() -> None:
    console = written(width=40)
    display = progress(console, running=("trial 4 of search: epoch 3 of 12, loss 0.3123, val_loss 1.5",))
    display._print_lines(display.look())
    assert text(console).splitlines()[-1].startswith("in all: 0:00, trial 4 of search: epoch 3 of 12, loss 0.3123, val")
    assert text(console).endswith("about 1:20 left\n")


def test_what_passes_beside_trainings_counts_in_the_time_left() -> None:
    books = numbered(BOOKS)
    start = datetime(2026, 1, 1, 12)
    for each in books[:2]:
        each.datetime_start, each.datetime_complete = start, start + timedelta(seconds=34)
    assert beside_training(books) == pytest.approx((4 + 24) / 2)
    assert beside_training(numbered(BOOKS)) == 0.0
    search = {"search": Spending(spent=3, due=8, seconds=40, trials=2)}
    assert seconds_left(search, [], 1, 1, 1) == pytest.approx(5 * 40 / 3 + 40 / 3)
    assert seconds_left(search, [], 1, 1, 1, beside=14) == pytest.approx(5 * (40 + 28) / 3 + 40 / 3 + 14)
    assert seconds_left(search, [20.0], 2, 1, 1, beside=14) == pytest.approx(5 * (40 + 28) / 3 + 2 * (20 + 14))


def test_a_long_phase_shows_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("automl_plugins.report.progress._REFRESH_SECONDS", 0.01)
    monkeypatch.setattr("automl_plugins.report.progress._FIRST_LINES_SECONDS", 0.05)
    monkeypatch.setattr("automl_plugins.report.progress.clock", lambda seconds: f"{seconds:.2f}")
    console = written()
    with progress(console):
        time.sleep(0.5)
    assert 3 <= text(console).count("in all: ") <= 11
    assert text(console).count("search: ") == 1, "what has not changed is not said again"


def test_a_failure_is_shown_once_with_the_end_of_its_traceback() -> None:
    console = written()
    display = progress(console)
    display._print_lines(display.look())
    display._print_lines(display.look())
    assert text(console).count("trial 3 of search failed:") == 1
    assert "ValueError: no" in text(console)


def test_failures_of_an_earlier_run_are_not_shown_again() -> None:
    console = written()
    with progress(console):
        pass
    assert "failed:" not in text(console)


def test_it_ends_with_a_last_line_and_whatever_the_block_raises() -> None:
    console = written()
    with pytest.raises(ZeroDivisionError), progress(console):
        raise ZeroDivisionError
    assert "search: 3 of 8 done (1 failed, 1 refused), " in text(console)


def test_final_trainings_are_counted_of_those_that_there_are(make_study: Callable[..., Study]) -> None:
    # There are four architectures, so both searches end with the same ones, which are trained once on the two seeds
    # that choose; both choose the same one.
    study = make_study(
        space=PerceptronSpace(widest=2), trials=12, random_search=True, finalists=9, seeds=2, sampler="RandomSampler"
    )
    study.run()
    trained = len(list(study.folder.path.glob("contenders/*/*-train.json")))
    assert trained == (4 + 1) * 2
    state = Watch(lambda: study.finals)()
    assert (len(state.finals), state.most_finals) == (trained, trained)


def test_what_an_earlier_plan_has_trained_is_no_final_training_of_this_one(make_study: Callable[..., Study]) -> None:
    make_study(finalists=3, seeds=2).run()
    fewer = make_study(finalists=1, seeds=1)
    fewer.run()
    state = Watch(lambda: fewer.finals)()
    assert (len(state.finals), state.most_finals) == (1, 1)
    console = written()
    display = Progress(lambda: state, "val_loss", console=console)
    display._print_lines(state)
    assert "final trainings: 1 of 1 done" in text(console)
