"""The arms of a study have the same cost, whoever runs them and however often they are killed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from perceptron_space.module import PixelRegression
from perceptron_space.space import PerceptronSpace
from torch import Tensor, nn

from automl_plugins.errors import StudyError
from automl_plugins.measures.macs import macs
from automl_plugins.objectives.contender import Contender
from automl_plugins.report.trial_cost import cost_of, spent
from automl_plugins.studies.arm import arms_of
from automl_plugins.studies.equal_cost import EqualCost, count_macs
from automl_plugins.studies.study import Study
from automl_plugins.studies.trial_queue import Claim, NoTrial, TrialQueue
from automl_plugins.training.fit import TrainingResult

MakeStudy = Callable[..., Study]
EPOCHS = 3
WIDE = PerceptronSpace(widest=64)
"""84 architectures, so that few are drawn twice."""


def trial(state: TrialState = TrialState.COMPLETE, **attributes: Any) -> FrozenTrial:
    value = 0.0 if state is TrialState.COMPLETE else None
    return create_trial(
        state=state, value=value, params={"x": 0.5}, distributions={"x": FloatDistribution(0, 1)}, user_attrs=attributes
    )


def queues_of(study: Study, worker: str = "ann") -> list[TrialQueue]:
    study.prepare()
    study.identity.keep(study.folder)
    since = datetime.now() - timedelta(hours=1)
    return [TrialQueue(study.project, arm, worker, since) for arm in arms_of(study.project, study.plan, study.store)]


def finish(queue: TrialQueue, claim: Claim) -> None:
    """End a trial as if it had been trained; some are pruned after a third of their steps."""
    length = len(str(claim.contender.architecture))
    pruned = length % 3 == 2
    queue.finish(
        claim,
        TrainingResult(len(str(claim.contender.architecture)) / 7, 0, EPOCHS // (3 if pruned else 1), 2.0, 1.0),
        pruned,
    )


def work(queues: list[TrialQueue], most: int = 10_000) -> None:
    for queue in queues:
        while most and isinstance(claim := queue.claim(), Claim):
            finish(queue, claim)
            most -= 1


def asked(study: Study) -> list[list[dict[str, Any]]]:
    return [
        [trial.params for trial in study.arm_trials(arm) if "interrupted" not in trial.user_attrs]
        for arm in study.plan.arms
    ]


def racing(make_study: MakeStudy, **given: Any) -> Study:
    return make_study(**{"random_search": True, "sampler": "RandomSampler", "trials": 5, "space": WIDE, **given})


# What a trial costs.


def test_a_trial_costs_its_steps_times_the_macs_of_its_network_on_the_first_batch(make_study: MakeStudy) -> None:
    study = racing(make_study, trials=3, pruner="MedianPruner")
    study.run()
    images = torch.zeros(8, 3, 8, 8)
    for arm in study.plan.arms:
        for each in study.arm_trials(arm):
            if "copied_from" in each.user_attrs:
                assert cost_of(each, "macs") == 0
                continue
            network = study.project.space.network(study.project.space.architecture(each.params), study.project.task)
            assert cost_of(each, "macs") == each.user_attrs["steps"] * macs(network, [images]) > 0


@pytest.mark.parametrize(
    ("ended", "unit", "expected"),
    [
        (trial(steps=3, macs=5), "macs", 15),
        (trial(steps=3), "macs", 3),
        (trial(steps=3, macs=0), "macs", 3),
        (trial(steps=3, macs=5), "steps", 3),
        (trial(steps=3, cpu_seconds=0.5, seconds=2.0), "cpu_seconds", 0.5),
        (trial(steps=3, cpu_seconds=0.5, seconds=2.0), "gpu_seconds", 2.0),
        (trial(), "trials", 1),
        (trial(TrialState.PRUNED, steps=1, macs=5), "macs", 5),
        (trial(TrialState.FAIL, failure="no", steps=2, macs=5), "macs", 10),
        (trial(TrialState.FAIL, interrupted=True, steps=2, macs=5), "macs", 0),
        (trial(TrialState.PRUNED, refused="too large", macs=5), "trials", 0),
        (trial(copied_from=0), "macs", 0),
        (trial(TrialState.RUNNING, macs=5), "macs", 0),
    ],
)
def test_a_trial_costs_what_it_took_however_it_ended(ended: FrozenTrial, unit: str, expected: float) -> None:
    assert cost_of(ended, unit) == expected


def test_of_a_larger_batch_a_step_costs_more_in_proportion(make_study: MakeStudy) -> None:
    study = racing(make_study)
    count, architecture = count_macs(study.project), study.project.space.sample(np.random.default_rng(0))
    size = 4 * study.project.data.batch_size  # type: ignore[attr-defined]
    own, larger = (count(Contender("", architecture, settings=each)) for each in ({}, {"data.batch_size": size}))
    assert own is not None
    assert larger == 4 * own


def test_a_failure_costs_what_it_took_until_then(make_study: MakeStudy) -> None:
    class Fails(PixelRegression):
        def on_train_epoch_end(self) -> None:
            if self.current_epoch == 1 and any(isinstance(part, nn.Tanh) for part in self.network.modules()):
                raise ArithmeticError("tanh is broken")

    study = make_study(module=Fails, trials=6, max_equal_failures=7, sampler="RandomSampler")
    study.run()
    failed = [each for each in study.arm_trials("search") if "failure" in each.user_attrs]
    assert failed
    assert all(each.user_attrs["steps"] == 4 and each.user_attrs["cpu_seconds"] > 0 for each in failed)


# When an arm is done.


@settings(max_examples=200, deadline=None)
@given(
    costs=st.lists(st.integers(1, 50), min_size=1, max_size=12),
    own=st.lists(st.integers(1, 50), min_size=60, max_size=60),
    workers=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_an_arm_ends_with_the_searchs_cost_and_less_than_a_trial_more_for_each_worker(
    costs: list[int], own: list[int], workers: int, seed: int
) -> None:
    equal, generator = EqualCost("macs", "search", len(costs)), np.random.default_rng(seed)
    search = [trial(steps=2, macs=each) for each in costs]
    trials: list[FrozenTrial] = []
    while (reached := equal.is_reached(trials, search)) is not True:
        running = [place for place, each in enumerate(trials) if each.state is TrialState.RUNNING]
        if reached is False and len(running) < workers:
            trials.append(trial(TrialState.RUNNING, macs=own[len(trials)]))
        else:
            place = int(generator.choice(running))
            trials[place] = trial(steps=2, macs=own[place])
    due, had = spent(search, "macs"), spent(trials, "macs")
    assert due <= had
    assert had < due + 2 * max(own[: len(trials)]) * (1 if workers == 1 else workers)


def test_none_is_taken_before_the_search_has_cost_more_and_none_is_left_out_of_the_finals() -> None:
    equal = EqualCost("steps", "search", 3)
    search = [trial(steps=4), trial(TrialState.RUNNING)]
    assert equal.is_reached([], []) is None
    assert equal.is_reached([], search) is False
    assert equal.is_reached([trial(steps=4)], search) is None, "the search may cost more still"
    done = [trial(steps=4)] * 3
    assert equal.is_reached([trial(steps=6)] * 2, done) is True
    assert equal.is_reached([trial(steps=6), trial(steps=6), trial(TrialState.RUNNING)], done) is None


def test_an_arm_that_has_trained_all_there_is_ends() -> None:
    own = [trial(steps=1), *[trial(copied_from=0)] * 30]
    assert EqualCost("steps", "search", 1).is_reached(own, [trial(steps=4)]) is True
    assert EqualCost("steps", "search", 1).is_reached(own[:-1], [trial(steps=4)]) is False


# In a study.


def test_random_search_costs_as_much_as_the_search(make_study: MakeStudy) -> None:
    study = racing(make_study)
    work(queues_of(study))
    search, random = (study.arm_trials(arm) for arm in study.plan.arms)
    assert len(search) == 5 != len(random)
    largest = max(cost_of(each, "macs") for each in random)
    assert 0 <= spent(random, "macs") - spent(search, "macs") < largest


@pytest.mark.parametrize("unit", ["steps", "trials", "cpu_seconds"])
def test_so_it_does_in_another_unit(make_study: MakeStudy, unit: str) -> None:
    study = racing(make_study, equal_cost=unit)
    work(queues_of(study))
    search, random = (spent(study.arm_trials(arm), unit) for arm in study.plan.arms)
    assert 0 <= random - search < EPOCHS
    assert unit != "trials" or random == search == 5


@pytest.mark.parametrize("trained", [2, 5, 7])
def test_a_study_that_was_killed_is_as_one_that_was_not(make_study: MakeStudy, tmp_path: Path, trained: int) -> None:
    whole, killed = (racing(make_study, folder=tmp_path / name) for name in ("whole", "killed"))
    work(queues_of(whole))
    before = queues_of(killed)
    work(before, trained)
    assert any(isinstance(queue.claim(), Claim) for queue in before)  # whose worker dies
    work(queues_of(killed))
    assert asked(killed) == asked(whole)


def test_more_trials_of_the_search_bring_more_of_the_others(make_study: MakeStudy, tmp_path: Path) -> None:
    work(queues_of(racing(make_study, trials=3)))
    longer = racing(make_study)
    work(queues_of(longer))
    whole = racing(make_study, folder=tmp_path / "whole")
    work(queues_of(whole))
    assert asked(longer) == asked(whole)


def test_several_workers_wait_for_one_another(make_study: MakeStudy) -> None:
    study = racing(make_study, trials=1, equal_cost="steps")
    (search, random), (_, other) = queues_of(study), queues_of(study, "bob")
    study.folder.worker_mark("ann").touch()
    study.folder.worker_mark("bob").touch()
    claim = search.claim()
    assert isinstance(claim, Claim)
    assert other.claim() is NoTrial.WAIT, "the search has cost nothing yet"
    finish(search, claim)
    taken = random.claim()
    assert isinstance(taken, Claim)
    random.finish(taken, TrainingResult(0.1, 0, 10 * EPOCHS, 1.0, 1.0), pruned=False)
    assert random.claim() is NoTrial.DONE


def test_the_table_has_the_cost_of_each_search(make_study: MakeStudy, capsys: pytest.CaptureFixture[str]) -> None:
    study = racing(make_study, trials=3)
    summary = study.run()
    assert summary.unit == "macs"
    costs = [spent(study.arm_trials(arm), "macs") for arm in study.plan.arms]
    assert [summary.searches[arm]["macs"] for arm in study.plan.arms] == costs
    out, err = capsys.readouterr()
    assert "its arm's steps x MACs" in out
    assert all(f"{cost:.3g}" in out for cost in costs)
    assert "100 % of the search's cost" in err


# What cannot be.


class PartWise(PixelRegression):
    """Calls the parts of its network, and never the network."""

    def forward(self, images: Tensor) -> Tensor:
        for part in self.network.children():
            images = part(images)
        return images


def test_steps_count_where_the_network_is_not_called(make_study: MakeStudy, capsys: pytest.CaptureFixture[str]) -> None:
    study = racing(make_study, module=PartWise, trials=3)
    study.prepare()
    assert "as many optimizer steps each: MACs cannot be counted" in capsys.readouterr().err
    assert {arm.equal_cost.unit for arm in arms_of(study.project, study.plan, study.store) if arm.equal_cost} == {
        "steps"
    }
    with pytest.raises(StudyError, match=r"equal_cost=macs: neither validation_step nor .*; give steps"):
        racing(make_study, module=PartWise, equal_cost="macs").prepare()


def test_a_unit_that_there_is_not_is_refused(make_study: MakeStudy) -> None:
    with pytest.raises(
        ValueError, match="equal_cost is one of macs, steps, trials, cpu_seconds, gpu_seconds; got 'mac'"
    ):
        racing(make_study, equal_cost="mac")
    with pytest.raises(StudyError, match="equal_cost=gpu_seconds: trainings run on the CPU here"):
        racing(make_study, equal_cost="gpu_seconds").prepare()


def test_a_space_of_few_architectures_ends(make_study: MakeStudy) -> None:
    study = racing(make_study, space=PerceptronSpace(widest=2), trials=6)
    work(queues_of(study))
    assert len(study.arm_trials("random")) <= 40


def test_a_count_is_the_same_whether_the_calls_were_recorded_before(make_study: MakeStudy) -> None:
    """The recording runs the network too, and is no part of what is counted."""
    fresh, study = racing(make_study).project, racing(make_study)
    architecture = study.project.space.sample(np.random.default_rng(0))
    study.prepare()
    contender = Contender("", architecture)
    assert count_macs(fresh)(contender) == count_macs(study.project)(contender)
