"""Which trial next: the book-keeping that many workers share and no kill can spoil."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

import optuna
from filelock import FileLock
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

from automl_plugins.architecture import Architecture
from automl_plugins.errors import StudyError
from automl_plugins.optuna_parts import SamplerFactory
from automl_plugins.run_folder import RunFolder
from automl_plugins.space import SearchSpace
from automl_plugins.storage import open_storage
from automl_plugins.task import Task
from automl_plugins.training import Direction, TrainingResult

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


def counts(trial: FrozenTrial) -> bool:
    """Whether a trial is one of those asked for: it ended, and was neither refused nor cut off by a dead worker."""
    attributes = trial.user_attrs
    return trial.state.is_finished() and "refused" not in attributes and "interrupted" not in attributes


class TrialQueue:
    """Hands out the trials of one study to any number of worker processes; each has a queue of its own.

    A trial is taken under a lock that the kernel holds, so exactly `trials` of them are trained.
    A trial whose worker died is asked for again with the same parameters. An architecture that was
    trained before gets its value without a training; so does one that another worker is training
    just now, as soon as that training ends. One whose network would have too many parameters is
    refused, which does not count.

    Args:
        folder: the run's folder, with the locks.
        storage: where the trials are, see `automl_plugins.storage.open_storage`.
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
        self._opened = open_storage(storage)
        with FileLock(folder.claim_lock):
            self.study = optuna.create_study(
                storage=self._opened, study_name=name, directions=directions, pruner=pruner, load_if_exists=True
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
        with FileLock(self.folder.claim_lock):
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
        self._recover(trials)
        self._end_twins(self.study.get_trials(deepcopy=False))
        return self.study.get_trials(deepcopy=False)

    def _is_own_twin(self, trial: FrozenTrial) -> bool:
        return "twin_of" in trial.user_attrs and trial.user_attrs.get("worker") == self.worker

    def _ask(self, trials: Sequence[FrozenTrial]) -> Claim | None:
        """Ask for a trial; None where it needs no training."""
        # The ordinal counts what was asked for, whatever became of it; a retry is no new question.
        ordinal = sum("interrupted" not in trial.user_attrs for trial in trials)
        self.study.sampler = self.sampler(self.seed, ordinal)
        trial = self.study.ask()
        trial.set_user_attr("worker", self.worker)
        architecture = self.space.suggest(trial)
        equal = [other for other in trials if other.params == trial.params and "refused" not in other.user_attrs]
        for other in equal:
            if other.state in (TrialState.COMPLETE, TrialState.PRUNED):
                self._copy(trial._trial_id, trial.number, other)
                return None
        for other in equal:
            if other.state is TrialState.RUNNING:
                trial.set_user_attr("twin_of", other.number)
                return None
        count = self.space.num_parameters(architecture, self.task)
        cap = self.space.max_parameters
        if cap is not None and count > cap:
            trial.set_user_attr("refused", f"{count:,} parameters; max_parameters is {cap:,}")
            self._tell(trial.number, state=TrialState.PRUNED)
            return None
        trial.set_user_attr("num_parameters", count)
        return Claim(trial, architecture)

    def _copy(self, trial_id: int, number: int, other: FrozenTrial) -> None:
        """End a trial with the outcome of one of the same architecture."""
        for name in ("num_parameters", "diverged", "figures"):
            if name in other.user_attrs:
                self._opened.set_trial_user_attr(trial_id, name, other.user_attrs[name])
        for name, note in other.system_attrs.items():
            if name.startswith("constraints"):
                self._opened.set_trial_system_attr(trial_id, name, note)
        self._opened.set_trial_user_attr(trial_id, "copied_from", other.user_attrs.get("copied_from", other.number))
        if other.state is TrialState.PRUNED:
            self._tell(number, state=TrialState.PRUNED)
        else:
            self._tell(number, other.values)

    def _end_twins(self, trials: Sequence[FrozenTrial]) -> None:
        """Give the trials that wait for the training of another one its outcome, once it is there."""
        for trial in trials:
            if trial.state is not TrialState.RUNNING or "twin_of" not in trial.user_attrs:
                continue
            other = trials[trial.user_attrs["twin_of"]]
            if other.state in (TrialState.COMPLETE, TrialState.PRUNED):
                self._copy(trial._trial_id, trial.number, other)
            elif other.state.is_finished():
                self._interrupt(trial, trials)

    def _recover(self, trials: Sequence[FrozenTrial]) -> None:
        """Ask again for the trials of workers that died."""
        for trial in trials:
            if trial.state is not TrialState.RUNNING or "twin_of" in trial.user_attrs:
                continue
            if not self._is_running(trial.user_attrs.get("worker")):
                self._interrupt(trial, trials)

    def _interrupt(self, trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> None:
        """End a trial that does not count, and ask for the same architecture again.

        One that was cut off before all of its parameters were drawn is not asked for again: the next
        trial has its ordinal, and so draws what it would have drawn.
        """
        attributes = trial.user_attrs
        drawn = any(name in attributes for name in ("num_parameters", "twin_of", "retry_of"))
        retried = any(other.user_attrs.get("retry_of") == trial.number for other in trials)
        # First the retry, then the mark: a kill between them is found and mended by the next worker.
        if drawn and not retried:
            # What the sampler noted of the trial (its generation, say) stays, what the pruner did goes.
            notes = {name: note for name, note in trial.system_attrs.items() if not name.startswith("completed_rung")}
            notes.setdefault("fixed_params", dict(trial.params))
            retry = optuna.trial.create_trial(
                state=TrialState.WAITING, system_attrs=notes, user_attrs={"retry_of": trial.number}
            )
            self.study.add_trial(retry)
        self._opened.set_trial_user_attr(trial._trial_id, "interrupted", True)
        self._tell(trial.number, state=TrialState.FAIL)

    def _is_running(self, worker: str | None) -> bool:
        # Without a worker, the trial was cut off while it was being taken, since that happens under the lock;
        # and a trial of this very worker cannot be running while the worker asks for another one.
        if worker is None or worker == self.worker:
            return False
        return self.folder.may_run(worker)

    def _check_failures(self, trials: Sequence[FrozenTrial]) -> None:
        failures = Counter(
            trial.user_attrs["failure"] for trial in trials if "failure" in trial.user_attrs and self._is_new(trial)
        )
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

    def _tell(self, number: int, values: Sequence[float] | None = None, state: TrialState | None = None) -> None:
        try:
            self.study.tell(number, values, state)
        except RuntimeError:
            # A sampler that has tried everything asks the study to stop, which is only allowed in
            # `Study.optimize`, and is heard here as an error after the trial has ended. What is left is copied.
            if not self.study.get_trials(deepcopy=False)[number].state.is_finished():
                raise

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
        trial = claim.trial
        trial.set_user_attr("seconds", round(result.seconds, 3))
        trial.set_user_attr("cpu_seconds", round(result.cpu_seconds, 3))
        trial.set_user_attr("steps", result.steps)
        trial.set_user_attr("best_epoch", result.best_epoch)
        if result.best_epoch < 0:
            trial.set_user_attr("diverged", True)
        if pruned or result.best_epoch < 0:
            self._tell(trial.number, state=TrialState.PRUNED)
        else:
            self._tell(trial.number, [result.score] if values is None else values)

    def fail(self, claim: Claim, error: Exception) -> None:
        """Record that a training failed, with its traceback."""
        frames = traceback.extract_tb(error.__traceback__)
        place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
        message = str(error).strip()
        if "Traceback (most recent call last)" in message:
            # What failed in a process of `ddp_spawn` or `ddp_fork` comes as text, the error itself last.
            message = message.splitlines()[-1]
        claim.trial.set_user_attr("failure", f"{type(error).__name__}: {message[:500]}{place}")
        claim.trial.set_user_attr("traceback", "".join(traceback.format_exception(error)))
        self._tell(claim.trial.number, state=TrialState.FAIL)
