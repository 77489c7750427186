"""A study that has ended tries and trains nothing when it is asked for again, and finds what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from perceptron_space.module import PixelRegression

from automl_plugins.errors import StudyError
from automl_plugins.studies import study as home
from automl_plugins.studies.readiness import Readiness
from automl_plugins.studies.study import Study

MakeStudy = Callable[..., Study]


@pytest.fixture
def asked(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Runs a study of two seeds with some arguments; what was tried or worked at meanwhile."""

    def ask(**given: Any) -> list[str]:
        did: list[str] = []
        check, share_out = Readiness.check, home.share_out
        with monkeypatch.context() as patched:
            patched.setattr(Readiness, "check", lambda *each: did.append("tried") or check(*each))
            patched.setattr(home, "share_out", lambda *each: did.append("worked") or share_out(*each))
            make_study(**{"trials": 2, "seeds": 2, **given}).run()
        return did

    return ask


def test_another_preference_is_answered_from_what_is_kept(asked: Callable[..., list[str]]) -> None:
    assert asked() == ["tried", "worked"]
    assert asked() == []
    assert asked(prefer="economical") == []
    assert asked(workers=2) == []


@pytest.mark.parametrize("more", [{"trials": 3}, {"seeds": 3}, {"random_search": True}, {"finalists": 2}], ids=str)
def test_whatever_asks_for_more_is_worked_at(more: dict[str, Any], asked: Callable[..., list[str]]) -> None:
    asked()
    assert asked(**more) == ["tried", "worked"]
    assert asked(**more) == []


def test_what_is_missing_or_damaged_is_made_again(asked: Callable[..., list[str]], tmp_path: Path) -> None:
    asked()
    result = next(tmp_path.glob("run/contenders/*/seed*-train.json"))
    result.unlink()
    assert asked() == ["tried", "worked"]
    assert result.exists()
    weights = sorted(tmp_path.glob("run/contenders/*/seed*.pt"))
    for path in weights:
        path.write_bytes(b"")
    with pytest.raises(StudyError, match="is gone or damaged"):
        asked()
    assert asked() == ["tried", "worked"]


def test_failures_are_tried_again(asked: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        begin = PixelRegression.on_train_start

        def fails(self: PixelRegression) -> None:
            if self.trainer.max_epochs == 2 and not self.trainer.fast_dev_run:
                raise ArithmeticError("unlucky")
            begin(self)

        patched.setattr(PixelRegression, "on_train_start", fails)
        with pytest.raises(StudyError, match="there is no winner"):
            asked(trial_epochs=1)
    assert asked(trial_epochs=1) == ["tried", "worked"]
