"""The queue of trials: the book-keeping that many workers share and no kill can spoil."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from automl_plugins.errors import StudyError
from automl_plugins.objectives.contender import Contender
from automl_plugins.report.trial_cost import has_ended
from automl_plugins.report.trials import outcome
from automl_plugins.spaces.refusal import prolong_startup
from automl_plugins.studies.arm import Arm
from automl_plugins.studies.first_trials import enqueue_next
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.outcomes import copy, fail, finish, is_spent, tell
from automl_plugins.studies.recovery import end_twins, is_running, recover, whom
from automl_plugins.studies.storage import open_storage
from automl_plugins.studies.trial_store import ENDED_FOR
from automl_plugins.system.machine import too_large
from automl_plugins.system.processes import identity
from automl_plugins.system.waiting import patient_lock
from automl_plugins.training.fit import TrainingResult
from automl_plugins.training.project import Project

_MOST_REFUSALS = 200


class NoTrial(Enum):
    """Why there is no trial to take."""

    DONE = "as many trials as asked for have ended"
    WAIT = "other workers run the last ones"


@dataclass(frozen=True)
class Claim:
    """A trial that this worker is to train.

    Args:
        trial: Optuna's trial, running.
        contender: what it asks for.
    """

    trial: optuna.Trial
    contender: Contender


class TrialQueue:
    """Hands out the trials of one study to any number of worker processes; each has a queue of its own.

    A trial is taken under a lock that the kernel holds, so exactly `trials` of them are trained; in an arm that is
    given the search's cost, as many as that takes (`EqualCost`), and none before the search has cost more. The arm's
    `first` architectures come before all that its sampler proposes.
    A trial whose worker died is asked for again with the same parameters. An architecture that was
    trained before gets its value without a training; so does one that another worker is training
    just now, as soon as that training ends. One whose network would cost more than the limits allow is
    refused, which does not count; after some in a row the space itself draws the next one, within its limits.

    Args:
        project: what is trained on what; its folder has the locks.
        arm: the search that the trials are of.
        worker: this process, alive by its lock in the folder.
        since: failures and refusals before this moment are not counted; a restart may have mended them.

    Raises:
        StudyError: the storage has a study of this name over another space, or the limits admit no network.
    """

    def __init__(self, project: Project, arm: Arm, worker: str, since: datetime) -> None:
        self.project = project
        self.arm = arm
        self.worker = worker
        self.since = since
        self.folder = RunFolder(project.folder)
        try:
            _ = project.narrowed
        except ValueError as error:
            raise StudyError(str(error)) from error
        with self._locked():
            self.study = optuna.create_study(
                storage=open_storage(arm.storage, wait=True),
                study_name=arm.study_name,
                directions=arm.directions,
                pruner=arm.pruner,
                load_if_exists=True,
            )
            self._check_space()

    def _check_space(self) -> None:
        space = self.project.narrowed
        mark = {"space": space.name, "version": space.version, "size": str(space.size)}
        known = self.study.user_attrs.get("space")
        if known is None:
            self.study.set_user_attr("space", mark)
        elif known != mark:
            raise StudyError(
                f"the study {self.arm.study_name!r} in {self.arm.storage} is over the space {known}, not {mark}"
            )

    def claim(self) -> Claim | NoTrial:
        """Take the next trial, or say why there is none.

        Raises:
            StudyError: the same failure came too often, or the cap on parameters leaves nothing to train.
        """
        with self._locked():
            while True:
                trials = self._settle()
                end = self._end(trials)
                if end is not None:
                    return end
                # A worker with a twin waits for it: asking on would most often draw the same again.
                if any(map(self._is_own_twin, trials)):
                    return NoTrial.WAIT
                claim = self._ask(trials)
                if claim is not None:
                    return claim

    def end(self) -> None:
        """Have this search ask for no more trials, since the study's time is needed for the rest of it."""
        with self._locked():
            self.study.set_user_attr(ENDED_FOR, self.arm.minutes)

    def _end(self, trials: Sequence[FrozenTrial]) -> NoTrial | None:
        """The reason why no trial is due; None: one is."""
        equal = self.arm.equal_cost
        if equal is None:
            reached = has_ended(trials, self.arm.trials, self.arm.seconds, self._is_over(self.arm.study_name))
        else:
            reached = equal.is_reached(trials, self._searched(equal.search), self._is_over(equal.search))
        return NoTrial.DONE if reached else NoTrial.WAIT if reached is None else None

    def _searched(self, name: str) -> list[FrozenTrial]:
        """The trials of the search that this arm stands beside."""
        storage = self.study._storage
        return storage.get_all_trials(storage.get_study_id_from_name(name), deepcopy=False)

    def _is_over(self, name: str) -> bool:
        """True where a search was ended for the time that this study has."""
        if self.arm.minutes is None:
            return False
        storage = self.study._storage
        marks = storage.get_study_user_attrs(storage.get_study_id_from_name(name))
        return bool(marks.get(ENDED_FOR) == self.arm.minutes)

    def _first(self, trials: Sequence[FrozenTrial]) -> Mapping[str, Mapping[str, Any]]:
        """Those that the arm may begin with now, by name."""
        equal = self.arm.equal_cost
        if equal is None or not equal.first:
            return self.arm.first
        name = equal.next_first(trials, self._searched(equal.search))
        return {} if name is None else {name: self.arm.first[name]}

    def _settle(self) -> list[FrozenTrial]:
        """Bring the books up to date: failures, dead workers, twins; the trials as they then are."""
        trials = self.study.get_trials(deepcopy=False)
        self._check_failures(trials)
        self._check_refusals(trials)
        recover(self.study, self.folder, self.worker, trials)
        end_twins(self.study, self.study.get_trials(deepcopy=False))
        return self.study.get_trials(deepcopy=False)

    def _is_own_twin(self, trial: FrozenTrial) -> bool:
        waits = trial.state is TrialState.RUNNING and "twin_of" in trial.user_attrs
        return waits and trial.user_attrs.get("worker") == self.worker

    def _ask(self, trials: Sequence[FrozenTrial]) -> Claim | NoTrial | None:
        """Ask for a trial; None where it needs no training."""
        # The ordinal counts what was asked for, whatever became of it; a retry is no new question.
        ordinal = sum("interrupted" not in trial.user_attrs for trial in trials)
        self.study.sampler = self.arm.sampler(self.arm.seed, ordinal)
        prolong_startup(self.study)
        enqueue_next(self.study, self._first(trials), trials)
        if not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            with self._sampler_at_fault():
                is_left = self.arm.candidates.propose(self.study, trials, [self.arm.seed, ordinal])
            if not is_left:
                runs = any(trial.state is TrialState.RUNNING for trial in trials)
                return NoTrial.WAIT if runs else NoTrial.DONE
        with self._sampler_at_fault():
            trial = self.study.ask()
        trial.set_user_attr("process", identity())
        trial.set_user_attr("worker", self.worker)
        try:
            with self._sampler_at_fault():
                contender = self.arm.candidates.suggest(trial)
        except optuna.TrialPruned as beyond:
            self._refuse(trial, str(beyond))
            return None
        if contender.settings:
            trial.set_user_attr("settings", contender.settings)
        choice = self.arm.candidates.choice(trial)
        asked = [other for other in trials if "refused" not in other.user_attrs]
        equal = [other for other in asked if self.arm.candidates.choice(other) == choice]
        for other in equal:
            if is_spent(other):
                copy(self.study, trial._trial_id, trial.number, other)
                return None
        for other in equal:
            if other.state is TrialState.RUNNING:
                trial.set_user_attr("twin_of", other.number)
                return None
        count = self.arm.candidates.count(contender)
        refusal = None if count is None else too_large(count)
        if refusal is not None:
            self._refuse(trial, refusal)
            return None
        trial.set_user_attr("params", count)
        macs = None if self.arm.count_macs is None else self.arm.count_macs(contender)
        if macs is not None:
            trial.set_user_attr("macs", macs)
        return Claim(trial, contender)

    @contextmanager
    def _sampler_at_fault(self) -> Iterator[None]:
        """Name the sampler where it raises; what the storage raises passes as it is."""
        try:
            yield
        except (optuna.exceptions.OptunaError, StudyError, OSError):
            raise
        except Exception as error:
            name = type(self.study.sampler).__name__
            told = (f"{type(error).__name__}: {error}".splitlines() or [""])[0]
            raise StudyError(f"the sampler {name} proposed no architecture of the space: {told}") from error

    def _refuse(self, trial: optuna.Trial, reason: str) -> None:
        trial.set_user_attr("refused", reason)
        tell(self.study, trial.number, state=TrialState.PRUNED)

    def _check_failures(self, trials: Sequence[FrozenTrial]) -> None:
        failed = [trial for trial in trials if "failure" in trial.user_attrs and self._is_new(trial)]
        if any(trial.state is TrialState.COMPLETE for trial in trials):
            # That some architectures are too large or too slow for the machine says nothing of the others.
            failed = [trial for trial in failed if outcome(trial) == "failed"]
        failures = Counter(trial.user_attrs["failure"] for trial in failed)
        for failure, count in failures.items():
            if count >= self.arm.max_equal_failures:
                raise StudyError(f"{count} trials failed in the same way: {failure}")

    def _is_new(self, trial: FrozenTrial) -> bool:
        return trial.datetime_start is not None and trial.datetime_start >= self.since

    def _check_refusals(self, trials: Sequence[FrozenTrial]) -> None:
        asked = [
            trial.user_attrs.get("refused")
            for trial in trials
            if "interrupted" not in trial.user_attrs and self._is_new(trial)
        ]
        if len(asked) >= _MOST_REFUSALS and all(asked[-_MOST_REFUSALS:]):
            raise StudyError(f"{_MOST_REFUSALS:,} architectures in a row were too large, the last with {asked[-1]}")

    def _locked(self) -> AbstractContextManager[None]:
        return patient_lock(self.folder.claim_lock, "takes a trial")

    @property
    def waits_for(self) -> str:
        """The trials that other workers run, and who has them."""
        running = [
            trial
            for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            if is_running(self.folder, self.worker, trial)
        ]
        return "; ".join(
            f"trial {trial.number} of {self.arm.study_name}: {whom(self.folder, trial)}" for trial in running
        )

    def complete(self) -> frozenset[int]:
        """The numbers of the trials that have ended with a value."""
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return frozenset(trial.number for trial in trials)

    def finish(self, claim: Claim, result: TrainingResult, pruned: bool, values: Sequence[float] | None = None) -> None:
        """Record what a training came to.

        Args:
            claim: the trial.
            result: of its training.
            pruned: whether the pruner stopped it.
            values: what the trial is told; the score where left out.
        """
        finish(self.study, self.folder, claim.trial.number, result, pruned, values)

    def fail(self, claim: Claim, error: BaseException, took: Mapping[str, float] | None = None) -> None:
        """Record that a training failed, with its traceback, and what it took until then, see `outcomes.fail`."""
        fail(self.study, self.folder, claim.trial.number, error, took)
