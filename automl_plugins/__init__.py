"""Neural architecture search inside the Lightning project, Optuna script or config that you already have."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from automl_plugins.errors import ParameterCapError
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice
from automl_plugins.spaces.operation import Operation
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Task

if TYPE_CHECKING:
    from automl_plugins.search.callback import ArchitectureSearch
    from automl_plugins.studies.result import load_result
    from automl_plugins.studies.study import Study
    from automl_plugins.training.project import Project

_HEAVY = {
    "ArchitectureSearch": "automl_plugins.search.callback",
    "Project": "automl_plugins.training.project",
    "Study": "automl_plugins.studies.study",
    "load_result": "automl_plugins.studies.result",
}
"""Names that import Lightning, by where they are; they are imported when they are first asked for."""

__all__ = [
    "Architecture",
    "ArchitectureSearch",
    "Choice",
    "Operation",
    "ParameterCapError",
    "Project",
    "SearchSpace",
    "Study",
    "Task",
    "load_result",
]


def __getattr__(name: str) -> Any:
    if name not in _HEAVY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HEAVY[name]), name)
