"""The projects of trainings whose settings differ."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from automl_plugins.training.project import Project
from automl_plugins.training.remade import remade


class TunedProjects:
    """Gives the project of a training with settings of its own: arguments of the module and of the data.

    The data of the last such training are kept, so that trainings with the same ones do not read them again. Task,
    metric and direction are always the first project's.

    Args:
        project: without settings.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self._last: tuple[dict[str, Any], Project] | None = None

    def __call__(self, settings: Mapping[str, Any]) -> Project:
        """The project with settings, such as `{"module.learning_rate": 0.003}`; its data have been read.

        Raises:
            NotRemadeError: the datamodule cannot be made anew.
            Exception: whatever it raises for the arguments.
        """
        if not settings:
            return self.project
        module, data = (_of(home, settings) for home in ("module", "data"))
        project = self._with_data(data)
        return project.replace(module=partial(self.project.module, **module)) if module else project

    def _with_data(self, changes: dict[str, Any]) -> Project:
        if not changes:
            return self.project
        if self._last is None or self._last[0] != changes:
            first = self.project
            first.read_data()
            given = {"task": first.task, "monitor": first.monitor, "direction": first.direction, "module": first.module}
            project = first.replace(data=remade(first.data, changes), **given)
            project.read_data()
            self._last = changes, project
        return self._last[1]

    def __getstate__(self) -> dict[str, Any]:
        return {"project": self.project, "_last": None}


def _of(home: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(f"{home}."): value for name, value in settings.items() if name.startswith(f"{home}.")}
