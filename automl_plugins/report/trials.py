"""Trials as a table, and what they cost."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

from automl_plugins.studies.outcomes import counts
from automl_plugins.system.finite import seconds

OUTCOMES = ("completed", "pruned", "diverged", "failed")
"""What the trials that were asked for came to; each is one of these."""


def outcome(trial: FrozenTrial) -> str:
    """What became of a trial: one of `OUTCOMES`, or `refused`, `interrupted`, `running`, `waiting`.

    What is refused or interrupted is none of the trials that were asked for, see `trial_queue.counts`.
    """
    attributes = trial.user_attrs
    for note in ("refused", "interrupted"):
        if note in attributes:
            return note
    if trial.state is TrialState.PRUNED:
        return "diverged" if "diverged" in attributes else "pruned"
    words = {TrialState.COMPLETE: "completed", TrialState.FAIL: "failed", TrialState.RUNNING: "running"}
    return words.get(trial.state, "waiting")


def cost(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """What an arm's trials came to: how many of each outcome, optimizer steps and processor seconds."""
    found = Counter(map(outcome, trials))
    asked = [trial for trial in trials if counts(trial)]
    return {
        "trials": len(asked),
        **{name: found[name] for name in (*OUTCOMES, "refused", "interrupted")},
        "copied": sum("copied_from" in trial.user_attrs for trial in asked),
        "steps": sum(trial.user_attrs.get("steps", 0) for trial in trials),
        "cpu_seconds": round(sum(trial.user_attrs.get("cpu_seconds", 0.0) for trial in trials), 1),
    }


def cost_line(arm: str, cost: Mapping[str, float]) -> str:
    """The sentence for what `cost` counted; the outcomes add up to the trials."""
    parts = [f"{cost.get(name, 0):.0f} {name}" for name in OUTCOMES]
    aside = [
        f"{cost[name]:.0f} {text}"
        for name, text in (
            ("copied", "of them seen before, without a training"),
            ("refused", "more refused before they were built"),
            ("interrupted", "more cut off and asked for again"),
        )
        if cost.get(name, 0)
    ]
    return (
        f"{arm}: {cost['trials']:.0f} trials ({', '.join(parts)}{'; ' if aside else ''}{', '.join(aside)}), "
        f"{cost['steps']:,.0f} optimizer steps, {seconds(cost['cpu_seconds'])} CPU seconds"
    )


def trials_csv(arms: Mapping[str, Sequence[FrozenTrial]]) -> str:
    """All trials, one a line: their outcome (see `outcome`), cost and choices."""
    every = [(arm, trial) for arm, trials in arms.items() for trial in trials]
    columns = [
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
    writer.writerow(["arm", "number", "state", "value", *columns, *choices])
    for arm, trial in every:
        attributes = [trial.user_attrs.get(name, "") for name in columns]
        value = "" if trial.values is None else " ".join(map(str, trial.values))
        writer.writerow(
            [arm, trial.number, outcome(trial), value, *attributes, *(trial.params.get(name, "") for name in choices)]
        )
    return text.getvalue()
