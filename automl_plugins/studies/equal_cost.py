"""Searches of equal cost: the arms beside the search ask on until theirs has reached the search's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from statistics import fmean

from optuna.trial import FrozenTrial, TrialState

from automl_plugins.errors import StudyError
from automl_plugins.objectives.contender import Contender
from automl_plugins.report.trial_cost import cost_of, counts, has_ended, spent
from automl_plugins.spaces.budget import work_of
from automl_plugins.studies.plan import Plan
from automl_plugins.training.project import Project

_MOST_FREE = 30
"""Trials in a row that cost nothing, since they were trained before, after which a space counts as exhausted."""

CountMacs = Callable[[Contender], int | None]
"""The multiply-accumulates of a contender's network, with its settings; None where they cannot be counted."""


@dataclass(frozen=True)
class EqualCost:
    """The cost that an arm is given: as much as the search takes, in one of `report.trial_cost.UNITS`.

    An arm asks on while its cost is below the search's, so it ends with as much or, by less than one trial, more.
    Decided from the trials alone, it is the same for all workers, and for a study that goes on.

    Args:
        unit: of the cost.
        search: the study name of the search in the storage.
        trials: how many the search has in the end.
        least: how many the arm has, whatever they cost.
        seconds: of its trials, after which it ends; None: any.
    """

    unit: str
    search: str
    trials: int
    least: int = 0
    seconds: float | None = None

    def is_reached(self, own: Sequence[FrozenTrial], searched: Sequence[FrozenTrial]) -> bool | None:
        """True where an arm is done; None where it has to wait for trials that run; False where another one is due.

        Args:
            own: the arm's trials.
            searched: the search's.
        """
        running = [trial for trial in own if trial.state is TrialState.RUNNING]
        due, done = spent(searched, self.unit), has_ended(searched, self.trials, self.seconds) is True
        if sum(map(counts, own)) + len(running) < self.least:
            return False
        if spent(own, self.unit) >= due or self._is_exhausted(own):
            return True if done and not running else None
        ahead = sum(self._expected(trial, [*own, *searched]) for trial in running)
        return None if spent(own, self.unit) + ahead >= due else False

    def _expected(self, running: FrozenTrial, ended: Sequence[FrozenTrial]) -> float:
        """The cost that a trial will have, as those before it: by its own network, where that is known."""
        unit = "steps" if self.unit == "macs" else self.unit
        mean = fmean([cost for trial in ended if (cost := cost_of(trial, unit))] or [0.0])
        return mean * max(1, running.user_attrs.get("macs", 1)) if self.unit == "macs" else mean

    def _is_exhausted(self, own: Sequence[FrozenTrial]) -> bool:
        latest = [trial for trial in own if counts(trial)][-_MOST_FREE:]
        return len(latest) == _MOST_FREE and spent(latest, self.unit) == 0.0


def unit_of(project: Project, plan: Plan, references: int) -> str:
    """The unit in which the arms of a study are given the same cost, beside so many hand-made networks.

    If none was asked for, it is `macs`, or `steps` where multiply-accumulates cannot be counted. If there is no arm to
    be given the search's cost, it is counted in trials.

    Raises:
        StudyError: it cannot be had.
    """
    if not plan.paid(references):
        return "trials"
    unit = plan.equal_cost
    if unit == "gpu_seconds" and project.device.type == "cpu":
        raise StudyError("equal_cost=gpu_seconds: trainings run on the CPU here; give cpu_seconds, or macs")
    if unit is not None and unit != "macs":
        return unit
    try:
        _ = project.example_calls
    except ValueError as error:
        if unit is None:
            return "steps"
        raise StudyError(f"equal_cost=macs: {error}; give steps") from error
    return "macs"


def count_macs(project: Project) -> CountMacs:
    """The count of a network's multiply-accumulates; what its space's limits have counted is remembered.

    With a `data.batch_size` among the training settings, they are those of a batch of that size, in proportion: so many
    fewer are the steps.

    Args:
        project: on whose first validation batch; its module calls the network.
    """
    own = getattr(project.data, "batch_size", None)

    def counted(contender: Contender) -> int | None:
        architecture, budget = contender.architecture, project.narrowed.budget
        if architecture is not None and budget is not None and "macs" in budget.limits:
            found = budget.figures(architecture).get("macs")
            return None if found is None else int(found)
        with suppress(Exception):  # whatever a network says of inputs that do not fit it: its trial tells
            build = partial(contender.network, project.space, project.task, project.data)
            if architecture is not None:
                build = partial(project.space.build, architecture, project.task)
            return work_of(build, project.call)["macs"]
        return None

    def count(contender: Contender) -> int | None:
        macs, size = counted(contender), contender.settings.get("data.batch_size")
        return round(macs * size / own) if macs is not None and size and own else macs

    return count
