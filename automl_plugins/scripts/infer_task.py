"""The task of a network: said by the user, named by the datamodule, or seen in the calls of the project's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from automl_plugins.spaces.task import Task

_SAME = ("level", "out_channels")
"""Arguments that a datamodule's task and a network have in common, where the network is the whole one."""


def find_task(
    given: Mapping[str, Any], datamodule: object, seen: Mapping[str, Any] | None = None, reason: str = ""
) -> Task:
    """The task of a network: what was given, over the datamodule's task, over what was seen.

    A network that gives something else than the datamodule's task asks for is a part of the whole, such as an encoder;
    what was seen counts then.

    Args:
        given: arguments of `Task`.
        datamodule: the Trainer's; None where the loaders were given alone.
        seen: arguments of `Task`, read of calls of the project's own network.
        reason: why nothing was seen.

    Raises:
        ValueError: something is missing, or out of range.
    """
    seen = seen or {}
    task = getattr(datamodule, "task", None)
    named = task.to_dict() if isinstance(task, Task) else {}
    if all(name in seen for name in _SAME) and any(named.get(name, seen[name]) != seen[name] for name in _SAME):
        named = {}
    arguments = {**seen, **named, **given}
    missing = [each.name for each in fields(Task) if each.default is MISSING and each.name not in arguments]
    if missing:
        whose = "there is no datamodule" if datamodule is None else f"{type(datamodule).__name__} has no `task`"
        be = "is" if len(missing) == 1 else "are"
        why = f" ({reason})" if reason else ""
        raise ValueError(
            f"what the network must fit is not known: {whose}, and task.{', task.'.join(missing)} {be} not given "
            f"(--task.{missing[0]} ...) and not seen in how the network is called{why}"
        )
    return Task(**arguments)
