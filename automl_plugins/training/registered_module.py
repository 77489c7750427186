"""The module that is registered for a task, with arguments of one's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from automl_plugins import registry
from automl_plugins.spaces.task import Task
from automl_plugins.system.nearest import did_you_mean
from automl_plugins.training.lightning import pl


class RegisteredModule:
    """Makes the LightningModule that is registered for a task, as a study does that is given no module.

    Args:
        arguments: arguments of the module beside the network and the task.
    """

    def __init__(self, arguments: Mapping[str, Any] | None = None) -> None:
        self.arguments = dict(arguments or {})

    def __call__(self, network: nn.Module, task: Task, **others: Any) -> pl.LightningModule:
        """The LightningModule around a network.

        Args:
            network: what is trained.
            task: what it must fit.
            others: arguments in place of those that it was made with, or beside them.

        Raises:
            ValueError: no module is registered for the task, or it does not take one of the arguments.
        """
        arguments = {**self.arguments, **others}
        factory = self.of(task)
        taken = inspect.signature(factory).parameters
        for name, value in arguments.items():
            if name not in taken:
                kind = f"{task.level}-{task.target}"
                raise ValueError(f"module.{name}={value!r}: a module of {kind} has none; {did_you_mean(name, taken)}")
        return factory(network, task, **arguments)

    def of(self, task: Task) -> Callable[..., pl.LightningModule]:
        """The class that is registered for a task.

        Raises:
            ValueError: none is.
        """
        found: Callable[..., pl.LightningModule] = registry.load("modules", f"{task.level}-{task.target}")
        return found
