from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy.exc
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import TrialState

from automl_plugins.studies import patient_storage
from automl_plugins.studies.patient_storage import StorageError, is_transient, patient
from automl_plugins.studies.storage import open_storage


def gone() -> StorageInternalError:
    """What Optuna makes of a server that is not there."""
    error = StorageInternalError("An exception is raised during the commit.")
    error.__cause__ = sqlalchemy.exc.OperationalError("SELECT", {}, OSError("connection refused\nIs it running?"))
    return error


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient_storage, "SECONDS", 1.0)
    monkeypatch.setattr(patient_storage, "_FIRST_DELAY", 0.01)


def flaky(monkeypatch: pytest.MonkeyPatch, name: str, failures: int, after: bool = False) -> BaseStorage:
    """A storage that fails some times at one method, before or after it has done what was asked."""
    below = InMemoryStorage()
    method, left = getattr(below, name), [failures]

    def ask(*arguments: Any, **named: Any) -> Any:
        answer = method(*arguments, **named) if after or left[0] == 0 else None
        if left[0] > 0:
            left[0] -= 1
            raise gone()
        return answer

    monkeypatch.setattr(below, name, ask)
    return patient(below, "postgresql://here/db")


@pytest.mark.parametrize("after", [False, True], ids=["the question lost", "the answer lost"])
@pytest.mark.parametrize("name", ["set_trial_state_values", "set_trial_user_attr", "get_all_trials", "set_trial_param"])
def test_an_outage_loses_nothing_and_is_one_line(
    name: str, after: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    study = optuna.create_study(storage=flaky(monkeypatch, name, 1 if after else 3, after))
    capfd.readouterr()
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    trial.set_user_attr("steps", 3)
    study.tell(trial, 0.5)
    assert [(each.state, each.value, each.user_attrs) for each in study.trials] == [
        (TrialState.COMPLETE, 0.5, {"steps": 3})
    ]
    lines = [line for line in capfd.readouterr().err.splitlines() if "storage" in line]
    # A single failure is most often a connection that was open before.
    expected = [
        "waiting up to 1 s for storage postgresql://here/db: OperationalError: connection refused Is it running?",
        "storage postgresql://here/db answers again, after 0 s",
    ]
    assert lines == ([] if after else expected)


def test_a_storage_that_stays_away_ends_the_study_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = flaky(monkeypatch, "get_all_studies", 10**6)
    with pytest.raises(StorageError, match=r"^storage postgresql://here/db has not answered for 1 s \(Oper.*goes on"):
        storage.get_all_studies()


def test_what_no_waiting_mends_is_said_at_once() -> None:
    for words in ("attempt to write a readonly database", "database disk image is malformed", "no such table: studies"):
        assert not is_transient(sqlalchemy.exc.OperationalError("INSERT", {}, Exception(words)))
    assert is_transient(sqlalchemy.exc.OperationalError("INSERT", {}, Exception("database is locked")))
    assert not is_transient(ValueError("locked"))


def test_a_locked_database_is_waited_for(tmp_path: Path) -> None:
    import sqlite3

    study = optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/study.db?timeout=0.1"))
    blocker = sqlite3.connect(tmp_path / "study.db", check_same_thread=False)
    blocker.execute("BEGIN EXCLUSIVE")
    threading.Timer(0.5, blocker.rollback).start()
    began = time.monotonic()
    study.tell(study.ask(), 0.5)
    assert time.monotonic() - began > 0.4
    assert [trial.value for trial in study.trials] == [0.5]
    blocker.close()
    study._storage._below._backend.engine.dispose()


def no_file(path: Path) -> None:
    pass


def of_bytes(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


@pytest.mark.parametrize(
    ("form", "make", "words"),
    [
        ("{path}.journal", Path.mkdir, r"x.journal cannot be opened: Is a directory"),
        ("{path}.journal", of_bytes(b"\x89PNG\r\n\n\0\n"), r"x.journal cannot be read: line 1 is not a line of an Opt"),
        ("{path}.journal", of_bytes(b"[1]\n"), r"line 1 is not a line of an Optuna journal .* move it away"),
        ("{path}.journal", of_bytes(b'{"op_code": 99}\n'), r"x.journal cannot be read: "),
        ("{path}/y.journal", Path.touch, r"y.journal cannot be opened: (File exists|Not a directory)"),
        ("sqlite:///{path}", Path.mkdir, r"cannot be opened: OperationalError: unable to open database file; it is sq"),
        ("sqlite:///{path}", of_bytes(b"no database at all, but text" * 99), r"file is not a database; it is sqlite"),
        ("sqlite:///{path}/y.db", no_file, r"unable to open database file"),
        ("mysql+oracle://me:secret@localhost:1/db", no_file, r"storage mysql.oracle://me@localhost:1/db .*"),
        ("postgresql+psycopg://me:secret@localhost:1/db", no_file, r"me@localhost:1/db cannot be opened: Operational"),
        ("nosql://here", no_file, r"storage nosql://here cannot be opened: NoSuchModuleError"),
        ("sqlite:/x://", no_file, r"cannot be opened: ArgumentError"),
    ],
)
def test_a_storage_that_cannot_be_reached_is_one_line(
    form: str, make: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    location = form.format(path=tmp_path / "x")
    make(tmp_path / ("x.journal" if location.endswith("x.journal") else "x"))
    with pytest.raises(StorageError, match=words) as caught:
        open_storage(location)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b'{"op_code": 0, "worker', b"\0" * 300], ids=["empty", "half", "power cut"])
def test_a_journal_that_a_power_cut_has_shortened_goes_on(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.journal"
    study = optuna.create_study(storage=open_storage(str(path)), study_name="search")
    study.tell(study.ask(), 0.5)
    path.write_bytes(path.read_bytes() + content)
    study = optuna.load_study(storage=open_storage(str(path)), study_name="search")
    study.tell(study.ask(), 0.25)
    assert [trial.value for trial in study.trials] == [0.5, 0.25]
