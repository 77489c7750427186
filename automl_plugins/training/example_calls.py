"""The calls that a project's module makes of a network: costs are measured on them, and estimates made."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Task
from automl_plugins.training.fit import seeded
from automl_plugins.training.recording import Call, UncalledError

_TRIES = 3
_DRAWS = 20


def example_calls(
    space: SearchSpace, task: Task, record: Callable[[nn.Module], tuple[Call, ...]], module: object
) -> tuple[Call, ...]:
    """A module's calls of its network for the first validation batch, recorded with a random architecture.

    Args:
        space: of the architecture.
        task: what its network must fit.
        record: the calls of a network.
        module: makes the calls; for the message.

    Raises:
        ValueError: the step fails, with three architectures, or does not call its network; the message says why.
    """
    generator = np.random.default_rng(0)

    def recorded() -> tuple[Call, ...]:
        architecture = _drawn(space.whole, task, generator)
        # It may be asked for amid a count of work, of which it is no part.
        with _disable_current_modes(), seeded(0):
            # The calls of a network do not depend on its size, so it may be beyond the space's limits.
            return record(space.build(architecture, task))

    for _ in range(_TRIES - 1):
        # One network may not fit the data, and then it is that trial's failure.
        with suppress(Exception):
            return recorded()
    try:
        return recorded()
    except UncalledError:
        raise
    except Exception as error:
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        raise ValueError(
            "what the network is called with is recorded in a validation step of "
            f"{getattr(module, '__name__', module)}, which failed with {type(error).__name__}: {reason}"
        ) from error


def _drawn(space: SearchSpace, task: Task, generator: np.random.Generator) -> Architecture:
    """A random architecture; in a space with a cap, one that keeps it, or the smallest of some."""
    if space.max_parameters is None:
        return space.sample(generator)
    smallest, least = space.sample(generator), math.inf
    for _ in range(_DRAWS):
        drawn = space.sample(generator)
        count = space.num_parameters(drawn, task)
        if count < least:
            smallest, least = drawn, count
        if least <= space.max_parameters:
            break
    return smallest
