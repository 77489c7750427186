"""Trials whose worker died, and trials that wait for the training of an equal one."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from automl_plugins.spaces.refusal import REFERENCE
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.outcomes import copy, is_spent, tell, told_late
from automl_plugins.system.processes import is_dead, is_stopped


def end_twins(study: optuna.Study, trials: Sequence[FrozenTrial]) -> None:
    """Give the trials that wait for the training of another one its outcome, once it is there."""
    for trial in trials:
        if trial.state is not TrialState.RUNNING or "twin_of" not in trial.user_attrs:
            continue
        other = trials[trial.user_attrs["twin_of"]]
        if other.state.is_finished() and is_spent(other):
            copy(study, trial._trial_id, trial.number, other)
        elif other.state.is_finished():
            interrupt(study, trial, trials)


def recover(study: optuna.Study, folder: RunFolder, worker: str, trials: Sequence[FrozenTrial]) -> None:
    """Ask again for the trials of workers that died; one whose training had ended is told what it came to.

    Args:
        study: the trials'.
        folder: the run's.
        worker: that asks, and so runs no trial itself.
        trials: all of the study.
    """
    for trial in trials:
        if trial.state is not TrialState.RUNNING or "twin_of" in trial.user_attrs:
            continue
        if not is_running(folder, worker, trial) and not told_late(study, folder, trial.number):
            interrupt(study, trial, trials)


def is_running(folder: RunFolder, worker: str, trial: FrozenTrial) -> bool:
    """True where some other worker may be training a trial that is not told yet."""
    other = trial.user_attrs.get("worker")
    # Without a worker, the trial was cut off while it was being taken, since that happens under the lock;
    # and a trial of this very worker cannot be running while the worker asks for another one.
    if other is None or other == worker:
        return False
    if folder.worker_mark(other).exists():
        return folder.may_run(other)
    # The folder of the marks was removed, or the worker is of another folder, perhaps of another machine.
    return not is_dead(trial.user_attrs.get("process", ""))


def interrupt(study: optuna.Study, trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> None:
    """End a trial that does not count, and ask for the same architecture again.

    One that was cut off before all of its parameters were drawn is not asked for again: the next
    trial has its ordinal, and so draws what it would have drawn.
    """
    attributes = trial.user_attrs
    drawn = any(name in attributes for name in ("params", "twin_of", "retry_of"))
    retried = any(other.user_attrs.get("retry_of") == trial.number for other in trials)
    # First the retry, then the mark: a kill between them is found and mended by the next worker.
    if drawn and not retried:
        # What the sampler noted of the trial (its generation, say) stays, what the pruner did goes.
        notes = {name: note for name, note in trial.system_attrs.items() if not name.startswith("completed_rung")}
        notes.setdefault("fixed_params", dict(trial.params))
        named = {name: attributes[name] for name in (REFERENCE,) if name in attributes}
        retry = optuna.trial.create_trial(
            state=TrialState.WAITING, system_attrs=notes, user_attrs={**named, "retry_of": trial.number}
        )
        study.add_trial(retry)
    study._storage.set_trial_user_attr(trial._trial_id, "interrupted", True)
    tell(study, trial.number, state=TrialState.FAIL)


def whom(folder: RunFolder, trial: FrozenTrial) -> str:
    """The worker that a running trial is with, and how to go on where it never answers."""
    worker = trial.user_attrs.get("worker", "?")
    machine, _, rest = str(trial.user_attrs.get("process", "")).partition("/")
    number = rest.partition("/")[0]
    place = f"process {number} of {machine}" if number else f"worker {worker}"
    if number.isdecimal() and is_dead(trial.user_attrs["process"]) is False and is_stopped(int(number)):
        return f"{place}, which is stopped (`kill -CONT {number}` lets it go on, `kill -9 {number}` gives it up)"
    if folder.worker_mark(worker).exists():
        return place
    return f"{place}, which has no mark in this folder (if it is dead, `touch {folder.worker_mark(worker)}` says so)"
