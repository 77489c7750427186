"""The trials that a search begins with: the references that are points of its space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.refusal import REFERENCE
from automl_plugins.studies.plan import Plan
from automl_plugins.training.project import Project


def first_trials(project: Project, plan: Plan) -> Mapping[str, Architecture]:
    """The references of a project's space that its limits admit, by name, in the space's order.

    They are at most half of the search's trials, so that there is a search at all; this half is our choice.

    Raises:
        ValueError: a reference is no point of the space.
    """
    if not plan.references_first:
        return {}
    points = project.narrowed.points(project.task)
    return dict(list(points.items())[: plan.trials // 2])


def enqueue_next(study: optuna.Study, first: Mapping[str, Architecture], trials: Sequence[FrozenTrial]) -> None:
    """Enqueue the next reference that a study has no trial of yet, unless another trial waits.

    One at a time, so that a trial that was cut off keeps its place when it is asked for again.

    Args:
        study: of the search.
        first: what it begins with, by name.
        trials: all that it has.
    """
    if any(trial.state is TrialState.WAITING for trial in trials):
        return
    there = {trial.user_attrs.get(REFERENCE) for trial in trials}
    for name, architecture in first.items():
        if name not in there:
            study.enqueue_trial(dict(architecture), {REFERENCE: name})
            return
