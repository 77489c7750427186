"""The base of the benchmarks of steps: processor time, and peak memory."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import time
from collections.abc import Callable
from pathlib import Path


def least(runs: int, **steps: Callable[[], object]) -> dict[str, float]:
    """The least processor seconds of each step, the steps in turn."""
    seconds = dict.fromkeys(steps, float("inf"))
    for _ in range(runs):
        for name, step in steps.items():
            start = time.process_time()
            step()
            seconds[name] = min(seconds[name], time.process_time() - start)
    return seconds


def peak(*steps: Callable[[], object]) -> float:
    """MiB that two runs of the steps add to the resident memory of a copy of this process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for step in 2 * steps:
            step()
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        os.write(writing, str(grown).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        grown = float(answer.read())
    os.waitpid(child, 0)
    return grown


def commit() -> str:
    """The commit that is checked out, abbreviated."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    folder = Path(__file__).parent
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder).stdout.strip()  # noqa: S603


def cpu() -> str:
    """The model of the processor."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line for line in lines if line.startswith("model name")]
    return names[0].split(":")[1].strip() if names else platform.processor()
