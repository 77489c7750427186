"""Neural architecture search inside the Lightning project, Optuna script or config that you already have."""

from __future__ import annotations

from automl_plugins.architecture import Architecture
from automl_plugins.choice import Choice
from automl_plugins.space import Operation, ParameterCapError, SearchSpace
from automl_plugins.task import Task

__all__ = ["Architecture", "Choice", "Operation", "ParameterCapError", "SearchSpace", "Task"]
