from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from rich.console import Console

from automl_plugins.report.progress import Progress
from automl_plugins.study import Study


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


def test_a_line_says_what_is_done_running_best_and_left(study: Study) -> None:
    assert shown(study).splitlines()[-1] == "search: 3 of 8 done, 1 running, best val_loss 0.2500, about 1:40 left"


def test_a_terminal_has_a_table(study: Study) -> None:
    table = shown(study, terminal=True)
    for cell in ("3 of 8 done", "1 running", "best val_loss 0.2500", "about 1:40 left"):
        assert cell in table


def test_more_workers_take_less_time(study: Study) -> None:
    study.workers = 2
    assert "about 0:50 left" in shown(study)


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
    assert "failed" not in console.file.getvalue()  # type: ignore[attr-defined]


def test_it_ends_with_a_last_line_and_whatever_the_block_raises(study: Study) -> None:
    console = Console(file=io.StringIO(), width=120)
    with pytest.raises(ZeroDivisionError), Progress(study, console):
        raise ZeroDivisionError
    assert "search: 3 of 8 done" in console.file.getvalue()  # type: ignore[attr-defined]


def test_final_trainings_have_a_line_once_there_is_one(study: Study) -> None:
    assert "final trainings" not in shown(study)
    path = study.folder.result("architecture-1", 1, "train")
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert shown(study).splitlines()[-1] == "final trainings: 1 of 1 done"
