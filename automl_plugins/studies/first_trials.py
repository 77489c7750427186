"""The trials that a search begins with: the references that are points of its space."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from automl_plugins.spaces.refusal import REFERENCE
from automl_plugins.studies.plan import Plan
from automl_plugins.training.project import Project
from automl_plugins.training.tunable import values_now


def first_trials(project: Project, plan: Plan) -> dict[str, dict[str, Any]]:
    """The references of a project's space that its limits admit, by name, in the space's order, as parameters.

    They are at most half of the search's trials, so that there is a search at all; this half is our choice. Settings
    that are tuned have the values that they have without tuning; one whose value is not offered is drawn.

    Raises:
        ValueError: a reference is no point of the space.
    """
    if not plan.references_first:
        return {}
    points = project.narrowed.points(project.task)
    settings = plan.tuning.offered(values_now(project))
    return {name: {**point, **settings} for name, point in list(points.items())[: plan.trials // 2]}


def enqueue_next(study: optuna.Study, first: Mapping[str, Mapping[str, Any]], trials: Sequence[FrozenTrial]) -> None:
    """Enqueue the next reference that a study has no trial of yet, unless another trial waits.

    One at a time, so that a trial that was cut off keeps its place when it is asked for again.

    Args:
        study: of the search.
        first: the parameters that it begins with, by name.
        trials: all that it has.
    """
    if any(trial.state is TrialState.WAITING for trial in trials):
        return
    for name in not_taken(first, trials)[:1]:
        study.enqueue_trial(dict(first[name]), {REFERENCE: name})


def not_taken(first: Iterable[str], trials: Sequence[FrozenTrial]) -> list[str]:
    """The names of those of which there is no trial yet, in their order."""
    again = {trial.user_attrs.get("retry_of") for trial in trials}
    # One that was cut off before it was asked for whole has not been there.
    kept = (trial for trial in trials if "interrupted" not in trial.user_attrs or trial.number in again)
    there = {trial.user_attrs.get(REFERENCE) for trial in kept}
    return [name for name in first if name not in there]
