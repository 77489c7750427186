"""Generators of random numbers that data sets, samplers and transforms hold: found, set aside, seeded."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any

import numpy as np
import torch


def held_generators(roots: Sequence[Any]) -> list[Any]:
    """The generators of random numbers within objects' attributes, a few levels deep."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    level = list(roots)
    for _ in range(7):
        below: list[Any] = []
        for thing in level:
            if isinstance(thing, torch.Generator | np.random.Generator | np.random.RandomState | random.Random):
                found[id(thing)] = thing
            elif id(thing) not in seen and not isinstance(thing, torch.Tensor | np.ndarray):
                seen.add(id(thing))
                below += list(vars(thing).values())[:64] if hasattr(thing, "__dict__") else []
                below += islice(thing, 64) if isinstance(thing, list | tuple) else []
                below += list(thing.values())[:64] if isinstance(thing, dict) else []
        level = below
    return list(found.values())


@contextmanager
def undisturbed(held: Sequence[Any]) -> Iterator[None]:
    """Give generators their states back in the end."""
    with ExitStack() as stack:
        for generator in held:
            if isinstance(generator, torch.Generator):
                stack.callback(generator.set_state, generator.get_state())
            elif isinstance(generator, np.random.Generator):
                stack.callback(setattr, generator.bit_generator, "state", generator.bit_generator.state)
            elif isinstance(generator, np.random.RandomState):
                stack.callback(generator.set_state, generator.get_state())
            else:
                stack.callback(generator.setstate, generator.getstate())
        yield


def reseed(held: Sequence[Any]) -> None:
    """Put generators to one fixed state."""
    for generator in held:
        if isinstance(generator, torch.Generator):
            generator.manual_seed(0)
        elif isinstance(generator, np.random.Generator):
            bits = generator.bit_generator
            bits.state = type(bits)(0).state
        else:
            generator.seed(0)
