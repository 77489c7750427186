from __future__ import annotations

import functools
import importlib
import math
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from automl_plugins.errors import StudyError
from automl_plugins.report.trial_cost import counts
from automl_plugins.studies import workers
from automl_plugins.studies.study import Study
from automl_plugins.studies.workers import NoWorkersError, run_workers

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "kill_and_continue.py"


@pytest.mark.slow
def test_two_workers_share_a_study_in_a_database(make_study: Callable[..., Study], tmp_path: Path) -> None:
    study = make_study(trials=8, workers=2, storage=f"sqlite:///{tmp_path}/study.db", sampler="RandomSampler")
    summary = study.run()
    trials = study.arm_trials("search")
    assert sum(map(counts, trials)) == summary.searches["search"]["trials"] == 8
    trained = [tuple(trial.params.items()) for trial in trials if "steps" in trial.user_attrs]
    assert len(trained) == len(set(trained))
    assert study.store.study_name("search").startswith("search-")  # others may share the database


@pytest.mark.slow
def test_what_ends_the_study_in_a_worker_is_said_by_the_study(make_study: Callable[..., Study]) -> None:
    study = make_study(trials=2, monitor="val_los", max_equal_failures=1, direction="minimize")
    study.folder.path.mkdir()
    with pytest.raises(StudyError, match=r"1 trials failed in the same way: ValueError: .*did you mean 'val_loss'"):
        run_workers(study.work, 1, datetime.now())


@pytest.mark.slow
def test_workers_that_all_die_end_the_study() -> None:
    with pytest.raises(StudyError, match=r"all 1 workers died \(exit codes 1\); the same command goes on from here"):
        run_workers(math.sqrt, 1, datetime.now())


LIVES = """
import os, signal
from pathlib import Path

def live(folder, since):
    (folder / str(os.getpid())).touch()
    lives = len(list(folder.iterdir()))
    if lives == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if lives == 2:
        os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.mark.slow
def test_a_worker_that_dies_or_is_stopped_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lives.py").write_text(LIVES)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(workers, "STOPPED_SECONDS", 1.0)
    monkeypatch.setattr(workers, "SECONDS_IN_SILENCE", 0.3)
    folder = tmp_path / "lives"
    folder.mkdir()
    run_workers(functools.partial(importlib.import_module("lives").live, folder), 1, datetime.now())
    assert len(list(folder.iterdir())) == 3
    died, stopped, killed = capfd.readouterr().err.splitlines()
    assert died == "worker 1 died (SIGKILL: the kernel sends it when memory runs out); another one takes its place"
    assert stopped.startswith("worker 1 (process ")
    assert "is stopped; `kill -CONT " in stopped
    assert killed == died


def test_what_cannot_be_handed_to_a_worker_is_one_line_with_the_cure() -> None:
    with pytest.raises(NoWorkersError, match=r"cannot be handed to another process \(.*lambda.*\); .*give workers=1$"):
        run_workers(lambda since: None, 1, datetime.now())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_study_that_is_killed_and_continued_is_that_which_was_not() -> None:
    options = ["--kills", "2", "--trials", "4", "--epochs", "4"]
    command = [sys.executable, "-W", "ignore", str(BENCHMARK), *options]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.rstrip().endswith("verdict: all held")
