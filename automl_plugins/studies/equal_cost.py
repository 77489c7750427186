"""Searches of equal cost: the arms beside the search ask on until theirs has reached the search's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean

from optuna.trial import FrozenTrial, TrialState

from automl_plugins.errors import StudyError
from automl_plugins.objectives.contender import Contender
from automl_plugins.report.trial_cost import cost_of, counts, has_ended, spent
from automl_plugins.spaces.budget import work_of
from automl_plugins.studies.first_trials import not_taken
from automl_plugins.studies.plan import HAND_MADE, Plan
from automl_plugins.training.project import Project

_MOST_FREE = 30
"""Trials in a row that cost nothing, since they were trained before, after which a space counts as exhausted."""

CountMacs = Callable[[Contender], int | None]
"""The multiply-accumulates of a contender's network, with its settings; None where they cannot be counted."""


@dataclass(frozen=True)
class EqualCost:
    """The cost that an arm is given: as much as the search takes, in one of `report.trial_cost.UNITS`.

    An arm asks on while its cost is below the search's, so it ends with as much or, by less than one trial, more. The
    trials that it begins with are taken in their order, each where it fits into what the search has cost, but for the
    first of them, which is always taken; those that do not fit in the end are left out. Decided from the trials alone,
    it is the same for all workers, and for a study that goes on.

    Args:
        unit: of the cost.
        search: the study name of the search in the storage.
        trials: how many the search has in the end.
        first: the multiply-accumulates of the networks that the arm begins with, by name; the cheapest first.
        asks_on: the arm has trials after its first ones.
        seconds: of its trials, after which it ends; None: any.
    """

    unit: str
    search: str
    trials: int
    first: Mapping[str, int] = field(default_factory=dict)
    asks_on: bool = True
    seconds: float | None = None

    def is_reached(
        self, own: Sequence[FrozenTrial], searched: Sequence[FrozenTrial], is_over: bool = False
    ) -> bool | None:
        """True where an arm is done; None where it has to wait for trials that run; False where another one is due.

        Args:
            own: the arm's trials.
            searched: the search's.
            is_over: True where the search was ended, see `has_ended`.
        """
        running = [trial for trial in own if trial.state is TrialState.RUNNING]
        due, done = spent(searched, self.unit), has_ended(searched, self.trials, self.seconds, is_over) is True
        if not_taken(self.first, own):
            if self.next_first(own, searched) is not None:
                return False if done or due else None
            if not done or running:
                return None
        if not self.asks_on:
            return None if running else True
        if spent(own, self.unit) >= due or self._is_exhausted(own):
            return True if done and not running else None
        return None if self._had(own, searched) >= due else False

    def next_first(self, own: Sequence[FrozenTrial], searched: Sequence[FrozenTrial]) -> str | None:
        """The next of the first trials, if it fits into what the search has cost so far; None: it does not."""
        for name in not_taken(self.first, own)[:1]:
            begun = [trial for trial in own if counts(trial) or trial.state is TrialState.RUNNING]
            cost = self.cost_of_first(name, [*own, *searched])
            if not begun or self._had(own, searched) + cost <= spent(searched, self.unit):
                return name
        return None

    def cost_of_first(self, name: str, ended: Sequence[FrozenTrial]) -> float:
        """The cost that one of the first trials would have, as long as the longest of those that have ended."""
        if self.unit != "macs":
            return max((cost_of(trial, self.unit) for trial in ended), default=0.0)
        return max((cost_of(trial, "steps") for trial in ended), default=0.0) * max(1, self.first[name])

    def _had(self, own: Sequence[FrozenTrial], searched: Sequence[FrozenTrial]) -> float:
        """The cost of an arm with that of the trials that run."""
        running = (trial for trial in own if trial.state is TrialState.RUNNING)
        return spent(own, self.unit) + sum(self._expected(trial, [*own, *searched]) for trial in running)

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


def equal_cost(
    arm: str, project: Project, plan: Plan, references: Sequence[Contender], search: str
) -> EqualCost | None:
    """The cost that an arm of a study is given; None of one that has a number of trials.

    Args:
        arm: its name.
        project: what is trained on what.
        plan: of the study.
        references: the hand-made networks that fit.
        search: the study name of the search in the storage.
    """
    unit = unit_of(project, plan, len(references))
    if arm == "search" or (unit == "trials" and not plan.ends_by_time):
        return None
    equal = EqualCost(unit, search, plan.trials, seconds=plan.search_seconds)
    if arm != HAND_MADE:
        return equal
    count = count_macs(project)
    macs = {str(each.reference): (count(each) or 1) if unit == "macs" else 1 for each in references}
    first = dict(sorted(macs.items(), key=lambda each: each[1]))
    return replace(equal, first=first, asks_on=bool(plan.tuning.distributions))


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
