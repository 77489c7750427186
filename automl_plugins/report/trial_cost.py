"""The cost of trials, of which the searches of a study are given alike."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from optuna.trial import FrozenTrial, TrialState

UNITS = {
    "macs": "optimizer steps x multiply-accumulates",
    "steps": "optimizer steps",
    "trials": "trials",
    "cpu_seconds": "CPU seconds, which are not repeatable",
    "gpu_seconds": "GPU seconds, which are not repeatable",
}
"""The units of a search's cost: optimizer steps taken times the multiply-accumulates of the network's forward pass on
the first validation batch; steps alone; trials; processor time; time on the accelerator."""


def counts(trial: FrozenTrial) -> bool:
    """True where a trial is one of those asked for: it ended, and was neither refused nor cut off by a dead worker."""
    attributes = trial.user_attrs
    return trial.state.is_finished() and "refused" not in attributes and "interrupted" not in attributes


def cost_of(trial: FrozenTrial, unit: str) -> float:
    """The cost of a trial; 0.0 of one that runs still, does not count, or needed no training.

    One that was pruned or failed cost what it took. A network whose multiply-accumulates are not known, or none, counts
    as one of a single one, so that its steps are not lost.

    Args:
        trial: any.
        unit: one of `UNITS`.
    """
    if not counts(trial):
        return 0.0
    if unit == "trials":
        return 1.0
    attributes = trial.user_attrs
    if unit == "macs":
        return float(attributes.get("steps", 0) * max(1, attributes.get("macs", 1)))
    # Of a training on an accelerator, all of its time is the accelerator's.
    return float(attributes.get("seconds" if unit == "gpu_seconds" else unit, 0.0))


def has_ended(
    trials: Iterable[FrozenTrial], asked: int, seconds: float | None = None, is_over: bool = False
) -> bool | None:
    """True where a search has its trials, or its time; None where it waits for those that run; else False.

    Args:
        trials: of the search.
        asked: how many it has in the end.
        seconds: of its trials in all, after which it ends; None: it may take any.
        is_over: True where it was ended, since the study's time is needed for the rest.
    """
    every = list(trials)
    ended = sum(map(counts, every))
    running = sum(trial.state is TrialState.RUNNING for trial in every)
    if ended >= asked:
        return True
    if is_over or (seconds is not None and spent(every, "gpu_seconds") >= seconds):
        return None if running else True
    return None if ended + running >= asked else False


def beside_training(trials: Iterable[FrozenTrial]) -> float:
    """The seconds that a trial takes beside its training, for its network and what is kept of it; 0.0 without any.

    The median: a trial that had to wait is an exception.
    """
    trained = [(trial.duration, cost_of(trial, "gpu_seconds")) for trial in trials]
    found = [passed.total_seconds() - seconds for passed, seconds in trained if passed is not None and seconds]
    return max(0.0, median(found)) if found else 0.0


def spent(trials: Iterable[FrozenTrial], unit: str) -> float:
    """The cost of several trials, see `cost_of`."""
    return sum(cost_of(trial, unit) for trial in trials)
