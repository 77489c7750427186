"""Limits of what networks may cost, as they are asked for: figures, or a factor beside the dearest reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from automl_plugins import registry
from automl_plugins.spaces.budget import COUNTED, Budget, Counted, Run, work_of
from automl_plugins.spaces.hand_made import hand_made
from automl_plugins.spaces.probe import probe_of
from automl_plugins.spaces.task import Task
from automl_plugins.system.nearest import did_you_mean
from automl_plugins.system.to_be_loaded import to_be_loaded

if TYPE_CHECKING:
    from torch import nn

REFERENCES = "references"
"""The key of limits for the factor by which figures may exceed those of the dearest reference."""
FACTOR = 4.0
"""The factor where none is given, of a space that has references. It bounds the cost of a trial, and no score was
asked: the registered graph networks differ by more among each other, a search's dearest finds from them by ten."""
_SAMPLES = 8
"""Made-up graphs or images that networks are counted on, where no other inputs are given."""

Limits = Mapping[str, float | None]
"""The most that each figure of `COUNTED` may be, by its name; None: anything. The key `references` has the factor by
which a figure that is not named may exceed the dearest reference's; None: by any."""


TASK_ALONE: Limits = {REFERENCES: None}
"""Limits that only leave out options without a meaning on the task, beside the space's `max_parameters`."""


def budget_of(space: Counted, task: Task, limits: Limits | None = None, run: Run | None = None) -> Budget:
    """The budget of a space's networks for a task.

    Args:
        space: its `max_parameters` is a limit, too.
        task: what networks must fit.
        limits: see `Limits`; without `references`, it is `FACTOR` where the space has references of its own.
        run: calls a network on example inputs; on made-up ones of the task's level where left out.

    Raises:
        ValueError: limits without meaning; or a factor is asked for, and there is no reference.
    """
    limits = {} if limits is None else limits
    check_limits(limits)
    run = run or _MadeUp(task)
    most = {name: float(limit) for name, limit in limits.items() if limit is not None and name != REFERENCES}
    cap, given = space.max_parameters, dict[str, str]()
    factor = limits.get(REFERENCES, FACTOR if space.references(task) else None)
    open_figures = [name for name in COUNTED if name not in limits and not (name == "params" and cap is not None)]
    if factor is not None and open_figures:
        dearest = _dearest(space, task, run)
        if not dearest and REFERENCES in limits:
            raise ValueError(
                f"limits.{REFERENCES}: there is no reference for the level {task.level!r} whose costs could be "
                f"counted; give limits of {', '.join(COUNTED)} instead"
            )
        for name in dearest.keys() & set(open_figures):
            most[name], reference = factor * dearest[name][0], dearest[name][1]
            given[name] = f"{factor:g} times the dearest reference ({reference}; limits.{name} gives another limit)"
    if cap is not None and cap <= most.get("params", math.inf):
        most["params"], given["params"] = cap, "max_parameters"
    return Budget(space, task, {name: most[name] for name in COUNTED if name in most}, run, given)


def check_limits(limits: Limits) -> None:
    """Refuse limits without meaning.

    Raises:
        ValueError: a name that is none, a limit that is not a number above 0, or a factor below 1.
    """
    for name, limit in limits.items():
        if name not in (*COUNTED, REFERENCES):
            raise ValueError(f"limits.{name} is no limit; {did_you_mean(name, (*COUNTED, REFERENCES))}")
        number = isinstance(limit, int | float) and not isinstance(limit, bool)
        if limit is not None and not (number and 0 < limit < math.inf):
            raise ValueError(f"limits.{name} is above 0; got {limit!r}; null limits nothing")
    factor = limits.get(REFERENCES)
    if factor is not None and factor < 1:
        raise ValueError(f"limits.{REFERENCES} is at least 1, so that the references are within; got {factor}")


def _dearest(space: Counted, task: Task, run: Run) -> dict[str, tuple[float, str]]:
    """The largest figures of the references that can be run, and whose they are; empty where none can."""
    found: dict[str, tuple[float, str]] = {}
    for reference, build in _references(space, task):
        try:
            figures = _figures(build, run)
        except Exception:  # noqa: BLE001, S112 - whatever a reference says of a task that it is not for
            continue
        for name in COUNTED:
            if figures[name] > found.get(name, (0.0, ""))[0]:
                found[name] = float(figures[name]), reference
    return found


def _references(space: Counted, task: Task) -> Iterator[tuple[str, Callable[[], nn.Module]]]:
    """The space's own, or where it has none, the registered ones, by name."""
    own = space.references(task)
    if own:
        yield from ((name, partial(space.build, architecture, task)) for name, architecture in own.items())
    else:
        yield from ((name, partial(hand_made, name, task, space)) for name in registry.names("references"))


def _figures(build: Callable[[], nn.Module], run: Run) -> dict[str, int]:
    import torch

    # Initial weights are drawn from torch's global generator, which is the caller's.
    with torch.random.fork_rng(devices=[]), to_be_loaded():
        network = build()
    params = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    return {"params": params, **work_of(lambda: network, run)}


class _MadeUp:
    """Calls networks on made-up inputs of a task's level, the same ones each time."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def __call__(self, network: nn.Module) -> object:
        import torch

        return network(*probe_of(self.task).example(_SAMPLES, torch.Generator().manual_seed(0)))
