"""A user's code that asks to end the process ends one trial, or is named before the first one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from perceptron_space.data import WavesData
from perceptron_space.module import PixelRegression

from automl_plugins import Task
from automl_plugins.errors import StudyError
from automl_plugins.studies.study import Study

MakeStudy = Callable[..., Study]


class LeavesWhenTrained(PixelRegression):
    """Leaves in its second trial, and in no other training."""

    left = 0

    def on_train_epoch_end(self) -> None:
        if not self.trainer.fast_dev_run:
            type(self).left += 1
            if type(self).left == 2:
                raise SystemExit(3)


class LeavesWhenMade(PixelRegression):
    made = 0

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        type(self).made += 1
        if type(self).made == self.fatal:
            raise SystemExit(0)

    fatal = 1


class LeavesWhenSetUp(WavesData):
    def setup(self, stage: str | None = None) -> None:
        raise SystemExit(1)


def test_a_trial_that_calls_exit_has_failed_and_the_study_goes_on(make_study: MakeStudy) -> None:
    study = make_study(module=LeavesWhenTrained, trials=3, trainer={"max_epochs": 1, "accelerator": "cpu"})
    summary = study.run()
    assert summary.searches["search"]["failed"] == 1
    (failure,) = (each.user_attrs["failure"] for each in study.arm_trials("search") if "failure" in each.user_attrs)
    assert failure.startswith("RuntimeError: it called sys.exit(3)")
    assert summary.winner is not None


def test_a_module_or_data_that_leave_are_named_before_the_first_trial(make_study: MakeStudy) -> None:
    for given, code in (({"module": LeavesWhenMade}, 0), ({"data": LeavesWhenSetUp()}, 1)):
        study = make_study(**given)
        with pytest.raises(StudyError, match=rf"the module, the data or a network called sys\.exit\({code}\)"):
            study.prepare()
        assert not study.folder.path.exists()


def test_a_module_that_leaves_later_fails_its_trial(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LeavesWhenMade, "fatal", -1)
    study = make_study(module=LeavesWhenMade, task=Task("pixel", "regression", 3, 1), max_equal_failures=2)
    study.prepare()
    monkeypatch.setattr(LeavesWhenMade, "fatal", LeavesWhenMade.made + 1)
    assert study.run().searches["search"]["failed"] == 1
