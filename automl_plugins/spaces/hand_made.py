"""Hand-made networks, registered or a user's own, built as a space and its data would have them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_type_hints

from automl_plugins import registry
from automl_plugins.spaces.budget import Counted
from automl_plugins.spaces.task import Task
from automl_plugins.system.nearest import did_you_mean

if TYPE_CHECKING:
    from torch import nn

Reference = Callable[..., Any]
"""A class or function that makes an `nn.Module` of a task: `MyNet(task)`."""


def find_reference(name: str) -> Reference:
    """The hand-made network that a registered name or an import path stands for.

    A path is imported, and nothing but a class of `torch.nn.Module`, or a function that says that it returns one, is
    given back to be called.

    Raises:
        ValueError: there is none, it cannot be imported, or it is of another kind; the message says which.
    """
    module, _, attribute = name.rpartition(".")
    known = registry.names("references")
    if name in known:
        reference: Reference = registry.load("references", name)
        return reference
    if not module:
        raise ValueError(f"references: there is no {name!r}; {did_you_mean(name, known)}")
    try:
        reference = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # importing a user's module runs code that is not ours
        raise ValueError(f"references: {name!r} cannot be imported: {type(error).__name__}: {error}") from error
    if not _makes_networks(reference):
        raise ValueError(
            f"references: {name!r} is no class of nn.Module, nor a function that is annotated to return one"
        )
    return reference


def _makes_networks(reference: object) -> bool:
    from torch import nn

    made: Any = reference
    if inspect.isfunction(reference):
        try:
            made = get_type_hints(reference).get("return")
        except (NameError, TypeError):  # an annotation that only a type checker can look up
            return False
    return inspect.isclass(made) and issubclass(made, nn.Module)


def hand_made(reference: str | Reference, task: Task, space: Counted, data: Any = None) -> nn.Module:
    """A hand-made network, freshly initialised.

    It is a callable of the task. If it has further arguments by those names, it is given what the space's
    `reference_arguments` say, so that it begins as the space's networks do, and the datamodule as `data`.

    Args:
        reference: a name of the group `references`, an import path, or the class or function itself.
        task: what it must fit.
        space: that it stands beside.
        data: the datamodule, which has been set up; None: there is none.

    Raises:
        RuntimeError: it asked to end the process.
        TypeError: it makes something else.
        ValueError: there is none of that name, or the network does not fit the task.
    """
    from torch import nn

    make = find_reference(reference) if isinstance(reference, str) else reference
    levels = getattr(make, "levels", ())
    if levels and task.level not in levels:
        several = f"levels {', '.join(sorted(levels))}" if len(levels) > 1 else f"level {next(iter(levels))!r}"
        raise ValueError(f"{make.__name__} is for the {several}; the task's is {task.level!r}")
    given = {"data": data, **space.reference_arguments}
    taken = inspect.signature(make).parameters
    try:
        network: object = make(task, **{key: value for key, value in given.items() if key in taken})
    except SystemExit as error:  # else it would end the study without a word
        raise RuntimeError(f"it asked to end the process: sys.exit({error.code!r})") from error
    if not isinstance(network, nn.Module):
        raise TypeError(f"it makes a {type(network).__name__}, which is no nn.Module")
    return network
