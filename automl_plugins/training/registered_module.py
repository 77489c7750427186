"""The module that is registered for a task, with arguments of one's own."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from automl_plugins import registry
from automl_plugins.spaces.task import Task
from automl_plugins.system.nearest import did_you_mean
from automl_plugins.training.fit import ModuleFactory
from automl_plugins.training.lightning import pl


class RegisteredModule:
    """Makes the LightningModule that is registered for a task, as a study does that is given no module.

    Args:
        arguments: arguments of the module beside the network and the task.
    """

    def __init__(self, arguments: Mapping[str, Any] | None = None) -> None:
        self.arguments = dict(arguments or {})

    def __call__(self, network: nn.Module, task: Task) -> pl.LightningModule:
        """The LightningModule around a network.

        Raises:
            ValueError: no module is registered for the task, or it does not take one of the arguments.
        """
        factory: ModuleFactory = registry.load("modules", f"{task.level}-{task.target}")
        taken = inspect.signature(factory).parameters
        for name, value in self.arguments.items():
            if name not in taken:
                kind = f"{task.level}-{task.target}"
                raise ValueError(f"module.{name}={value!r}: a module of {kind} has none; {did_you_mean(name, taken)}")
        return factory(network, task, **self.arguments)
