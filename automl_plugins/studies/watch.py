"""A study as it stands: what a progress display shows, read from the storage and the run's folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from automl_plugins.report.progress import Progress, State
from automl_plugins.report.trials import counts
from automl_plugins.studies.finals import Finals
from automl_plugins.studies.pulse import forget_pulses, pulses


@dataclass(frozen=True)
class Watch:
    """Looks at a study that any number of workers run.

    Args:
        finals: the choice of finalists, from the trials as they are now.
    """

    finals: Callable[[], Finals]

    def __call__(self) -> State:
        """The study as it stands now."""
        finals = self.finals()
        plan, folder = finals.plan, finals.comparison.folder
        searched = all(sum(map(counts, trials)) >= plan.trials for trials in finals.trials.values())
        if searched:
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
            most = plan.final_trainings(len(finals.references))
        return State(
            arms=finals.trials,
            trials=plan.trials,
            finals=_seconds(trained),
            most_finals=most,
            tests=len(_seconds(folder.path.glob("contenders/*/*-test.json"))),
            running=pulses(folder),
        )


def progress(finals: Callable[[], Finals]) -> Progress:
    """The display of a study that runs.

    Args:
        finals: see `Watch`.
    """
    now = finals()
    project, plan = now.project, now.plan
    forget_pulses(now.comparison.folder)
    return Progress(
        Watch(finals),
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
