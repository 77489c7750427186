from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from automl_plugins.studies.deaths import Deaths, KilledError

DIE = """
import os, sys
from pathlib import Path
from automl_plugins.studies.deaths import Deaths, KilledError
try:
    with Deaths(Path(sys.argv[1]), sys.argv[2]).attempt("big"):
        os.kill(os.getpid(), 9)
except KilledError:
    sys.exit(7)
"""


def die(folder: Path, run: str) -> int:
    """A process that is killed in a training, unless it is told that it had better not begin."""
    return subprocess.run([sys.executable, "-c", DIE, str(folder), run], check=False).returncode


def test_a_training_that_another_worker_saw_kill_its_process_twice_is_not_begun_again(tmp_path: Path) -> None:
    assert [die(tmp_path, "monday") for _ in range(2)] == [-9, -9]
    with pytest.raises(KilledError, match="it killed its process 2 times"), Deaths(tmp_path, "monday").attempt("big"):
        pytest.fail("it was begun")


def test_what_was_seen_on_an_earlier_day_is_not_forgotten(tmp_path: Path) -> None:
    assert [die(tmp_path, "monday") for _ in range(2)] == [-9, -9]
    with pytest.raises(KilledError, match="it killed its process 2 times"), Deaths(tmp_path, "tuesday").attempt("big"):
        pytest.fail("it was begun")


def test_kills_of_everything_are_forgiven_more_often(tmp_path: Path) -> None:
    """A process of the user's own cannot tell them from its own fault, so they end too."""
    assert [die(tmp_path, f"start {number}") for number in range(4)] == [-9, -9, -9, 7]
    assert die(tmp_path, "start 5") == -9  # told once, it is the study that knows


@pytest.mark.parametrize("end", [None, ValueError, KeyboardInterrupt])
def test_a_training_that_ends_in_any_other_way_counts_nothing(tmp_path: Path, end: type[BaseException] | None) -> None:
    deaths = Deaths(tmp_path, "monday")
    for _ in range(5):
        try:
            with deaths.attempt("small"):
                if end is not None:
                    raise end
        except (ValueError, KeyboardInterrupt):
            pass
    assert not deaths.pending
    assert not list(tmp_path.iterdir())


def test_ctrl_c_in_a_retry_forgets_no_death(tmp_path: Path) -> None:
    die(tmp_path, "monday")
    deaths = Deaths(tmp_path, "tuesday")
    with pytest.raises(KeyboardInterrupt), deaths.attempt("big"):
        raise KeyboardInterrupt
    assert deaths.pending == ["big"]
    die(tmp_path, "wednesday")
    with pytest.raises(KilledError, match="2 times"), Deaths(tmp_path, "wednesday").attempt("big"):
        pass


def test_workers_that_are_ended_in_good_order_have_killed_nothing(tmp_path: Path) -> None:
    die(tmp_path, "monday")
    Deaths(tmp_path, "tuesday").forgive()
    assert Deaths(tmp_path, "tuesday").pending
    Deaths(tmp_path, "monday").forgive()
    assert not Deaths(tmp_path, "monday").pending


def test_a_training_that_had_to_be_killed_since_it_hung_is_not_begun_again(tmp_path: Path) -> None:
    deaths = Deaths(tmp_path, "monday")
    deaths.give_up("slow", "it took longer than trial_minutes=5")
    assert deaths.pending == ["slow"]
    with pytest.raises(KilledError, match=r"^it took longer than trial_minutes=5$"), deaths.attempt("slow"):
        pass
    assert not deaths.pending


@pytest.mark.parametrize("content", ["", "\0\0\0", "[]", '{"deaths": 1, "who": 2}'])
def test_a_count_that_a_power_cut_has_spoilt_counts_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "big.json").write_text(content)
    deaths = Deaths(tmp_path, "monday")
    assert not deaths.pending
    with deaths.attempt("big"):
        assert not deaths.pending  # this process is at it
    assert not list(tmp_path.iterdir())
