"""A line on what a study will do, before it does."""

from __future__ import annotations

from typing import Any

from automl_plugins.report.trial_cost import UNITS
from automl_plugins.studies.equal_cost import unit_of
from automl_plugins.studies.first_trials import first_trials
from automl_plugins.studies.plan import Plan
from automl_plugins.training.project import Project


def outline(project: Project, plan: Plan, references: int) -> str:
    """The trials, searches and final trainings of a study whose data have been read.

    Args:
        project: what is trained on what.
        plan: of the study.
        references: the number of hand-made networks that fit.
    """
    whole = project.trainer.get("max_epochs")
    told = []
    if plan.arms:
        first = len(first_trials(project, plan))
        begin = f", beginning with {first} of the space's references" if first else ""
        most = "at most " if plan.ends_by_time else ""
        short = _epochs(plan.trial_epochs or whole)
        told.append(f"{most}{plan.trials} trials{short} by {plan.sampler.cls.__name__}{begin}")
    if paid := plan.paid(references):
        unit = UNITS[unit_of(project, plan, references)]
        told.append(f"as much ({unit}) for {' and '.join(paid)}")
    most = "at most " if plan.minutes is not None else ""
    told.append(f"{most}{plan.final_trainings(references)} final trainings{_epochs(whole)}")
    return f"{project.space.name} on {type(project.data).__name__}: {', then '.join(told)}"


def _epochs(count: Any) -> str:
    return f" of {count} epochs" if isinstance(count, int) and count > 0 else ""
