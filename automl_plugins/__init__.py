"""Neural architecture search inside the Lightning project, Optuna script or config that you already have."""

from __future__ import annotations

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice
from automl_plugins.spaces.operation import Operation
from automl_plugins.spaces.space import ParameterCapError, SearchSpace
from automl_plugins.spaces.task import Task

__all__ = ["Architecture", "Choice", "Operation", "ParameterCapError", "SearchSpace", "Task"]
