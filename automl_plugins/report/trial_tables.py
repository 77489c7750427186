"""The trials of a search that goes on, and one of them, as tables."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from rich.table import Table

from automl_plugins.report.row import settings_text
from automl_plugins.report.trial_cost import counts

_BEST = 10


def best_first(trials: Sequence[FrozenTrial], direction: StudyDirection) -> list[FrozenTrial]:
    """The trials, those with a value first, the best of them before all."""
    sign = -1 if direction is StudyDirection.MAXIMIZE else 1

    def rank(trial: FrozenTrial) -> tuple[bool, float, int]:
        complete = trial.state is TrialState.COMPLETE
        return not complete, sign * trial.values[0] if complete else 0.0, trial.number

    return sorted(trials, key=rank)


def standing(arm: str, trials: Sequence[FrozenTrial], asked: int | None) -> str:
    """The sentence for how far a search has come.

    Args:
        arm: its name.
        trials: those that it has made so far.
        asked: how many it was asked for; None: as many as it takes.
    """
    if not trials:
        return f"{arm}: no trials yet"
    running = sum(trial.state is TrialState.RUNNING for trial in trials)
    of = "" if asked is None else f" of {asked}"
    return f"{arm}: {sum(map(counts, trials))}{of} trials done, {running} running; the best:"


def best_table(trials: Sequence[FrozenTrial]) -> Table:
    """The first ten trials as a table, those alone that have ended with a value."""
    table = Table(box=None)
    for column in ("trial", "value", "parameters", "CPU s"):
        table.add_column(column, justify="right")
    shown = [trial for trial in trials[:_BEST] if trial.state is TrialState.COMPLETE]
    are_tuned = any("settings" in trial.user_attrs for trial in shown)
    if are_tuned:
        table.add_column("settings")
    for trial in shown:
        cells = [str(trial.user_attrs.get(name, "")) for name in ("params", "cpu_seconds")]
        cells += [settings_text(trial.user_attrs.get("settings", {}))] if are_tuned else []
        table.add_row(str(trial.number), " ".join(f"{value:.4f}" for value in trial.values), *cells)
    return table


def trial_table(trial: FrozenTrial) -> Table:
    """The choices and notes of a trial, but for its traceback."""
    table = Table(box=None, show_header=False)
    for name, content in (*trial.params.items(), *trial.user_attrs.items()):
        if name != "traceback":
            table.add_row(name, str(content))
    return table
