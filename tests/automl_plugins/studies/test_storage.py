from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from automl_plugins.studies.journal_lock import JournalLock
from automl_plugins.studies.storage import open_storage

HOLD = """
import sys, time
from automl_plugins.studies.journal_lock import JournalLock
lock = JournalLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(600)
"""


def new_study(storage: str) -> optuna.Study:
    return optuna.create_study(storage=open_storage(storage), study_name="search", load_if_exists=True)


@pytest.mark.parametrize("location", ["journal", "sqlite"])
def test_trials_are_there_when_it_is_opened_again(location: str, tmp_path: Path) -> None:
    storage = str(tmp_path / "deep" / "study.journal") if location == "journal" else f"sqlite:///{tmp_path}/study.db"
    study = new_study(storage)
    study.tell(study.ask(), 0.5)
    assert [trial.value for trial in new_study(storage).trials] == [0.5]


@pytest.mark.parametrize("half", [b'{"op_code":4,"trial', b"{", b"\xff\xfe"], ids=["json", "brace", "bytes"])
def test_a_line_that_a_kill_cut_in_half_is_cut_off(half: bytes, tmp_path: Path) -> None:
    journal = tmp_path / "study.journal"
    study = new_study(str(journal))
    study.tell(study.ask(), 0.5)
    whole = journal.read_bytes()
    journal.write_bytes(whole + half)
    study = new_study(str(journal))
    study.tell(study.ask(), 0.25)
    assert journal.read_bytes().startswith(whole)
    assert [trial.value for trial in new_study(str(journal)).trials] == [0.5, 0.25]


def test_a_journal_of_nothing_but_half_a_line_begins_anew(tmp_path: Path) -> None:
    journal = tmp_path / "study.journal"
    journal.write_bytes(b'{"op')
    new_study(str(journal))
    assert new_study(str(journal)).trials == []


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    journal = tmp_path / "study.journal"
    journal.touch()
    with subprocess.Popen([sys.executable, "-c", HOLD, str(journal)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    began = time.monotonic()
    lock = JournalLock(str(journal))
    lock.acquire()
    lock.release()
    assert time.monotonic() - began < 5  # Optuna's own locks wait for 30 seconds


@pytest.mark.parametrize("location", ["study.db", "runs/study", ""])
def test_what_is_neither_a_journal_nor_a_url_is_refused(location: str) -> None:
    with pytest.raises(ValueError, match=r"a file ending in .journal or a storage URL such as sqlite:///study.db"):
        open_storage(location)


PLAIN = """
import sys, optuna
from optuna.storages.journal import JournalFileBackend, JournalStorage
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.load_study(study_name="search", storage=JournalStorage(JournalFileBackend(sys.argv[1])))
for number in range(30):
    study.add_trial(optuna.trial.create_trial(value=number))
"""


def test_plain_optuna_writes_to_the_journal_while_we_do(tmp_path: Path) -> None:
    journal = tmp_path / "study.journal"
    study = new_study(str(journal))
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", PLAIN, str(journal)]) as plain:
        ours, longest = 0, 0.0
        while plain.poll() is None or ours < 30:
            began = time.monotonic()
            study.add_trial(optuna.trial.create_trial(value=-1 - ours))
            longest, ours = max(longest, time.monotonic() - began), ours + 1
            time.sleep(0.05)  # a training between two writes
    assert plain.returncode == 0
    assert longest < 5  # Optuna's own wait is 30 seconds
    values = [trial.value for trial in new_study(str(journal)).trials]
    assert sorted(values) == [float(number) for number in range(-ours, 30)]
    assert not (tmp_path / "study.journal.lock").is_symlink()


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_a_killed_optuna_left_behind_is_taken_away(kind: str, tmp_path: Path) -> None:
    journal = tmp_path / "study.journal"
    study = new_study(str(journal))
    size, left = journal.stat().st_size, Path(f"{journal}.lock")
    left.symlink_to(journal) if kind == "link" else left.touch()
    os.utime(left, (0, 0), follow_symlinks=False)
    began = time.monotonic()
    study.tell(study.ask(), 0.5)
    assert time.monotonic() - began < 5
    assert journal.stat().st_size > size  # not cut through the link
    assert not left.is_symlink()
    assert not left.exists()
