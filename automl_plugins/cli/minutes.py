"""`--minutes`: a study that is planned for a time, by a training that is measured on this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any

from automl_plugins.cli.errors import UsageError, say, told_briefly
from automl_plugins.cli.look import looked_at
from automl_plugins.cli.settings import Given, Item
from automl_plugins.errors import StudyError
from automl_plugins.studies.equal_cost import count_macs
from automl_plugins.studies.plan import HAND_MADE
from automl_plugins.studies.study import Study
from automl_plugins.studies.time_plan import Timing, measure, plan_for
from automl_plugins.system.arguments import positive
from automl_plugins.system.files import read_object, write_whole

_KEYS = {
    "max_epochs": "trainer.max_epochs",
    "trial_epochs": "trial_epochs",
    "trials": "trials",
    "finalists": "finalists",
}
_EPOCHS = 100
"""Of a final training, where neither its user nor a rule says how many it should have."""


def planned_before(folder: Path, minutes: float) -> dict[str, Any] | None:
    """The settings that a folder's study was planned with; None: it has none.

    Raises:
        UsageError: it was planned for another time.
    """
    kept = read_object(folder / "minutes.json")
    if kept is None:
        return None
    if kept.get("minutes") != minutes or not isinstance(kept.get("settings"), dict):
        raise UsageError(
            f"minutes={minutes:g}: the study in {folder} was planned for {kept.get('minutes')}; go on with that, or "
            "give this one another --folder"
        )
    return dict(kept["settings"])


def keep_plan(folder: Path, minutes: float, settings: Mapping[str, Any]) -> None:
    """Keep what a folder's study was planned with, so that it goes on with that."""
    write_whole(folder / "minutes.json", json.dumps({"minutes": minutes, "settings": dict(settings)}, indent=2))


def minutes_of(given: Given) -> float | None:
    """The time that was given; None: there is none.

    Raises:
        UsageError: it is no time.
    """
    minutes = given.get("minutes")
    with told_briefly("", 2, ValueError):
        return None if minutes is None else positive("minutes", minutes)


def with_settings(given: Given, settings: Mapping[str, Any]) -> Given:
    """The settings of a command with others over them."""
    items = tuple(Item(key, value) for key, value in settings.items())
    return looked_at(replace(given, items=(*given.items, *items)))


def placeholder(given: Given) -> Given:
    """The same with a length of trainings, where there is none yet: so that a study can be made to be measured."""
    return given if "trainer.max_epochs" in given else with_settings(given, {"trainer.max_epochs": _EPOCHS})


def plan_study(study: Study, given: Given, minutes: float, command: str) -> dict[str, Any]:
    """The settings of a study for a time, by their dotted keys, without those that its user gave; and say them.

    Args:
        study: as it would be without a time; its data have been read.
        given: what its user gave.
        minutes: for all of it, the time since the command began included.
        command: for the line.

    Raises:
        UsageError: the time is too short.
    """
    own = {name for name, key in _KEYS.items() if key in given}
    plan, whole = study.plan, study.project.trainer.get("max_epochs")
    if not isinstance(whole, int) or whole < 1:
        raise UsageError("minutes: it plans epochs, so trainer.max_epochs is a number of them, or left out")
    with told_briefly("", 1, StudyError, ValueError, RuntimeError):
        timing = measure(study.project, 60 * minutes)
        finals = partial(_final_trainings, study, timing)
    wished = [
        (plan.finalists, plan.seeds),
        (min(2, plan.finalists), min(3, plan.seeds)),
        (1, min(3, plan.seeds)),
        (1, min(2, plan.seeds)),
    ]
    sizes = [(plan.finalists if "finalists" in own else finalists, seeds) for finalists, seeds in wished]
    arms = 1 + len(plan.paid(len(study.references)))
    left = max(0.0, 60 * minutes - (datetime.now() - given.began).total_seconds()) * plan.workers
    short = plan.trial_epochs if "trial_epochs" in own else None
    with told_briefly("minutes", 1, ValueError):
        found = plan_for(left, timing, arms, finals, sizes, whole, "max_epochs" not in own, short)
    settings = {key: getattr(found, name) for name, key in _KEYS.items() if name not in own}
    told = ", ".join(f"{key}={value}" for key, value in settings.items())
    say(f"plans for {minutes:g} minutes, an epoch taking {timing.epoch:.2g} s here: {told}", command)
    return settings


def _final_trainings(study: Study, timing: Timing, finalists: int, seeds: int) -> float:
    """The final trainings of a study with so many finalists and seeds, as a number of those of random networks."""
    plan, references = replace(study.plan, finalists=finalists, seeds=seeds), len(study.references)
    count = count_macs(study.project)
    times = sorted(timing.times(count(each)) for each in study.references)
    found, all_ = plan.final_trainings(0), plan.final_trainings(references)
    if HAND_MADE not in plan.arms_with(references):
        return found + (all_ - found) * fmean(times or [1.0])
    # Some of them are finalists, and the dearest may not fit into the cost of their arm. Without settings to tune
    # they have a trial each, a quarter of a final training.
    trials = 0 if HAND_MADE in plan.paid(references) else sum(times) / 4
    return found + (all_ - found) * median(times) + trials
