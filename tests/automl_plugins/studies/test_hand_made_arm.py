"""The third arm: hand-made networks with their training settings."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from torch import Tensor, nn

from automl_plugins import Study, Task
from automl_plugins.report.trial_cost import spent
from automl_plugins.studies.arm import arms_of
from automl_plugins.studies.equal_cost import EqualCost
from automl_plugins.studies.trial_queue import Claim, NoTrial, TrialQueue
from automl_plugins.training.fit import TrainingResult

MakeStudy = Callable[..., Study]
TUNE: dict[str, Any] = {
    "module.learning_rate": {"low": 1e-3, "high": 1e-1, "log": True},
    "data.batch_size": [4, 8],
}


class Linear(nn.Conv2d):
    def __init__(self, task: Task) -> None:
        super().__init__(task.in_channels, task.out_channels, 1)


class Wide(nn.Sequential):
    def __init__(self, task: Task) -> None:
        super().__init__(nn.Conv2d(task.in_channels, 16, 1), nn.ReLU(), nn.Conv2d(16, task.out_channels, 1))


class Huge(nn.Sequential):
    """Costs more than a small search in all."""

    def __init__(self, task: Task) -> None:
        inner = (nn.Conv2d(64, 64, 9, padding=4) for _ in range(2))
        super().__init__(nn.Conv2d(task.in_channels, 64, 1), *inner, nn.Conv2d(64, task.out_channels, 1))


class Twice(nn.Sequential):
    """Costs more still."""

    def __init__(self, task: Task) -> None:
        super().__init__(Huge(task), nn.Conv2d(task.out_channels, task.out_channels, 1))


class Fragile(Linear):
    """Fails in its second step, which nobody tries before the first trial."""

    def forward(self, image: Tensor) -> Tensor:
        if self.training and self.weight.grad is not None:
            raise RuntimeError("it breaks")
        return super().forward(image)


def queue_of(study: Study) -> TrialQueue:
    study.prepare()
    study.identity.keep(study.folder)
    arm = arms_of(study.project, study.plan, study.store, study.references)[-1]
    assert arm.name == "hand-made"
    return TrialQueue(study.project, arm, "ann", datetime.now() - timedelta(hours=1))


def train(queue: TrialQueue, score: Callable[[Claim], float], most: int = 1000) -> None:
    """Take trials and end them with made-up scores."""
    for _ in range(most):
        claim = queue.claim()
        if not isinstance(claim, Claim):
            return
        queue.finish(claim, TrainingResult(score(claim), 0, 1, 0.1, 0.1), pruned=False)


def name(trial: FrozenTrial) -> str:
    return str(trial.user_attrs["reference"]).rpartition(".")[2]


def far_from_a_hundredth(claim: Claim) -> float:
    """A score by which Wide with a learning rate of 0.03 is best."""
    worse = 1.0 if "Linear" in str(claim.contender.reference) else 0.0
    return worse + abs(claim.contender.settings["module.learning_rate"] - 0.03)


# Trials.


def test_every_network_has_its_defaults_first_and_then_the_sampler_chooses_network_and_settings(
    make_study: MakeStudy,
) -> None:
    study = make_study(tune=TUNE, equal_cost="trials", references=[Linear, Wide], trials=30)
    queue = queue_of(study)
    train(queue, far_from_a_hundredth)
    trials = study.arm_trials("hand-made")
    assert len(trials) == 30, "as many as the search"
    first = {"module.learning_rate": 1e-2, "data.batch_size": 8}
    assert [(name(trial), trial.params) for trial in trials[:2]] == [("Linear", first), ("Wide", first)]
    assert all(trial.params.keys() == TUNE.keys() for trial in trials), "ordinary parameters of their names"
    assert len({trial.params["module.learning_rate"] for trial in trials}) > 20
    late = Counter(map(name, trials[15:]))
    assert late["Wide"] > late["Linear"], "TPE goes where it is better"


def test_a_default_that_is_not_offered_is_drawn(make_study: MakeStudy) -> None:
    study = make_study(
        equal_cost="trials",
        tune={"module.learning_rate": [1e-3], "data.batch_size": [2, 4]},
        references=[Linear],
        trials=2,
    )
    train(queue_of(study), lambda claim: 1.0)
    assert {trial.params["module.learning_rate"] for trial in study.arm_trials("hand-made")} == {1e-3}
    assert all(trial.params["data.batch_size"] in (2, 4) for trial in study.arm_trials("hand-made"))


def test_without_tuning_each_has_one_trial_where_there_is_something_to_choose(make_study: MakeStudy) -> None:
    study = make_study(references=[Linear, Wide], trials=5, finalists=1)
    train(queue_of(study), lambda claim: 1.0)
    assert [name(trial) for trial in study.arm_trials("hand-made")] == ["Linear", "Wide"]
    assert study.plan.arms_with(2) == ("search", "hand-made")
    assert make_study(references=[Linear, Wide], finalists=2).plan.arms_with(2) == ("search",)
    assert make_study(references=[Linear, Wide], trials=0, tune=TUNE).plan.arms_with(2) == ()
    assert make_study(tune=TUNE).plan.arms_with(0) == ("search",)


def test_a_network_whose_trials_all_failed_is_not_tried_on(make_study: MakeStudy) -> None:
    study = make_study(tune=TUNE, equal_cost="trials", references=[Linear, Wide], trials=8, max_equal_failures=2)
    queue = queue_of(study)
    while isinstance(claim := queue.claim(), Claim):
        if "Linear" in str(claim.contender.reference):
            queue.fail(claim, RuntimeError("out of memory"))
        else:
            queue.finish(claim, TrainingResult(1.0, 0, 1, 0.1, 0.1), pruned=False)
    assert Counter(map(name, study.arm_trials("hand-made"))) == {"Linear": 1, "Wide": 7}
    alone = make_study(
        tune=TUNE, equal_cost="trials", references=[Linear], trials=8, folder=study.folder.path / "alone"
    )
    queue = queue_of(alone)
    claim = queue.claim()
    assert isinstance(claim, Claim)
    queue.fail(claim, RuntimeError("out of memory"))
    assert queue.claim() is NoTrial.DONE, "there is nothing left to try"


def test_one_that_was_cut_off_is_asked_for_again_and_the_rest_is_as_without(
    make_study: MakeStudy, tmp_path: Path
) -> None:
    def asked(study: Study) -> list[tuple[str, dict[str, Any]]]:
        trials = [each for each in study.arm_trials("hand-made") if "interrupted" not in each.user_attrs]
        return [(name(trial), trial.params) for trial in trials]

    given = {"tune": TUNE, "equal_cost": "trials", "references": [Linear, Wide], "trials": 16}
    whole = make_study(**given, folder=tmp_path / "whole")
    train(queue_of(whole), far_from_a_hundredth)
    killed = make_study(
        tune=TUNE, equal_cost="trials", references=[Linear, Wide], trials=16, folder=tmp_path / "killed"
    )
    for ended in (0, 1, 11):
        queue = queue_of(killed)
        train(queue, far_from_a_hundredth, most=ended)
        assert isinstance(queue.claim(), Claim)  # whose worker dies
    train(queue_of(killed), far_from_a_hundredth)
    assert asked(killed) == asked(whole)


def test_networks_may_join_and_leave_a_study_that_has_begun(make_study: MakeStudy) -> None:
    train(queue_of(make_study(tune=TUNE, equal_cost="trials", references=[Linear], trials=2)), lambda claim: 1.0)
    study = make_study(tune=TUNE, equal_cost="trials", references=[Wide, Linear], trials=6)
    train(queue_of(study), lambda claim: 1.0)
    assert name(study.arm_trials("hand-made")[2]) == "Wide", "the new one begins with its defaults"
    left = make_study(tune=TUNE, equal_cost="trials", references=[Wide], trials=8)
    train(queue_of(left), lambda claim: 1.0)
    assert {name(trial) for trial in left.arm_trials("hand-made")[6:]} == {"Wide"}
    assert {each.reference for each in left.finals.finalists("hand-made")} == {study.references[0].reference}


# Finals.


def test_the_best_stand_in_the_finals_with_their_settings(make_study: MakeStudy) -> None:
    study = make_study(tune=TUNE, equal_cost="trials", references=[Linear, Wide], trials=6, finalists=2, seeds=2)
    summary = study.run()
    ranked = sorted(study.arm_trials("hand-made"), key=lambda trial: -trial.value)
    trials = {trial.user_attrs["reference"]: trial for trial in ranked}.values()  # the best of each network
    rows = [row for row in summary.rows if row.found_by == "hand"]
    assert sorted(map(str, (row.settings for row in rows))) == sorted(str(trial.params) for trial in trials)
    assert len({row.label for row in rows}) == 2
    assert {row.label.partition(",")[0] for row in rows} <= {"Linear", "Wide"}
    assert all(f"{row.label} was trained with" in "\n".join(summary.lines()) for row in rows)
    assert summary.searches["hand-made"]["trials"] == 6
    assert "; its trials took " in "\n".join(summary.verdict)
    for row in rows:
        assert json.loads((study.folder.path / row.folder / "settings.json").read_text()) == row.settings


def test_a_broken_network_is_a_line_of_the_table_where_there_is_a_place(make_study: MakeStudy) -> None:
    study = make_study(references=[Fragile, Linear, Wide], finalists=2, trials=1)
    summary = study.run()
    assert {row.label for row in summary.rows} == {"search", "Linear", "Wide"}
    assert [trial.user_attrs.get("failure", "")[:23] for trial in study.arm_trials("hand-made")] == [
        "RuntimeError: it breaks",
        "",
        "",
    ]
    study = make_study(tune=TUNE, references=[Fragile], finalists=2, trials=2, folder=study.folder.path / "alone")
    row = next(row for row in study.run().rows if row.label == "Fragile")
    assert row.notes[0].startswith("failed: RuntimeError: it breaks")


def test_the_arm_has_the_cost_of_the_search(make_study: MakeStudy) -> None:
    study = make_study(tune=TUNE, references=[Linear, Wide], trials=6, random_search=True)
    summary = study.run()
    search, hand = (summary.searches[arm] for arm in ("search", "hand-made"))
    dearest = max(t.user_attrs["steps"] * t.user_attrs["macs"] for t in study.arm_trials("hand-made"))
    assert search["macs"] <= hand["macs"] < search["macs"] + dearest


def test_networks_that_do_not_fit_into_the_cost_of_the_arm_are_left_out_and_said_so(make_study: MakeStudy) -> None:
    given = {"trials": 3, "random_search": True, "finalists": 1}
    study = make_study(references=[Huge, Linear], **given)
    summary = study.run()
    trials = study.arm_trials("hand-made")
    assert list(map(name, trials)) == ["Linear"], "the cheapest comes first"
    assert spent(trials, "macs") <= spent(study.arm_trials("search"), "macs")
    assert [line.partition(",")[0] for line in summary.verdict if "Huge" in line] == ["Huge: not compared"]
    assert {row.label for row in summary.rows} == {"search", "random", "Linear"}
    alone = make_study(references=[Huge, Twice], **given, folder=study.folder.path / "alone")
    alone.run()
    assert list(map(name, alone.arm_trials("hand-made"))) == ["Huge"], "one is always compared"


@pytest.mark.parametrize("costs", [(1, 2, 3), (4, 4, 4), (1, 100, 2), (50, 60, 70)], ids=str)
def test_what_an_arm_begins_with_is_the_same_whether_it_takes_turns_with_the_search_or_comes_after_it(
    costs: tuple[int, ...],
) -> None:
    equal = EqualCost("macs", "search", 4, first={str(place): cost for place, cost in enumerate(sorted(costs))})

    def asks(own: list[FrozenTrial], searched: list[FrozenTrial]) -> list[FrozenTrial]:
        own = list(own)
        while equal.is_reached(own, searched) is False:
            next_ = equal.next_first(own, searched)
            own.append(ended(macs=3 if next_ is None else equal.first[next_], reference=next_))
        return own

    search = [ended(macs=each) for each in (5, 1, 9, 2)]
    after = asks([], search)
    turns: list[FrozenTrial] = []
    for place in range(1, 5):
        turns = asks(turns, search[:place])
    assert [each.user_attrs for each in turns] == [each.user_attrs for each in after]
    # The cheapest is always there, and further ones as far as they fit.
    first = [each.user_attrs["macs"] for each in after if each.user_attrs["reference"] is not None]
    assert first == sorted(costs)[: len(first)]
    assert len(first) == 1 or sum(first) <= sum(each.user_attrs["macs"] for each in search)


def ended(**attributes: Any) -> FrozenTrial:
    return create_trial(state=TrialState.PRUNED, user_attrs={"steps": 2, **attributes})
