"""Registered hand-made networks, built as a space and its data would have them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from automl_plugins import registry
from automl_plugins.spaces.budget import Counted
from automl_plugins.spaces.task import Task

if TYPE_CHECKING:
    from torch import nn


def hand_made(name: str, task: Task, space: Counted, data: Any = None) -> nn.Module:
    """A registered hand-made network, freshly initialised.

    It is a callable of the task. If it has further arguments by those names, it is given what the space's
    `reference_arguments` say, so that it begins as the space's networks do, and the datamodule as `data`.

    Args:
        name: of the group `references`.
        task: what it must fit.
        space: that it stands beside.
        data: the datamodule, which has been set up; None: there is none.

    Raises:
        ValueError: there is no such name, or the network does not fit the task.
    """
    reference = registry.load("references", name)
    taken = inspect.signature(reference).parameters
    given = {"data": data, **space.reference_arguments}
    network: nn.Module = reference(task, **{key: value for key, value in given.items() if key in taken})
    return network
