"""A forecast of the time that a whole study takes still, from what has ended so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from optuna.trial import FrozenTrial

from automl_plugins.report.trials import counts


def seconds_left(
    arms: Mapping[str, Sequence[FrozenTrial]],
    trials: int,
    final_seconds: Sequence[float],
    finals_left: int,
    longer: float,
    workers: int,
) -> float | None:
    """The seconds that are left; None where nothing has ended yet that tells.

    Args:
        arms: the trials of each search so far.
        trials: how many each of them has in the end.
        final_seconds: how long each final training took that has ended.
        finals_left: how many of them are left.
        longer: how many times as many epochs a final training has as a trial.
        workers: processes that share the work.
    """
    took = {arm: _seconds(done) for arm, done in arms.items()}
    every = [seconds for each in took.values() for seconds in each]
    left = {arm: max(0, trials - len(each)) for arm, each in took.items()}
    if not every and (any(left.values()) or not final_seconds):
        return None
    # A search that has not begun takes as long a trial as the others.
    searching = sum(count * fmean(took[arm] or every) for arm, count in left.items() if count)
    final = fmean(final_seconds) if final_seconds else longer * fmean(every)
    return (searching + finals_left * final) / workers


def _seconds(trials: Sequence[FrozenTrial]) -> list[float]:
    """Of each trial that counts; one that needed no training took none."""
    return [float(trial.user_attrs.get("seconds", 0.0)) for trial in trials if counts(trial)]


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
