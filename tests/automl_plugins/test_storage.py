from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from automl_plugins.storage import KernelFileLock, open_storage

HOLD = """
import sys, time
from automl_plugins.storage import KernelFileLock
lock = KernelFileLock(sys.argv[1])
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
    lock = KernelFileLock(str(journal))
    lock.acquire()
    lock.release()
    assert time.monotonic() - began < 5  # Optuna's own locks wait for 30 seconds


@pytest.mark.parametrize("location", ["study.db", "runs/study", ""])
def test_what_is_neither_a_journal_nor_a_url_is_refused(location: str) -> None:
    with pytest.raises(ValueError, match=r"a file ending in .journal or a storage URL such as sqlite:///study.db"):
        open_storage(location)
