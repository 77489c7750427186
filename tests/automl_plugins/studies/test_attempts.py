"""Work whose result is a file: tried a bounded number of times, and never twice at once."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from filelock import Timeout

from automl_plugins.studies.attempts import MOST_ATTEMPTS, Attempts

LONG_AGO = datetime(2000, 1, 1)


def failed(reason: str) -> dict[str, Any]:
    return {"failure": reason}


def later() -> datetime:
    return datetime.now() + timedelta(seconds=1)


def test_a_result_is_made_once(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path / "result.json", later())
    with attempts.taken() as due:
        assert due
        attempts.make(lambda: {"score": 1.0, "failure": ""})
    with Attempts(tmp_path / "result.json", later()).taken() as due:
        assert not due
    assert json.loads((tmp_path / "result.json").read_text()) == {"score": 1.0, "failure": ""}


def test_only_one_worker_is_at_it(tmp_path: Path) -> None:
    with (
        Attempts(tmp_path / "result.json").taken(),
        pytest.raises(Timeout),
        Attempts(tmp_path / "result.json").taken(),
    ):
        pass


def test_a_failure_is_tried_again_when_the_run_is_started_again_but_not_for_ever(tmp_path: Path) -> None:
    path, made = tmp_path / "result.json", 0
    for _ in range(MOST_ATTEMPTS + 2):
        with Attempts(path, LONG_AGO).taken() as due:
            assert due is (made == 0), "within one run it is tried once"
        again = Attempts(path, later())
        with again.taken() as due:
            if due:
                again.make(lambda: failed("failed: no"))
                made += 1
    assert made == MOST_ATTEMPTS


def test_what_mended_itself_is_a_result(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    for result in (failed("failed: no"), {"score": 1.0, "failure": ""}):
        attempts = Attempts(path, later())
        with attempts.taken() as due:
            assert due
            attempts.make(lambda result=result: result)
    assert json.loads(path.read_text())["score"] == 1.0


def test_what_would_fail_again_is_not_tried_again(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path / "result.json")
    with attempts.taken():
        attempts.make(lambda: {"failure": "diverged", "settled": True})
    with Attempts(tmp_path / "result.json", later()).taken() as due:
        assert not due


def test_what_is_asked_to_stop_has_made_no_attempt(tmp_path: Path) -> None:
    def stopped() -> dict[str, Any]:
        raise KeyboardInterrupt

    for _ in range(MOST_ATTEMPTS + 1):
        attempts = Attempts(tmp_path / "result.json")
        with attempts.taken() as due:
            assert due
            with pytest.raises(KeyboardInterrupt):
                attempts.make(stopped)
