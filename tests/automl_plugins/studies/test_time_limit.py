from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from automl_plugins.studies import time_limit as module
from automl_plugins.studies.time_limit import TimeLimitError, time_limit

SHORT = 0.2 / 60


def never(reason: str) -> None:
    pytest.fail(f"it was given up: {reason}")


def compute() -> None:
    while True:
        sum(range(100))


def wait_for_a_lock() -> None:
    lock = threading.Lock()
    with lock:
        lock.acquire()


def wait_for_a_process() -> None:
    process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=[60])
    process.start()
    process.join()


def swallow_errors() -> None:
    while True:
        try:
            time.sleep(60)
        except Exception:  # noqa: BLE001, S112 - as a training that fetches its data again and again does
            continue


@pytest.mark.parametrize("hang", [lambda: time.sleep(60), compute, wait_for_a_lock, swallow_errors])
def test_what_hangs_is_ended(hang: Callable[[], None]) -> None:
    began = time.monotonic()
    match = r"^it took longer than trial_minutes=0.00333333$"
    with pytest.raises(TimeLimitError, match=match), time_limit(SHORT, "trial_minutes", never):
        hang()
    assert time.monotonic() - began < 10


def test_its_children_end_with_it() -> None:
    before = set(multiprocessing.active_children())
    with pytest.raises(TimeLimitError), time_limit(SHORT, "trial_minutes", never):
        wait_for_a_process()
    assert set(multiprocessing.active_children()) <= before


def test_what_a_training_makes_of_the_interruption_is_no_error_of_its_own() -> None:
    def training() -> None:
        try:
            time.sleep(60)
        except BaseException as error:
            raise ValueError("batch 7 is broken") from error

    with pytest.raises(TimeLimitError), time_limit(SHORT, "trial_minutes", never):
        training()


def test_what_ends_in_time_is_left_alone() -> None:
    handler = signal.getsignal(signal.SIGALRM)
    with time_limit(1, "trial_minutes", never):
        pass
    with pytest.raises(KeyError), time_limit(1, "trial_minutes", never):
        raise KeyError
    assert signal.getsignal(signal.SIGALRM) is handler


def test_a_machine_that_slept_has_not_used_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    looks, enough = [0.0], threading.Event()

    def an_hour_later() -> float:
        looks.append(looks[-1] + 3600)
        if len(looks) > 6:
            enough.set()
        return looks[-1]

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=an_hour_later))
    monkeypatch.setattr(module, "_LONGEST_POLL", 0.05)
    with time_limit(1, "trial_minutes", never):
        assert enough.wait(20)


def test_it_is_kept_in_a_thread_too() -> None:
    caught: list[type[BaseException]] = []

    def work() -> None:
        try:
            with time_limit(SHORT, "trial_minutes", never):
                compute()
        except TimeLimitError as error:
            caught.append(type(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert caught == [TimeLimitError]


DEAF = f"""
import sys, time
from pathlib import Path
from automl_plugins.studies import time_limit
time_limit.GRACE_SECONDS, time_limit._SECONDS_BETWEEN_CALLS = 0.4, 0.2
def give_up(reason): Path(sys.argv[1]).write_text(reason)
with time_limit.time_limit({SHORT}, "trial_minutes", give_up):
    while True:
        try:
            time.sleep(60)
        except BaseException: pass
"""


def test_a_process_that_hears_nothing_is_killed_and_says_so(tmp_path: Path) -> None:
    noted = tmp_path / "noted"
    ran = subprocess.run([sys.executable, "-c", DEAF, noted], capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 1
    assert noted.read_text() == "it took longer than trial_minutes=0.00333333"
    assert "does not end (<string>:" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
