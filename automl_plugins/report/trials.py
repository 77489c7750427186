"""Trials as a table, and what they cost."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

from automl_plugins.report.trial_cost import counts, spent
from automl_plugins.system.finite import seconds

OUTCOMES = ("completed", "pruned", "diverged", "failed")
"""Outcomes by which the trials that were asked for are counted; one that killed its process or timed out has failed."""

_LOST = ("killed", "timed out")


def outcome(trial: FrozenTrial) -> str:
    """One word for what became of a trial, where Optuna has only complete, pruned and failed.

    Returns:
        `waiting`, `running`, `interrupted` (its worker died; it was asked for again), `refused` (its network is too
        large), `killed` (its training killed its process), `timed out`, `failed`, `diverged`, `pruned` or `completed`.
    """
    if not trial.state.is_finished():
        return trial.state.name.lower()
    for name in ("interrupted", "refused", "killed", "timed_out", "diverged"):
        if name in trial.user_attrs:
            return name.replace("_", " ")
    return {TrialState.FAIL: "failed", TrialState.PRUNED: "pruned"}.get(trial.state, "completed")


def cost(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """Outcomes of an arm's trials: how many of each, optimizer steps, these times MACs, and processor seconds."""
    found = Counter("failed" if (word := outcome(trial)) in _LOST else word for trial in trials)
    asked = [trial for trial in trials if counts(trial)]
    return {
        "trials": len(asked),
        **{name: found[name] for name in (*OUTCOMES, "refused", "interrupted")},
        "copied": sum("copied_from" in trial.user_attrs for trial in asked),
        "steps": sum(trial.user_attrs.get("steps", 0) for trial in trials),
        "macs": spent((trial for trial in trials if "macs" in trial.user_attrs), "macs"),
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
    macs = f" of {cost['macs']:.3g} MACs in all" if cost.get("macs", 0) else ""
    return (
        f"{arm}: {cost['trials']:.0f} trials ({', '.join(parts)}{'; ' if aside else ''}{', '.join(aside)}), "
        f"{cost['steps']:,.0f} optimizer steps{macs}, {seconds(cost['cpu_seconds'])} CPU seconds"
    )


def trials_csv(arms: Mapping[str, Sequence[FrozenTrial]]) -> str:
    """All trials, one a line: their outcome (see `outcome`), cost and choices."""
    every = [(arm, trial) for arm, trials in arms.items() for trial in trials]
    columns = [
        "params",
        "steps",
        "macs",
        "best_epoch",
        "seconds",
        "cpu_seconds",
        "copied_from",
        "reference",
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
