"""Outcomes of trials, recorded so that no kill and no lost database loses them."""

from __future__ import annotations

import json
import math
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from automl_plugins.studies.deaths import KilledError
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.time_limit import TimeLimitError
from automl_plugins.system.files import read_object, write_whole
from automl_plugins.training.fit import TrainingResult

_COPIED = ("params", "diverged", "figures", "failure", "killed", "timed_out")
_LONGEST_MESSAGE = 500


def is_spent(trial: FrozenTrial) -> bool:
    """True where an equal architecture gets this trial's outcome without a training."""
    lost = "killed" in trial.user_attrs or "timed_out" in trial.user_attrs
    return "refused" not in trial.user_attrs and (lost or trial.state in (TrialState.COMPLETE, TrialState.PRUNED))


def finish(
    study: optuna.Study,
    folder: RunFolder,
    number: int,
    result: TrainingResult,
    pruned: bool,
    values: Sequence[float] | None,
) -> None:
    """Record what a training came to.

    Args:
        study: the trial's.
        folder: the run's; the outcome is there until the storage has it.
        number: the trial's.
        result: of its training.
        pruned: whether the pruner stopped it.
        values: what the trial is told; the score where left out.
    """
    attributes: dict[str, Any] = {
        "seconds": round(result.seconds, 3),
        "cpu_seconds": round(result.cpu_seconds, 3),
        "steps": result.steps,
        "best_epoch": result.best_epoch,
    }
    told = [result.score] if values is None else list(values)
    if result.best_epoch < 0:
        _record(study, folder, number, TrialState.PRUNED, None, {**attributes, "diverged": True})
    elif pruned:
        _record(study, folder, number, TrialState.PRUNED, None, attributes)
    elif all(map(math.isfinite, told)):
        _record(study, folder, number, TrialState.COMPLETE, told, attributes)
    else:
        failure = f"ValueError: the trial's values {told} are not all finite, so they are no measure of it"
        _record(study, folder, number, TrialState.FAIL, None, {**attributes, "failure": failure})


def fail(
    study: optuna.Study, folder: RunFolder, number: int, error: BaseException, took: Mapping[str, float] | None = None
) -> None:
    """Record that a training failed, with its traceback.

    Args:
        study: the trial's.
        folder: the run's.
        number: the trial's.
        error: that it failed with.
        took: its `steps`, `seconds` and `cpu_seconds`, as far as they are known.
    """
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    message = str(error).strip()
    if "Traceback (most recent call last)" in message:
        # What failed in a process of `ddp_spawn` or `ddp_fork` comes as text, the error itself last.
        message = message.splitlines()[-1]
    attributes: dict[str, Any] = {
        "failure": f"{type(error).__name__}: {message[:_LONGEST_MESSAGE]}{place}",
        "traceback": "".join(traceback.format_exception(error)),
    }
    if isinstance(error, KilledError | TimeLimitError):
        attributes = {"failure": message, "timed_out" if _ran_out(error) else "killed": message}
    _record(study, folder, number, TrialState.FAIL, None, {**attributes, **(took or {})})


def _ran_out(error: BaseException) -> bool:
    return isinstance(error, TimeLimitError) or str(error).startswith("it took longer")


def copy(study: optuna.Study, trial_id: int, number: int, other: FrozenTrial) -> None:
    """End a trial with the outcome of one of the same architecture."""
    storage = study._storage
    for name in _COPIED:
        if name in other.user_attrs:
            storage.set_trial_user_attr(trial_id, name, other.user_attrs[name])
    for name, note in other.system_attrs.items():
        if name.startswith("constraints"):
            storage.set_trial_system_attr(trial_id, name, note)
    storage.set_trial_user_attr(trial_id, "copied_from", other.user_attrs.get("copied_from", other.number))
    if other.state is TrialState.COMPLETE:
        tell(study, number, other.values)
    else:
        tell(study, number, state=other.state)


def told_late(study: optuna.Study, folder: RunFolder, number: int) -> bool:
    """Tell the storage what a trial came to before its worker died; False where it had not ended."""
    path = folder.outcome(study.study_name, number)
    try:
        content = read_object(path) or {}
        state, values, attributes = TrialState[content["state"]], content["values"], content["attributes"]
    except KeyError:
        return False
    _tell_all(study, path, number, state, values, attributes)
    return True


def tell(
    study: optuna.Study, number: int, values: Sequence[float] | None = None, state: TrialState | None = None
) -> None:
    """End a trial."""
    try:
        study.tell(number, values, state)
    except RuntimeError:
        # An exhausted sampler calls `study.stop()`, which raises outside `Study.optimize`; the trial has been told
        # by then, so the error is ignored. What is left is copied.
        if not study.get_trials(deepcopy=False)[number].state.is_finished():
            raise


def _record(
    study: optuna.Study,
    folder: RunFolder,
    number: int,
    state: TrialState,
    values: Sequence[float] | None,
    attributes: Mapping[str, Any],
) -> None:
    # First into the folder: a storage that is gone for longer than anybody waits loses no training.
    path = folder.outcome(study.study_name, number)
    write_whole(path, json.dumps({"state": state.name, "values": values, "attributes": attributes}))
    _tell_all(study, path, number, state, values, attributes)


def _tell_all(
    study: optuna.Study,
    path: Path,
    number: int,
    state: TrialState,
    values: Sequence[float] | None,
    attributes: Mapping[str, Any],
) -> None:
    trial = study.get_trials(deepcopy=False)[number]
    if not trial.state.is_finished():
        for name, value in attributes.items():
            study._storage.set_trial_user_attr(trial._trial_id, name, value)
        tell(study, number, values, None if state is TrialState.COMPLETE else state)
    path.unlink(missing_ok=True)
