"""A study that was made in Python, as the YAML that `automl-plugins` reads."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.pruners import NopPruner

from automl_plugins.objectives.named_rewards import REWARDS
from automl_plugins.studies.optuna_parts import SamplerFactory, comes_with_hyperband
from automl_plugins.studies.plan import Plan
from automl_plugins.studies.storage import without_password
from automl_plugins.system.files import write_whole
from automl_plugins.training.description import import_path, kept_arguments
from automl_plugins.training.project import Project

_PLAIN = (
    "trials",
    "equal_cost",
    "trial_epochs",
    "sharing",
    "random_search",
    "references_first",
    "finalists",
    "seeds",
    "ensemble",
    "prefer",
    "workers",
    "max_equal_failures",
    "trial_minutes",
    "final_minutes",
    "search_minutes",
    "minutes",
)
_MARK = "# Written by Study.run in Python."


class _CannotBeWrittenError(Exception):
    """A value has no YAML from which it could be made again."""


def keep_config(path: Path, project: Project, plan: Plan, storage: str | None) -> None:
    """Write a study's configuration, unless the command line, or a user, has written one.

    Args:
        path: the file.
        project: what is trained on what.
        plan: of the study.
        storage: where its trials are; None: in the folder.
    """
    if not path.exists() or path.read_text("utf-8").startswith(_MARK):
        write_whole(path, config_text(project, plan, storage))


def config_text(project: Project, plan: Plan, storage: str | None) -> str:
    """A study's configuration as YAML; what cannot be written is named in comments at its top."""
    settings: dict[str, Any] = {}
    notes: list[str] = []
    for key, value in _values(project, plan, storage).items():
        try:
            settings[key] = _written(value, key, notes)
        except _CannotBeWrittenError as error:
            notes.append(f"{key}: {error}; give it again with --{key} or in Python")
    return "\n".join([_MARK, *(f"# {note}" for note in notes), yaml.safe_dump(settings, sort_keys=False)])


def _values(project: Project, plan: Plan, storage: str | None) -> dict[str, Any]:
    return {
        "space": project.space,
        "data": project.data,
        "folder": project.folder.resolve(),
        "module": project.module,
        "task": project.task.to_dict(),
        "monitor": project.monitor,
        "direction": project.direction,
        "judged_by": project.judged_by,
        "sampler": plan.sampler,
        "pruner": None if _stops_none(plan) else plan.pruner,
        "costs": list(plan.goal.costs),
        "limits": plan.goal.asked_limits,
        "reward": plan.goal.reward,
        "tune": plan.tuning.described or None,
        "trainer": project.trainer,
        "references": None if plan.references is None else [each.reference for each in plan.references],
        "storage": None if storage is None else without_password(storage),
        "seed": project.seed,
        **{name: getattr(plan, name) for name in _PLAIN},
    }


def _stops_none(plan: Plan) -> bool:
    """True where a study that names no pruner is the same."""
    return isinstance(plan.pruner, NopPruner) and not comes_with_hyperband(plan.sampler)


def _written(value: Any, key: str, notes: list[str]) -> Any:
    """A value as plain YAML; notes are taken of arguments that had to be left out."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value.resolve())
    if isinstance(value, Mapping):
        return _some({str(name): part for name, part in value.items()}, key, notes)
    if isinstance(value, list | tuple):
        return [_written(part, f"{key}.{place}", notes) for place, part in enumerate(value)]
    if isinstance(value, SamplerFactory) and value.given is None:
        return _call(value.cls, value.arguments, key, notes)
    if isinstance(value, SamplerFactory):
        return _written(value.given, key, notes)
    if inspect.isclass(value):
        return _call(value, {}, key, notes)
    if isinstance(value, functools.partial) and not value.args:
        return _call(value.func, value.keywords, key, notes)
    if callable(value) or not hasattr(value, "__dict__"):
        raise _CannotBeWrittenError(f"a {type(value).__name__} has no class_path and init_args")
    arguments, missing = kept_arguments(value)
    if missing:
        notes.append(
            f"{key}: {', '.join(missing)} of {type(value).__name__} cannot be seen, so their defaults are here"
        )
    return _call(type(value), arguments, key, notes)


def _call(cls: Any, arguments: Mapping[str, Any], key: str, notes: list[str]) -> dict[str, Any]:
    path = import_path(cls)
    if "<" in path or not inspect.isclass(cls):
        raise _CannotBeWrittenError(f"{path} cannot be imported as a class")
    name = path.rpartition(".")[2]
    if cls in (getattr(optuna.samplers, name, None), getattr(optuna.pruners, name, None)):
        path = name
    for known, reward in REWARDS.items():
        path = known if reward is cls else path
    return {"class_path": path, "init_args": _some(arguments, key, notes)}


def _some(values: Mapping[str, Any], key: str, notes: list[str]) -> dict[str, Any]:
    """Those of several values that can be written."""
    written: dict[str, Any] = {}
    for name, value in values.items():
        try:
            written[name] = _written(value, f"{key}.{name}", notes)
        except _CannotBeWrittenError as error:
            notes.append(f"{key}.{name} is left out: {error}")
    return written
