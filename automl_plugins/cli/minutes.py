"""`--minutes`: a study that is planned for a time, by a training that is measured on this machine."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from automl_plugins.cli.errors import UsageError, say, told_briefly
from automl_plugins.cli.look import looked_at
from automl_plugins.cli.settings import Given, Item
from automl_plugins.errors import StudyError
from automl_plugins.studies.plan import HAND_MADE
from automl_plugins.studies.study import Study
from automl_plugins.studies.time_plan import measure, plan_for
from automl_plugins.system.arguments import positive
from automl_plugins.system.files import read_object, write_whole

_KEYS = {
    "max_epochs": "trainer.max_epochs",
    "trial_epochs": "trial_epochs",
    "trials": "trials",
    "search_minutes": "search_minutes",
    "finalists": "finalists",
    "seeds": "seeds",
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
    if "minutes" not in given:
        return None
    with told_briefly("", 2, ValueError):
        return positive("minutes", given.get("minutes"))


def with_settings(given: Given, settings: Mapping[str, Any]) -> Given:
    """The settings of a command with others over them."""
    items = tuple(Item(key, value) for key, value in settings.items())
    return looked_at(replace(given, items=(*given.items, *items)))


def placeholder(given: Given) -> Given:
    """The same with a length of trainings, where there is none yet: so that a study can be made to be measured."""
    return given if "trainer.max_epochs" in given else with_settings(given, {"trainer.max_epochs": _EPOCHS})


def plan_study(study: Study, given: Given, minutes: float, began: float, command: str) -> dict[str, Any]:
    """The settings of a study for a time, by their dotted keys, without those that its user gave; and say them.

    Args:
        study: as it would be without a time; its data have been read.
        given: what its user gave.
        minutes: for all of it, the time since `began` included.
        began: when the command began, by `time.monotonic`.
        command: for the line.

    Raises:
        UsageError: the time is too short.
    """
    own = {name for name, key in _KEYS.items() if key in given}
    plan, whole = study.plan, study.project.trainer.get("max_epochs")
    if not isinstance(whole, int) or whole < 1:
        raise UsageError("minutes: it plans epochs, so trainer.max_epochs is a number of them, or left out")
    prepared = time.monotonic() - began  # which the planned study takes once more
    with told_briefly("", 1, StudyError, ValueError, RuntimeError):
        timing = measure(study.project)
    wished = [
        (plan.finalists, plan.seeds),
        (min(2, plan.finalists), min(3, plan.seeds)),
        (1, min(3, plan.seeds)),
        (1, 2),
    ]
    sizes = [
        (plan.finalists if "finalists" in own else finalists, plan.seeds if "seeds" in own else seeds)
        for finalists, seeds in wished
    ]

    references = len(study.references)

    def finals(finalists: int, seeds: int) -> int:
        sized = replace(plan, finalists=finalists, seeds=seeds)
        # Hand-made networks without settings to tune have a trial each, a quarter of a final training.
        own_arm = HAND_MADE in sized.arms_with(references) and HAND_MADE not in sized.paid(references)
        return sized.final_trainings(references) + (references // 4 if own_arm else 0)

    left = max(0.0, 60 * minutes - (time.monotonic() - began) - prepared) * plan.workers
    short = plan.trial_epochs if "trial_epochs" in own else None
    with told_briefly("minutes", 1, ValueError):
        found = plan_for(
            left, timing, 1 + len(plan.paid(references)), finals, sizes, whole, "max_epochs" not in own, short
        )
    settings = {_KEYS[name]: value for name, value in asdict(found).items() if name not in own}
    told = ", ".join(
        f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}" for key, value in settings.items()
    )
    say(f"plans for {minutes:g} minutes, an epoch taking {timing.epoch:.2g} s here: {told}", command)
    return settings
