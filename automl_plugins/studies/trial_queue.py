"""Which trial next: the book-keeping that many workers share and no kill can spoil."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

from automl_plugins.errors import StudyError
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Task
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.optuna_parts import SamplerFactory
from automl_plugins.studies.outcomes import copy, counts, fail, finish, is_spent, outcome, tell
from automl_plugins.studies.recovery import end_twins, is_running, recover, whom
from automl_plugins.studies.storage import open_storage
from automl_plugins.system.machine import too_large
from automl_plugins.system.processes import identity
from automl_plugins.system.waiting import patient_lock
from automl_plugins.training.best_validation import Direction
from automl_plugins.training.fit import TrainingResult

_MOST_REFUSALS = 200


class Nothing(Enum):
    """Why there is no trial to take."""

    DONE = "as many trials as asked for have ended"
    WAIT = "other workers run the last ones"


@dataclass(frozen=True)
class Claim:
    """A trial that this worker is to train.

    Args:
        trial: Optuna's trial, running.
        architecture: what it asks for.
    """

    trial: optuna.Trial
    architecture: Architecture


class TrialQueue:
    """Hands out the trials of one study to any number of worker processes; each has a queue of its own.

    A trial is taken under a lock that the kernel holds, so exactly `trials` of them are trained.
    A trial whose worker died is asked for again with the same parameters. An architecture that was
    trained before gets its value without a training; so does one that another worker is training
    just now, as soon as that training ends. One whose network would have too many parameters is
    refused, which does not count.

    Args:
        folder: the run's folder, with the locks.
        storage: where the trials are, see `automl_plugins.studies.storage.open_storage`.
        name: the study's name in the storage.
        space: what is searched.
        task: what the networks must fit.
        sampler: makes the sampler of each trial.
        pruner: the study's pruner.
        directions: whether each value is better when lower or higher.
        trials: how many trials are asked for.
        seed: the study's.
        worker: this process, alive by its lock in the folder.
        max_equal_failures: the same failure this often ends the study.
        since: failures and refusals before this moment are not counted; a restart may have mended them.

    Raises:
        StudyError: the storage has a study of this name over another space.
    """

    def __init__(
        self,
        folder: RunFolder,
        storage: str,
        name: str,
        space: SearchSpace,
        task: Task,
        sampler: SamplerFactory,
        pruner: BasePruner,
        directions: Sequence[Direction],
        trials: int,
        seed: int,
        worker: str,
        max_equal_failures: int,
        since: datetime,
    ) -> None:
        self.folder = folder
        self.storage = storage
        self.name = name
        self.space = space
        self.task = task
        self.sampler = sampler
        self.pruner = pruner
        self.trials = trials
        self.seed = seed
        self.worker = worker
        self.max_equal_failures = max_equal_failures
        self.since = since
        with self._locked():
            self.study = optuna.create_study(
                storage=open_storage(storage, wait=True),
                study_name=name,
                directions=directions,
                pruner=pruner,
                load_if_exists=True,
            )
            self._check_space()

    def _check_space(self) -> None:
        mark = {"space": self.space.name, "version": self.space.version, "size": str(self.space.size)}
        known = self.study.user_attrs.get("space")
        if known is None:
            self.study.set_user_attr("space", mark)
        elif known != mark:
            raise StudyError(f"the study {self.name!r} in {self.storage} is over the space {known}, not {mark}")

    def claim(self) -> Claim | Nothing:
        """Take the next trial, or say why there is none.

        Raises:
            StudyError: the same failure came too often, or the cap on parameters leaves nothing to train.
        """
        with self._locked():
            while True:
                trials = self._settle()
                running = [trial for trial in trials if trial.state is TrialState.RUNNING]
                ended = sum(map(counts, trials))
                if ended >= self.trials:
                    return Nothing.DONE
                # A worker with a twin waits for it: asking on would most often draw the same again.
                if ended + len(running) >= self.trials or any(self._is_own_twin(trial) for trial in running):
                    return Nothing.WAIT
                claim = self._ask(trials)
                if claim is not None:
                    return claim

    def _settle(self) -> list[FrozenTrial]:
        """Bring the books up to date: failures, dead workers, twins; the trials as they then are."""
        trials = self.study.get_trials(deepcopy=False)
        self._check_failures(trials)
        self._check_refusals(trials)
        recover(self.study, self.folder, self.worker, trials)
        end_twins(self.study, self.study.get_trials(deepcopy=False))
        return self.study.get_trials(deepcopy=False)

    def _is_own_twin(self, trial: FrozenTrial) -> bool:
        return "twin_of" in trial.user_attrs and trial.user_attrs.get("worker") == self.worker

    def _ask(self, trials: Sequence[FrozenTrial]) -> Claim | None:
        """Ask for a trial; None where it needs no training."""
        # The ordinal counts what was asked for, whatever became of it; a retry is no new question.
        ordinal = sum("interrupted" not in trial.user_attrs for trial in trials)
        self.study.sampler = self.sampler(self.seed, ordinal)
        trial = self.study.ask()
        trial.set_user_attr("process", identity())
        trial.set_user_attr("worker", self.worker)
        architecture = self.space.suggest(trial)
        equal = [other for other in trials if other.params == trial.params and "refused" not in other.user_attrs]
        for other in equal:
            if is_spent(other):
                copy(self.study, trial._trial_id, trial.number, other)
                return None
        for other in equal:
            if other.state is TrialState.RUNNING:
                trial.set_user_attr("twin_of", other.number)
                return None
        count = self.space.num_parameters(architecture, self.task)
        cap = self.space.max_parameters
        refusal = (
            f"{count:,} parameters; max_parameters is {cap:,}" if cap is not None and count > cap else too_large(count)
        )
        if refusal is not None:
            trial.set_user_attr("refused", refusal)
            tell(self.study, trial.number, state=TrialState.PRUNED)
            return None
        trial.set_user_attr("num_parameters", count)
        return Claim(trial, architecture)

    def _check_failures(self, trials: Sequence[FrozenTrial]) -> None:
        failed = [trial for trial in trials if "failure" in trial.user_attrs and self._is_new(trial)]
        if any(trial.state is TrialState.COMPLETE for trial in trials):
            # That some architectures are too large or too slow for the machine says nothing of the others.
            failed = [trial for trial in failed if outcome(trial) == "failed"]
        failures = Counter(trial.user_attrs["failure"] for trial in failed)
        for failure, count in failures.items():
            if count >= self.max_equal_failures:
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
        return "; ".join(f"trial {trial.number} of {self.name}: {whom(self.folder, trial)}" for trial in running)

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

    def fail(self, claim: Claim, error: BaseException) -> None:
        """Record that a training failed, with its traceback."""
        fail(self.study, self.folder, claim.trial.number, error)
