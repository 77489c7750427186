"""Trials as a table, and what they cost."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

from automl_plugins.trial_queue import counts


def cost(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """What an arm's trials came to: how many of each kind, optimizer steps and processor seconds."""
    asked = [trial for trial in trials if counts(trial)]
    return {
        "trials": len(asked),
        "completed": sum(trial.state is TrialState.COMPLETE for trial in asked),
        "pruned": sum(trial.state is TrialState.PRUNED for trial in asked),
        "failed": sum(trial.state is TrialState.FAIL for trial in asked),
        "copied": sum("copied_from" in trial.user_attrs for trial in asked),
        "refused": sum("refused" in trial.user_attrs for trial in trials),
        "steps": sum(trial.user_attrs.get("steps", 0) for trial in trials),
        "cpu_seconds": round(sum(trial.user_attrs.get("cpu_seconds", 0.0) for trial in trials), 1),
    }


def trials_csv(arms: Mapping[str, Sequence[FrozenTrial]]) -> str:
    """All trials, one a line: their outcome, cost and choices."""
    every = [(arm, trial) for arm, trials in arms.items() for trial in trials]
    outcome = [
        "num_parameters",
        "steps",
        "best_epoch",
        "seconds",
        "cpu_seconds",
        "copied_from",
        "refused",
        "interrupted",
        "failure",
    ]
    choices = list(dict.fromkeys(name for _, trial in every for name in trial.params))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["arm", "number", "state", "value", *outcome, *choices])
    for arm, trial in every:
        attributes = [trial.user_attrs.get(name, "") for name in outcome]
        value = "" if trial.values is None else " ".join(map(str, trial.values))
        writer.writerow(
            [arm, trial.number, trial.state.name, value, *attributes, *(trial.params.get(name, "") for name in choices)]
        )
    return text.getvalue()
