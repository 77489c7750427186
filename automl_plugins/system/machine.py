"""The memory of this machine, against what a training takes at least."""

from __future__ import annotations

import contextlib
import os
from functools import cache
from pathlib import Path

_BYTES_PER_PARAMETER = 8
"""A weight and its gradient, in single precision; what the optimizer and the activations take comes on top."""


def too_large(parameters: int) -> str | None:
    """Why a network cannot be trained on this machine, whatever it computes; None where it may fit.

    Args:
        parameters: trainable ones of the network.
    """
    needed, there = _BYTES_PER_PARAMETER * parameters, memory_bytes()
    if there is None or needed <= there:
        return None
    return (
        f"{parameters:,} parameters; their weights and gradients alone take {needed / 2**30:.1f} GiB, "
        f"of {there / 2**30:.1f} GiB that this machine has; max_parameters of the space draws smaller ones"
    )


@cache
def memory_bytes() -> int | None:
    """The main memory that this process may use; None where the system does not say."""
    limits = [
        _read(Path(path)) for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
    ]
    with contextlib.suppress(AttributeError, OSError, ValueError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min((limit for limit in limits if limit is not None and limit > 0), default=None)


def free_memory_bytes() -> int | None:
    """The main memory that is free, or would be made so; None where the system does not say."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        free = next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
        limit = memory_bytes()
        return free if free is None or limit is None else min(free, limit)
    return None


def _read(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
