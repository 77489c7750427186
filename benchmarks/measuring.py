"""The base of the benchmarks of steps: processor time, peak memory, and steps of networks and supernets."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.table import Table
from torch import Tensor, nn

from automl_plugins import Architecture, Task
from automl_plugins.supernets.gates import option_mask
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.supernets.supernet import Supernet


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


def step(module: nn.Module, inputs: tuple[Any, ...], **options: Any) -> Callable[[], None]:
    """A forward and a backward pass."""
    module.train()

    def run() -> None:
        module.zero_grad()
        module(*inputs, **options).square().mean().backward()

    return run


def uniform(space: SupernetSpace) -> dict[str, Tensor]:
    """Equal gates for all options."""
    mask = option_mask(space.gate_choices).float()
    rows = mask / mask.sum(dim=1, keepdim=True)
    return {choice.name: row[: len(choice.options)] for choice, row in zip(space.gate_choices, rows, strict=True)}


def compared(steps: Mapping[str, Callable[[], object]], runs: int, base: str) -> Table:
    """A table of the processor seconds and the peak memory of steps, beside those of one of them."""
    memory = {name: peak(each) for name, each in steps.items()}
    seconds = least(runs, **steps)
    table = Table("step", "CPU s", f"of {base}'s", "peak MiB", f"of {base}'s")
    for name in steps:
        ratios = seconds[name] / seconds[base], memory[name] / max(memory[base], 1.0)
        table.add_row(name, f"{seconds[name]:.3f}", f"{ratios[0]:.1f}", f"{memory[name]:.0f}", f"{ratios[1]:.1f}")
    return table


def paths_compared(
    space: SupernetSpace,
    supernet: Supernet,
    paths: Mapping[str, Architecture],
    task: Task,
    inputs: tuple[Any, ...],
    runs: int,
) -> Table:
    """A table of the processor seconds of single paths, beside those of the networks that are derived of them."""
    table = Table("single path", "supernet, CPU s", "derived network, CPU s", "ratio")
    for name, architecture in paths.items():
        network = space.inherited(supernet.train(), architecture, task)
        path = step(supernet, inputs, gates=space.gates(architecture))
        took = least(runs, path=path, network=step(network, inputs))
        table.add_row(name, f"{took['path']:.4f}", f"{took['network']:.4f}", f"{took['path'] / took['network']:.2f}")
    return table


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
