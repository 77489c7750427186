"""A search begins with the references that are points of its space."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from optuna.samplers import TPESampler
from perceptron_space.space import PerceptronSpace

from automl_plugins import Architecture, Task
from automl_plugins.errors import StudyError
from automl_plugins.samplers.base import Observation, TrialLog
from automl_plugins.spaces.narrowing import Witnesses
from automl_plugins.spaces.refusal import prolong_startup
from automl_plugins.studies.arm import arms_of
from automl_plugins.studies.first_trials import enqueue_next
from automl_plugins.studies.study import Study
from automl_plugins.studies.trial_queue import Claim, TrialQueue
from automl_plugins.training.fit import TrainingResult

MakeStudy = Callable[..., Study]
SMALL = {"depth": 1, "layer0.width": 2, "activation": "tanh"}
LARGE = {"depth": 2, "layer0.width": 16, "layer1.width": 16, "activation": "relu"}
TASK = Task("pixel", "regression", 3, 1)


class NamedSpace(PerceptronSpace):
    def references(self, task: Task) -> dict[str, Architecture]:
        return {"small": self.whole.architecture(SMALL), "large": self.whole.architecture(LARGE)}


def queue_of(study: Study) -> TrialQueue:
    study.prepare()
    study.identity.keep(study.folder)
    (arm,) = arms_of(study.project, study.plan, study.store)
    return TrialQueue(study.project, arm, "ann", datetime.now() - timedelta(hours=1))


def train(queue: TrialQueue, most: int = 100) -> None:
    for _ in range(most):
        claim = queue.claim()
        if not isinstance(claim, Claim):
            break
        queue.finish(claim, TrainingResult(len(str(claim.contender.architecture)) / 7, 0, 1, 0.1, 0.1), pruned=False)


def asked(study: Study) -> list[tuple[Any, Any]]:
    """The names of references, and the parameters, of the trials that count."""
    trials = [trial for trial in study.arm_trials("search") if "interrupted" not in trial.user_attrs]
    return [(trial.user_attrs.get("reference"), trial.params) for trial in trials]


def test_they_come_first_and_the_best_finalist_is_named_after_one(make_study: MakeStudy) -> None:
    study = make_study(space=NamedSpace(), trials=4, finalists=4)
    study.run()
    assert asked(study)[:2] == [("small", SMALL), ("large", LARGE)]
    assert all(name is None for name, _ in asked(study)[2:])
    labels = {contender.label for contender in study.finals.finalists("search")}
    assert {"search (small), trial 0", "search (large), trial 1"} <= labels
    best = min(trial.value for trial in study.arm_trials("search"))
    assert best <= min(trial.value for trial in study.arm_trials("search")[:2])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"trials": 4}, ["small", "large"]),
        ({"trials": 3}, ["small"]),
        ({"trials": 1}, []),
        ({"trials": 8, "references_first": False}, []),
        ({"trials": 8, "space": NamedSpace(max_parameters=40)}, ["small"]),
    ],
)
def test_they_are_those_within_the_limits_and_at_most_half_of_the_trials(
    make_study: MakeStudy, given: dict[str, Any], expected: list[str]
) -> None:
    study = make_study(**{"space": NamedSpace(), **given})
    (arm,) = arms_of(study.project, study.plan, study.store)
    assert list(arm.first) == expected


@pytest.mark.parametrize("trained", range(4))
def test_a_study_that_was_killed_asks_for_what_one_that_was_not_does(
    make_study: MakeStudy, tmp_path: Any, trained: int
) -> None:
    whole, killed = (make_study(space=NamedSpace(), trials=6, folder=tmp_path / name) for name in ("whole", "killed"))
    train(queue_of(whole))
    before = queue_of(killed)
    train(before, trained)
    assert isinstance(before.claim(), Claim)  # whose worker dies
    train(queue_of(killed))
    assert asked(killed) == asked(whole)


def test_one_that_is_killed_before_a_reference_is_taken_takes_it_once(make_study: MakeStudy) -> None:
    study = make_study(space=NamedSpace(), trials=4)
    queue = queue_of(study)
    enqueue_next(queue.study, queue.arm.first, [])
    train(queue_of(study))
    assert [name for name, _ in asked(study)] == ["small", "large", None, None]


def test_more_trials_bring_those_that_half_of_fewer_left_out(make_study: MakeStudy) -> None:
    train(queue_of(make_study(space=NamedSpace(), trials=2)))
    longer = make_study(space=NamedSpace(), trials=4)
    train(queue_of(longer))
    assert [name for name, _ in asked(longer)] == ["small", None, "large", None]


def test_random_search_does_not_begin_with_them(make_study: MakeStudy) -> None:
    study = make_study(space=NamedSpace(), trials=4, random_search=True)
    arms = {arm.name: arm.first for arm in arms_of(study.project, study.plan, study.store)}
    assert arms["search"]
    assert not arms["random"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (Architecture("perceptron", 1, {"depth": 1}), "'mine' is no point of the space: choice .* is missing"),
        ({"depth": 1}, "'mine' is no point of the space: "),
    ],
    ids=["incomplete", "a mapping"],
)
def test_one_that_is_no_point_of_the_space_is_named_before_anything_is_trained(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch, wrong: Any, told: str
) -> None:
    monkeypatch.setattr(NamedSpace, "references", lambda self, task: {"mine": wrong})
    with pytest.raises(StudyError, match=rf"NamedSpace\.references: {told}"):
        make_study(space=NamedSpace()).prepare()


def test_an_option_that_nobody_finds_stays_where_a_reference_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Witnesses, "draw", lambda self, most: None)
    monkeypatch.setattr(Witnesses, "near", lambda self, starts: None)
    monkeypatch.setattr(Witnesses, "descend", lambda self, small: None)
    monkeypatch.setattr("automl_plugins.spaces.within.Within._check_counted", lambda self, witnesses: None)
    space = NamedSpace().within(TASK)
    options = {choice.name: choice.options for choice in space.choices}
    assert {"small", "large"} == space.points(TASK).keys()
    assert all(value in options[name] for values in (SMALL, LARGE) for name, value in values.items())


# The start of samplers.


@pytest.mark.parametrize(("references", "drawn", "begun"), [(9, 4, False), (9, 5, True), (2, 7, False), (2, 8, True)])
def test_of_a_samplers_start_half_may_be_references(references: int, drawn: int, begun: bool) -> None:
    one = NamedSpace().architecture(SMALL)
    flags = [True] * references + [False] * drawn
    seen = [Observation(number, one, (0.0,), is_reference=flag) for number, flag in enumerate(flags)]
    assert TrialLog(seen, len(seen), frozenset(), 1, None).has_begun(10) is begun


def test_so_may_be_those_of_tpe(make_study: MakeStudy) -> None:
    queue = queue_of(make_study(space=NamedSpace(), trials=6))
    train(queue, 3)
    queue.study.sampler = sampler = TPESampler(n_startup_trials=2)
    prolong_startup(queue.study)
    assert sampler._n_startup_trials == 3  # two references, of which one counts, and a random one


def test_they_are_trained_with_the_settings_that_are_not_tuned(make_study: MakeStudy) -> None:
    tune = {"module.learning_rate": [1e-3, 1e-2], "data.batch_size": [2, 4]}
    queue = queue_of(make_study(space=NamedSpace(), trials=6, tune=tune))
    train(queue, most=2)
    asked_for = [trial.params for trial in queue.study.trials]
    assert [each["module.learning_rate"] for each in asked_for] == [1e-2, 1e-2], "the module's own"
    assert all(each["data.batch_size"] in (2, 4) for each in asked_for), "the data's own, 8, is not offered"
