"""A study as it stands: what a progress display shows, read from the storage and the run's folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean

import numpy as np

from automl_plugins.objectives.contender import Contender
from automl_plugins.report.progress import Progress, State
from automl_plugins.report.trial_cost import cost_of, has_ended
from automl_plugins.studies.equal_cost import EqualCost, count_macs, equal_cost, unit_of
from automl_plugins.studies.finals import Finals
from automl_plugins.studies.pulse import forget_pulses, pulses
from automl_plugins.studies.time_left import TimeLeft

_DRAWS = 8
"""Random architectures of which a trial's cost is expected, until as many trials tell it."""


@dataclass(frozen=True)
class Watch:
    """Looks at a study that any number of workers run.

    Args:
        finals: the choice of finalists, from the trials as they are now.
        left: of the time that the study has; None: it may take any.
    """

    finals: Callable[[], Finals]
    left: TimeLeft | None = None

    def __call__(self) -> State:
        """The study as it stands now."""
        finals = self.finals()
        plan, folder = finals.plan, finals.comparison.folder
        ended = self._ended(finals)
        if len(ended) == len(finals.trials):
            # Who failed and succeeded later, or was a finalist of an earlier plan, is trained, but no contender.
            pairs = ((finals.choosing, finals.chosen_among), (finals.comparison, [*finals.contenders, *finals.members]))
            named = [
                folder.result(contender.key, seed, "train")
                for comparison, contenders in pairs
                for contender in contenders
                for seed in comparison.seeds
            ]
            trained = list(dict.fromkeys(named))
            # One of each arm will be chosen.
            most = len(trained) + len(finals.unsettled) * plan.seeds
        else:
            trained = list(folder.path.glob("contenders/*/*-train.json"))
            most = plan.final_trainings(len(finals.hand_made))
        return State(
            arms=finals.trials,
            trials=self._asked(finals),
            finals=_seconds(trained),
            most_finals=most,
            tests=len(_seconds(folder.path.glob("contenders/*/*-test.json"))),
            running=pulses(folder),
            unit=self._unit,
            trial_cost=self._trial_cost(finals),
            ended_arms=ended,
            search_seconds=plan.search_seconds,
            seconds_left=None if self.left is None else self.left.left(finals),
        )

    @cached_property
    def _unit(self) -> str:
        finals = self.finals()
        return unit_of(finals.project, finals.plan, len(finals.hand_made))

    def _asked(self, finals: Finals) -> dict[str, int]:
        """The number of trials of each arm that is not given the search's cost."""
        plan, references = finals.plan, len(finals.hand_made)
        paid = plan.paid(references) if self._unit != "trials" or plan.ends_by_time else ()
        return {arm: plan.trials_of(arm, references) for arm in finals.trials if arm not in paid}

    def _ended(self, finals: Finals) -> set[str]:
        """The arms of which no trial is left."""
        ended = set()
        for arm, trials in finals.trials.items():
            equal, is_search = self._equal_costs.get(arm), arm == "search"
            if equal is not None:
                reached = equal.is_reached(trials, finals.trials["search"], finals.is_over)
            else:
                most = finals.plan.trials_of(arm, len(finals.hand_made))
                seconds = finals.plan.search_seconds if is_search else None
                reached = has_ended(trials, most, seconds, is_search and finals.is_over)
            if reached:
                ended.add(arm)
        return ended

    @cached_property
    def _equal_costs(self) -> dict[str, EqualCost | None]:
        finals = self.finals()
        return {arm: equal_cost(arm, finals.project, finals.plan, finals.hand_made, "search") for arm in finals.trials}

    def _trial_cost(self, finals: Finals) -> float | None:
        """The cost that is expected of a trial of the search, from random architectures while few trials have ended."""
        ended = [trial for trial in finals.trials.get("search", ()) if cost_of(trial, "steps")]
        if self._unit != "macs" or not 0 < len(ended) < _DRAWS:
            return None
        return self._typical_macs * fmean(cost_of(trial, "steps") for trial in ended)

    @cached_property
    def _typical_macs(self) -> float:
        project = self.finals().project
        count, generator = count_macs(project), np.random.default_rng(project.seed)
        return fmean(count(Contender("", project.narrowed.sample(generator))) or 1 for _ in range(_DRAWS))


def progress(finals: Callable[[], Finals], left: TimeLeft | None = None) -> Progress:
    """The display of a study that runs.

    Args:
        finals: see `Watch`.
        left: see `Watch`.
    """
    now = finals()
    project, plan = now.project, now.plan
    forget_pulses(now.comparison.folder)
    return Progress(
        Watch(finals, left),
        metric=project.monitor if plan.goal.reward is None else "reward",
        maximize=project.direction == "maximize",
        workers=plan.workers,
        longer=plan.longer(project.trainer.get("max_epochs")),
    )


def _seconds(paths: Iterable[Path]) -> list[float]:
    """The time that each training or test took whose result is there."""
    seconds = []
    for path in paths:
        with suppress(OSError, ValueError):
            seconds.append(float(json.loads(path.read_text("utf-8")).get("seconds", 0.0)))
    return seconds
