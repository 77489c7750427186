from __future__ import annotations

import math
import os
import platform
import shutil
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from filelock import FileLock
from optuna.samplers import BaseSampler
from optuna.trial import TrialState
from perceptron_space.data import WavesData
from perceptron_space.space import PerceptronSpace

from automl_plugins import Project
from automl_plugins.errors import StudyError
from automl_plugins.report.trials import outcome
from automl_plugins.studies.arm import Arm
from automl_plugins.studies.candidates import Architectures
from automl_plugins.studies.deaths import KilledError
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.optuna_parts import make_pruner, sampler_factory
from automl_plugins.studies.recovery import recover
from automl_plugins.studies.time_limit import TimeLimitError
from automl_plugins.studies.trial_queue import Claim, NoTrial, TrialQueue
from automl_plugins.studies.tuning import Tuning
from automl_plugins.system import machine
from automl_plugins.training.fit import TrainingResult

FIRST = {"depth": 1, "layer0.width": 4, "activation": "relu"}
DEEP = {"depth": 2, "layer0.width": 8, "layer1.width": 8, "activation": "relu"}
SECOND = {"depth": 1, "layer0.width": 8, "activation": "tanh"}
MakeQueue = Callable[..., TrialQueue]
Work = Callable[[str], AbstractContextManager[Any]]


class Listed(BaseSampler):
    """Asks for the listed architectures in turn, then for the last one for ever."""

    def __init__(self, *architectures: dict[str, Any]) -> None:
        self.left = list(architectures)

    def infer_relative_search_space(self, study: object, trial: object) -> dict[str, Any]:
        return {}

    def sample_relative(self, study: object, trial: object, search_space: object) -> dict[str, Any]:
        self.now = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        return {}

    def sample_independent(self, study: object, trial: object, name: str, distribution: object) -> Any:
        return self.now[name]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.claim_lock.parent.mkdir(parents=True)
    return folder


@pytest.fixture
def make_queue(folder: RunFolder) -> MakeQueue:
    def make(sampler: Any = "RandomSampler", worker: str = "ann", **given: Any) -> TrialQueue:
        space = given.pop("space", PerceptronSpace())
        since = given.pop("since", datetime.now() - timedelta(hours=1))
        name = given.pop("name", "search")
        project = Project(space, WavesData(), folder=folder.path)
        arm = Arm(
            **{
                "name": name,
                "study_name": name,
                "storage": str(folder.journal),
                "sampler": sampler_factory(sampler),
                "candidates": Architectures(project, Tuning()),
                "pruner": make_pruner(None),
                "directions": ["minimize"],
                "trials": 3,
                "seed": 0,
                "max_equal_failures": 3,
                **given,
            }
        )
        return TrialQueue(project, arm, worker, since)

    return make


@pytest.fixture
def work(folder: RunFolder) -> Work:
    """Be a worker that is alive for as long as the block runs."""

    def start(worker: str) -> AbstractContextManager[Any]:
        folder.worker_mark(worker).touch()
        return FileLock(folder.worker_lock(worker))

    return start


def score(claim: Claim) -> float:
    """A made-up value that depends on the architecture alone."""
    return sum(len(str(value)) * len(name) for name, value in claim.contender.architecture.items()) / 7


def finish(queue: TrialQueue, claim: Claim) -> None:
    queue.finish(claim, TrainingResult(score(claim), 0, 1, 0.1, 0.1), pruned=False)


def taken(queue: TrialQueue) -> Claim:
    claim = queue.claim()
    assert isinstance(claim, Claim)
    return claim


def run_out(queue: TrialQueue) -> None:
    while isinstance(claim := queue.claim(), Claim):
        finish(queue, claim)


def asked(queue: TrialQueue) -> list[dict[str, Any]]:
    """The parameters of the trials that count, in order."""
    trials = queue.study.get_trials()
    return [trial.params for trial in trials if "interrupted" not in trial.user_attrs]


def test_exactly_the_asked_number_of_trials_is_handed_out(make_queue: MakeQueue) -> None:
    queue = make_queue(trials=5)
    run_out(queue)
    assert queue.claim() is NoTrial.DONE
    assert len(queue.study.trials) == 5


def test_a_trial_is_taken_while_nobody_else_takes_one(make_queue: MakeQueue, folder: RunFolder) -> None:
    queue, claims = make_queue(), list[Claim | NoTrial]()
    takes = threading.Thread(target=lambda: claims.append(queue.claim()))
    with FileLock(folder.claim_lock):
        takes.start()
        takes.join(0.3)
        assert takes.is_alive()
        assert not queue.study.get_trials()
    takes.join(20)
    assert isinstance(claims[0], Claim)


def test_going_on_with_more_trials_adds_the_difference(make_queue: MakeQueue) -> None:
    run_out(make_queue(trials=3))
    before = make_queue(trials=3).study.get_trials()
    longer = make_queue(trials=7)
    run_out(longer)
    assert longer.study.get_trials()[:3] == before
    assert len(longer.study.trials) == 7
    at_once = make_queue(trials=7, name="at once")
    run_out(at_once)
    assert asked(longer) == asked(at_once)


def test_the_last_trials_of_others_are_waited_for(make_queue: MakeQueue, work: Work) -> None:
    ann, bob = make_queue(worker="ann", trials=1), make_queue(worker="bob", trials=1)
    with work("ann"):
        claim = taken(ann)
        assert bob.claim() is NoTrial.WAIT
        finish(ann, claim)
    assert bob.claim() is NoTrial.DONE


def test_an_equal_architecture_gets_its_value_without_a_training(make_queue: MakeQueue) -> None:
    queue = make_queue(Listed(FIRST, SECOND, FIRST), trials=4)
    run_out(queue)
    first, _, copied, again = queue.study.trials
    assert copied.value == again.value == first.value
    assert [trial.user_attrs.get("copied_from") for trial in (first, copied, again)] == [None, 0, 0]
    assert "steps" not in copied.user_attrs


def test_more_copies_than_anybody_counts_are_no_error(make_queue: MakeQueue) -> None:
    queue = make_queue(Listed(FIRST), trials=230, storage="sqlite:///:memory:", space=PerceptronSpace(widest=4))
    queue.study = optuna.create_study(sampler=Listed(FIRST))  # in memory: so many trials on disk take long
    run_out(queue)
    assert sum("copied_from" in trial.user_attrs for trial in queue.study.get_trials(deepcopy=False)) == 229


def test_an_architecture_in_training_is_not_trained_by_another_worker(make_queue: MakeQueue, work: Work) -> None:
    ann = make_queue(Listed(FIRST), worker="ann", trials=3)
    bob = make_queue(Listed(FIRST, SECOND), worker="bob", trials=3)
    with work("ann"), work("bob"):
        claim = taken(ann)
        assert bob.claim() is NoTrial.WAIT
        assert bob.claim() is NoTrial.WAIT
        assert len(bob.study.trials) == 2  # waiting asks for no more
        finish(ann, claim)
        assert dict(taken(bob).contender.architecture) == SECOND
    original, twin, _ = bob.study.trials
    assert twin.value == original.value
    assert twin.user_attrs["copied_from"] == 0


def test_the_twin_of_a_training_that_failed_is_asked_for_again(make_queue: MakeQueue, work: Work) -> None:
    ann, bob = (make_queue(Listed(FIRST), worker=worker, trials=2) for worker in ("ann", "bob"))
    with work("ann"), work("bob"):
        claim = taken(ann)
        assert bob.claim() is NoTrial.WAIT
        ann.fail(claim, ValueError("broken"))
        again = taken(bob)
        assert dict(again.contender.architecture) == FIRST
        finish(bob, again)
    assert bob.claim() is NoTrial.DONE


def test_the_twin_of_a_training_whose_worker_died_is_taken_over(make_queue: MakeQueue, work: Work) -> None:
    ann, bob = (make_queue(Listed(FIRST), worker=worker, trials=2) for worker in ("ann", "bob"))
    with work("bob"):
        with work("ann"):
            taken(ann)
            assert bob.claim() is NoTrial.WAIT
        finish(bob, taken(bob))
        assert bob.claim() is NoTrial.DONE
    assert [trial.value is None for trial in bob.study.trials] == [True, True, False, False]


def test_a_network_above_the_cap_is_refused_and_does_not_count(make_queue: MakeQueue) -> None:
    queue = make_queue(Listed(DEEP, DEEP, FIRST), trials=1, space=PerceptronSpace(max_parameters=73))
    run_out(queue)
    refused = [trial for trial in queue.study.trials if "refused" in trial.user_attrs]
    assert [trial.params for trial in refused] == [DEEP, DEEP]
    assert refused[0].user_attrs["refused"] == "113 parameters; max_parameters is 73"
    assert refused[0].constraints == {"params": pytest.approx(113 / 73 - 1)}
    assert [trial.value is not None for trial in queue.study.trials] == [False, False, True]


def test_after_many_refusals_in_a_row_the_space_draws_within_its_limits(make_queue: MakeQueue) -> None:
    queue = make_queue(Listed(DEEP), trials=2, space=PerceptronSpace(max_parameters=73))
    queue.study = optuna.create_study()  # in memory: many trials on disk take long
    run_out(queue)
    refused = ["refused" in trial.user_attrs for trial in queue.study.trials]
    assert refused == [True] * 20 + [False] + [True] * 20 + [False]
    assert queue.study.trials[20].user_attrs["drawn"] == "within the limits, after 20 refused proposals"


def test_a_machine_for_which_everything_is_too_large_ends_the_study(
    make_queue: MakeQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = make_queue(Listed(FIRST))
    queue.study = optuna.create_study()
    with monkeypatch.context() as small:
        small.setattr("automl_plugins.studies.trial_queue.too_large", lambda count: f"{count} parameters")
        with pytest.raises(StudyError, match=r"architectures in a row were too large, the last with .* parameters"):
            queue.claim()
    larger = make_queue(Listed(FIRST), since=datetime.now())
    larger.study = queue.study
    taken(larger)  # a restart on a larger machine goes on


def test_the_first_ten_trials_of_tpe_with_a_value_are_random_however_many_are_refused(
    make_queue: MakeQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    modelled: list[tuple[int, int]] = []
    sample = optuna.samplers.TPESampler._sample

    def spied(sampler: Any, study: optuna.Study, *rest: Any) -> Any:
        ended = [trial for trial in study.trials if trial.state.is_finished()]
        refused = sum("refused" in trial.user_attrs for trial in ended)
        modelled.append((len(ended) - refused, refused))
        return sample(sampler, study, *rest)

    monkeypatch.setattr(optuna.samplers.TPESampler, "_sample", spied)
    queue = make_queue("TPESampler", trials=12, space=PerceptronSpace(max_parameters=73))
    queue.study = optuna.create_study()
    run_out(queue)
    assert min(modelled)[0] == 10
    assert min(modelled)[1] > 0, "nothing was refused, so this shows nothing"


def test_a_cap_that_no_network_keeps_is_refused_at_once(make_queue: MakeQueue) -> None:
    with pytest.raises(StudyError, match=r"max_parameters=5 admits no network .* the smallest one .* 11 parameters"):
        make_queue(Listed(FIRST), space=PerceptronSpace(max_parameters=5))


def test_trials_are_of_the_narrowed_space(make_queue: MakeQueue) -> None:
    queue = make_queue(trials=3, space=PerceptronSpace(widest=64, max_parameters=12))
    run_out(queue)
    assert {trial.params["layer0.width"] for trial in queue.study.trials} == {2}, "an option that the cap leaves"
    assert all(len(trial.distributions["layer0.width"].choices) == 1 for trial in queue.study.trials)


def test_a_trial_of_a_dead_worker_is_asked_for_again(make_queue: MakeQueue, work: Work) -> None:
    ann, bob = make_queue(worker="ann", trials=2), make_queue(worker="bob", trials=2)
    with work("ann"):
        lost = taken(ann)
        other = taken(bob)
        assert other.contender.architecture != lost.contender.architecture
    finish(bob, other)
    again = taken(bob)
    assert again.contender.architecture == lost.contender.architecture
    finish(bob, again)
    assert bob.claim() is NoTrial.DONE
    cut, _, retried = bob.study.trials
    assert cut.user_attrs["interrupted"]
    assert cut.state is TrialState.FAIL
    assert retried.user_attrs["retry_of"] == 0


def test_a_retry_whose_worker_dies_is_asked_for_again(make_queue: MakeQueue, folder: RunFolder) -> None:
    lost = taken(make_queue(worker="ann"))
    for worker in ("bob", "cid"):
        folder.worker_mark(worker).touch()
    folder.worker_mark("ann").touch()
    assert taken(make_queue(worker="bob")).contender.architecture == lost.contender.architecture
    cid = make_queue(worker="cid")
    # Killed right after it was taken: it has no parameters of its own yet.
    recover(cid.study, folder, "cid", cid.study.trials)
    cid.study.ask()
    assert taken(make_queue(worker="dan")).contender.architecture == lost.contender.architecture


def test_a_worker_of_another_folder_is_left_alone(make_queue: MakeQueue) -> None:
    taken(make_queue(worker="elsewhere", trials=1))
    assert make_queue(worker="ann", trials=1).claim() is NoTrial.WAIT


def test_a_dead_worker_is_known_as_such_though_its_lock_file_is_gone(make_queue: MakeQueue, folder: RunFolder) -> None:
    lost = taken(make_queue(worker="ann", trials=1))
    folder.worker_mark("ann").touch()
    assert not folder.worker_lock("ann").exists()
    assert taken(make_queue(worker="bob", trials=1)).contender.architecture == lost.contender.architecture


@pytest.mark.parametrize("sampler", ["TPESampler", "NSGAIISampler", "RandomSampler"])
def test_kills_change_nothing_of_what_is_asked_for(sampler: str, make_queue: MakeQueue, folder: RunFolder) -> None:
    config = {
        "TPESampler": {"class_path": sampler, "init_args": {"n_startup_trials": 3}},
        "NSGAIISampler": {"class_path": sampler, "init_args": {"population_size": 4}},
    }.get(sampler, sampler)
    whole = make_queue(config, name="whole", trials=14)
    run_out(whole)
    for life in range(40):
        worker = f"worker{life}"
        folder.worker_mark(worker).touch()
        queue = make_queue(config, worker=worker, trials=14)
        if life % 3 == 2 and life < 30:
            # Cut off while its parameters are drawn, in the first half of the lives without a mark of its worker.
            trial = queue.study.ask()
            if life > 15:
                trial.set_user_attr("worker", worker)
                trial.suggest_categorical("depth", (1, 2))
            continue
        claim = queue.claim()
        if claim is NoTrial.DONE:
            break
        if isinstance(claim, Claim) and life % 2:  # the other half of the lives is cut off in the training
            finish(queue, claim)
    assert queue.claim() is NoTrial.DONE
    assert any("interrupted" in trial.user_attrs for trial in queue.study.trials)
    assert asked(queue) == asked(whole)
    values = [trial.value for trial in queue.study.trials if "interrupted" not in trial.user_attrs]
    assert values == [trial.value for trial in whole.study.trials]


@pytest.mark.parametrize("sampler", ["TPESampler", "NSGAIISampler", "RandomSampler", "BruteForceSampler"])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_study_may_be_longer_than_its_space(sampler: Any, make_queue: MakeQueue) -> None:
    space = PerceptronSpace(widest=2)  # six architectures
    queue = make_queue(sampler, space=space, trials=20)
    run_out(queue)
    trained = [tuple(trial.params.items()) for trial in queue.study.trials if "steps" in trial.user_attrs]
    assert len(trained) == len(set(trained)) <= space.size == 4
    assert len(queue.study.trials) == 20


def test_a_failure_keeps_its_traceback_and_counts(make_queue: MakeQueue) -> None:
    queue = make_queue(trials=1)
    claim = taken(queue)
    try:
        raise ArithmeticError("no such loss")
    except ArithmeticError as error:
        queue.fail(claim, error)
    (trial,) = queue.study.trials
    assert trial.state is TrialState.FAIL
    assert trial.user_attrs["failure"].startswith(f"ArithmeticError: no such loss ({__file__}:")
    assert "in test_a_failure_keeps_its_traceback_and_counts" in trial.user_attrs["traceback"]
    assert queue.claim() is NoTrial.DONE


def test_equal_failures_end_the_study_until_it_is_started_again(make_queue: MakeQueue) -> None:
    queue = make_queue(trials=9)
    for _ in range(3):
        queue.fail(taken(queue), ValueError("always"))
    with pytest.raises(StudyError, match="3 trials failed in the same way: ValueError: always"):
        queue.claim()
    again = make_queue(trials=9, since=datetime.now())
    run_out(again)
    assert len(again.study.trials) == 9


def test_different_failures_do_not_end_it(make_queue: MakeQueue) -> None:
    queue = make_queue(trials=9)
    for number in range(9):
        queue.fail(taken(queue), ValueError(f"failure {number}"))
    assert queue.claim() is NoTrial.DONE


@pytest.mark.parametrize(("pruned", "score", "epoch"), [(True, 0.5, 1), (False, math.nan, -1)])
def test_a_stopped_or_diverged_training_is_pruned(
    make_queue: MakeQueue, pruned: bool, score: float, epoch: int
) -> None:
    queue = make_queue(Listed(FIRST), trials=2)
    queue.finish(taken(queue), TrainingResult(score, epoch, 4, 0.1, 0.1), pruned)
    assert queue.claim() is NoTrial.DONE  # the second is a copy of it
    for trial in queue.study.trials:
        assert trial.state is TrialState.PRUNED
        assert trial.user_attrs.get("diverged", False) is (epoch < 0)


def test_an_architecture_that_killed_its_process_is_never_trained_again(make_queue: MakeQueue) -> None:
    queue = make_queue(Listed(FIRST, SECOND, FIRST), trials=3)
    queue.fail(taken(queue), KilledError("it killed its process 2 times"))
    run_out(queue)
    assert [trial.state for trial in queue.study.trials] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.FAIL]
    assert [outcome(trial) for trial in queue.study.trials] == ["killed", "completed", "killed"]
    assert queue.study.trials[0].user_attrs["failure"] == "it killed its process 2 times"
    assert queue.study.trials[2].user_attrs["copied_from"] == 0


@pytest.mark.parametrize("error", [KilledError("it killed its process"), TimeLimitError("it took longer")])
def test_architectures_that_are_too_much_for_the_machine_end_no_study_that_has_others(
    make_queue: MakeQueue, error: Exception
) -> None:
    queue = make_queue(trials=9)
    finish(queue, taken(queue))
    assert fail_all(queue, error) is NoTrial.DONE
    with pytest.raises(StudyError, match="trials failed in the same way: it"):
        fail_all(make_queue(trials=9, name="hopeless"), error)


def fail_all(queue: TrialQueue, error: Exception) -> NoTrial:
    while isinstance(claim := queue.claim(), Claim):
        queue.fail(claim, error)
    return claim


def test_a_training_that_ended_before_its_worker_died_is_told_and_not_begun_again(
    make_queue: MakeQueue, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = make_queue(worker="ann", trials=1)
    folder.worker_mark("ann").touch()
    claim = taken(ann)
    with monkeypatch.context() as patch:
        patch.setattr(ann.study, "tell", gone)
        with pytest.raises(ConnectionError):
            finish(ann, claim)
    bob = make_queue(worker="bob", trials=1)
    assert bob.claim() is NoTrial.DONE
    (trial,) = bob.study.trials
    assert (trial.value, outcome(trial), trial.user_attrs["steps"]) == (score(claim), "completed", 1)
    assert not list(folder.outcome("search", 0).parent.iterdir())


def gone(*arguments: object) -> None:
    raise ConnectionError


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_no_measure_of_a_trial(make_queue: MakeQueue, value: float) -> None:
    queue = make_queue(trials=1, directions=["maximize", "minimize"])
    queue.finish(taken(queue), TrainingResult(0.5, 0, 1, 0.1, 0.1), False, [0.5, value])
    (trial,) = queue.study.trials
    assert (trial.state, trial.values, outcome(trial)) == (TrialState.FAIL, None, "failed")
    assert f"values [0.5, {value}] are not all finite" in trial.user_attrs["failure"]
    assert queue.claim() is NoTrial.DONE


def test_a_network_larger_than_the_machine_is_refused(make_queue: MakeQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory_bytes", lambda: 8 * 30)  # FIRST has 21 parameters, SECOND 41
    queue = make_queue(Listed(SECOND, FIRST), trials=1)
    run_out(queue)
    assert [outcome(trial) for trial in queue.study.trials] == ["refused", "completed"]
    assert queue.study.trials[0].user_attrs["refused"].startswith("41 parameters; their weights and gradients alone")


def test_a_trial_is_known_to_be_dead_though_the_folder_of_the_marks_is_gone(
    make_queue: MakeQueue, folder: RunFolder
) -> None:
    lost = taken(make_queue(worker="ann", trials=1))
    shutil.rmtree(folder.claim_lock.parent)
    bob = make_queue(worker="bob", trials=1)
    assert bob.claim() is NoTrial.WAIT  # its process, this one, still runs
    assert "which has no mark in this folder (if it is dead, `touch " in bob.waits_for
    dead = f"{platform.node()}/{os.getpid()}/1"  # another process had this number before
    bob.study._storage.set_trial_user_attr(lost.trial._trial_id, "process", dead)
    assert taken(bob).contender.architecture == lost.contender.architecture


def test_the_cure_for_a_worker_of_another_machine_is_what_is_said(make_queue: MakeQueue, folder: RunFolder) -> None:
    lost = taken(make_queue(worker="ann", trials=1))
    bob = make_queue(worker="bob", trials=1)
    bob.study._storage.set_trial_user_attr(lost.trial._trial_id, "process", "elsewhere/7/1")
    assert bob.waits_for.startswith("trial 0 of search: process 7 of elsewhere, which has no mark")
    folder.worker_mark("ann").touch()
    assert taken(bob).contender.architecture == lost.contender.architecture


def test_a_storage_with_another_space_is_refused(make_queue: MakeQueue) -> None:
    make_queue()
    with pytest.raises(StudyError, match=r"is over the space .*'perceptron'.*'40'.*, not .*'84'"):
        make_queue(space=PerceptronSpace(widest=64))
