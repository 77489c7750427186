"""Things of single kinds, set aside while a step changes them: generators, metrics, and libraries that log."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from automl_plugins.training.lightning import pl


def state_of(value: Any) -> tuple[Callable[[], Any], Callable[[Any], Any]] | None:
    """The functions that get and set the state of a random generator."""
    if isinstance(value, torch.Generator):
        return value.get_state, value.set_state
    if isinstance(value, random.Random):
        return value.getstate, value.setstate
    if isinstance(value, np.random.RandomState):
        return value.get_state, value.set_state
    if isinstance(value, np.random.Generator):
        bits = value.bit_generator
        return lambda: bits.state, lambda state: setattr(bits, "state", state)
    return None


@contextmanager
def metric_aside(metric: Metric | MetricCollection) -> Iterator[None]:
    """Let a metric count in copies of its states."""
    attributes = vars(metric)
    before = dict(attributes)
    if isinstance(metric, MetricCollection):
        # Which metrics share a state is settled at the first update, inside these lists.
        attributes["_groups"] = copy.deepcopy(metric._groups)
    else:
        for name in metric._defaults:
            state = attributes[name]
            attributes[name] = state.detach().clone() if isinstance(state, Tensor) else list(state)
    try:
        yield
    finally:
        attributes.clear()
        attributes.update(before)


@contextmanager
def silenced(library: Any, calls: Iterable[str]) -> Iterator[None]:
    """Have a logging library's own functions, and those of its present run, do nothing inside."""
    owners = [owner for owner in (library, getattr(library, "run", None)) if owner is not None]
    before = [(owner, name, vars(owner)[name]) for owner in owners for name in calls if name in vars(owner)]
    added = [(owner, name) for owner in owners[1:] for name in calls if name not in vars(owner)]
    for owner, name in [*((owner, name) for owner, name, _ in before), *added]:
        setattr(owner, name, nothing)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
        for owner, name in added:
            delattr(owner, name)


def nothing(*_: object, **__: object) -> None:
    """The stand-in for `self.log` inside."""


@cache
def dummy_experiment() -> Any:
    """Takes the place of a logger's experiment, and does nothing."""
    loggers: Any = pl.loggers.logger
    return loggers.DummyExperiment()
