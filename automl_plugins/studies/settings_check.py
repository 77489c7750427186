"""The settings that a study tunes, tried before its first trial."""

from __future__ import annotations

from typing import Any

import numpy as np

from automl_plugins.errors import StudyError
from automl_plugins.studies.tuning import Tuning
from automl_plugins.system.failure import failure_of
from automl_plugins.system.to_be_loaded import to_be_loaded
from automl_plugins.training.fingerprint import data_difference, data_fingerprint, datamodule_loaders
from automl_plugins.training.fit import seeded
from automl_plugins.training.project import Project
from automl_plugins.training.remade import NotRemadeError
from automl_plugins.training.tunable import check_names, module_arguments, settled
from automl_plugins.training.tuned import TunedProjects


def check_settings(projects: TunedProjects, tuning: Tuning) -> None:
    """Make the module and the data with each value of a list, and with both ends of a range.

    Args:
        projects: of the study, whose data have been read.
        tuning: of the study.

    Raises:
        StudyError: the module or the data do not take an argument or a value, the data cannot be made anew, or they
            would be judged by other validation or test samples, or have another task, so that trials could not be
            compared.
    """
    project = projects.project
    try:
        check_names(tuning.distributions, module_arguments(settled(project)), project.data)
    except ValueError as error:
        raise StudyError(str(error)) from error
    for name, value in tuning.extremes():
        try:
            other = projects({name: value})
            if name.startswith("module."):
                _make_module(other)
            else:
                _compare(project, other, name)
        except StudyError:
            raise
        except NotRemadeError as error:
            raise StudyError(f"tune.{name}: {error}") from error
        except Exception as error:
            raise StudyError(f"tune.{name}: {value!r} is refused ({failure_of(error)})") from error


def _make_module(project: Project) -> None:
    architecture = project.space.sample(np.random.default_rng(project.seed))
    with seeded(project.seed), to_be_loaded():
        project.make_module(project.space.build(architecture, project.task))


def _compare(project: Project, other: Project, name: str) -> None:
    """Refuse data with which trials would have another task, or other samples to be judged by."""
    if name.partition(".")[2] in getattr(other.data, "after_loading", ()):
        return  # it changes nothing of what is loaded
    task = getattr(other.data, "task", project.task)
    if task != project.task:
        raise StudyError(f"tune.{name} changes the task from {project.task} to {task}, so one space cannot serve both")
    difference = data_difference(_judged_by(project, name), _judged_by(other, name))
    if difference is not None:
        raise StudyError(
            f"tune.{name} changes the data that trials are judged by, so they could not be compared: {difference}"
        )


def _judged_by(project: Project, name: str) -> dict[str, Any]:
    """The fingerprint of the validation and test data, in which the sizes of batches do not count."""
    with seeded(project.seed):
        loaders = datamodule_loaders(project.data)
        found = data_fingerprint({split: loaders.get(split) for split in ("val", "test")})
    for each in (each for several in found.values() for each in several):
        each.pop("batch_size", None)
        if name == "data.batch_size" and each["unit"] == "batches":
            each.pop("items"), each.pop("samples")
            each["samples"] = None
    return found
