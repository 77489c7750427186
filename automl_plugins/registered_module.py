"""The module that is registered for a task, with arguments of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from automl_plugins import registry
from automl_plugins._lightning import pl
from automl_plugins.task import Task


class RegisteredModule:
    """Makes the LightningModule that is registered for a task, as a study does that is given no module.

    Args:
        arguments: arguments of the module beside the network and the task.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.arguments = dict(arguments)

    def __call__(self, network: nn.Module, task: Task) -> pl.LightningModule:
        """The LightningModule around a network.

        Raises:
            ValueError: no module is registered for the task.
            TypeError: it does not take the arguments.
        """
        made: pl.LightningModule = registry.load("modules", f"{task.level}-{task.target}")(
            network, task, **self.arguments
        )
        return made
