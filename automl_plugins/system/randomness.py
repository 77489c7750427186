"""The process's random generators: set aside for a while, and kept in checkpoints."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seed_from(*parts: int) -> int:
    """One seed for several numbers: well mixed, the same on every machine."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint32)[0])


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of Python's, NumPy's and torch's generators, made of what `torch.load(weights_only=True)` reads."""
    numpy_state: Any = np.random.get_state(legacy=True)  # noqa: NPY002 - to keep it
    name, keys, position, has_gauss, cached_gaussian = numpy_state
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": (name, keys.tolist(), position, has_gauss, cached_gaussian),
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Continue where `random_state` was taken."""
    random.setstate(state["python"])
    np.random.set_state(tuple(state["numpy"]))  # noqa: NPY002 - to give it back
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


@contextmanager
def seeded_aside(seed: int, device: torch.device) -> Iterator[None]:
    """Seed all generators inside, and let nothing of it be seen outside."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - to give it back
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            # Not torch.manual_seed: it would seed the generators of devices that this process does not use, too.
            torch.default_generator.manual_seed(seed)
            if device.type == "cuda":
                torch.cuda.default_generators[device.index or 0].manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002 - what users' data sets draw from
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002 - to give it back
