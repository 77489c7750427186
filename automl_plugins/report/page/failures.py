"""Trials that came to nothing, by their reason."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial

from automl_plugins.report.page.page import Table, Text
from automl_plugins.report.trial_tables import standing
from automl_plugins.report.trials import cost, cost_line, outcome

_REASONED = ("failed", "killed", "timed out", "refused", "interrupted", "diverged")
_NUMBERS = 12


def outcomes_text(arms: Mapping[str, Sequence[FrozenTrial]], asked: int | None) -> Text:
    """A sentence for each arm: how many trials it has, their outcomes and their cost.

    Args:
        arms: the trials of each.
        asked: how many a search has in the end; None: it is not known.
    """
    told = [cost_line(arm, cost(trials)) for arm, trials in arms.items()]
    if asked is not None:
        told += [
            standing(arm, trials, asked).partition(";")[0]
            for arm, trials in arms.items()
            if cost(trials)["trials"] < asked and arm != "hand-made"
        ]
    return Text(told)


def failures_table(arms: Mapping[str, Sequence[FrozenTrial]]) -> Table | None:
    """A row for each reason; None where every trial has ended with a value or was pruned."""
    reasons: dict[tuple[str, str, str], tuple[str, list[int]]] = {}
    for arm, trials in arms.items():
        for trial in sorted(trials, key=lambda each: each.number):
            word = outcome(trial)
            if word in _REASONED:
                reason = str(trial.user_attrs.get("failure") or trial.user_attrs.get(word.replace(" ", "_"), ""))
                # Of reasons that differ in their numbers alone, the first is shown.
                kind = arm, word, re.sub(r"[\d.,]+", "0", reason)
                reasons.setdefault(kind, ("" if reason == "True" else reason, []))[1].append(trial.number)
    if not reasons:
        return None
    rows = [[arm, word, str(len(numbers)), _listed(numbers), why] for (arm, word, _), (why, numbers) in reasons.items()]
    return Table(["arm", "outcome", "trials", "which", "why"], rows, numbers=[2])


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:_NUMBERS]))
    return shown if len(numbers) <= _NUMBERS else f"{shown}, …"
