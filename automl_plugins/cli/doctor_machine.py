"""This machine: its accelerator, threads, memory and disk, and what they mean for trainings."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from automl_plugins.cli.finding import Finding
from automl_plugins.system.machine import free_memory_bytes, memory_bytes

_GIB = 2**30
_LEAST_FREE = 1 * _GIB
"""Of memory and of disk, below which trainings are likely to fail: rule of thumb."""
_FOLDER = "AUTOML_PLUGINS_DATA"


def machine(folder: Path) -> Iterator[Finding]:
    """The means of trainings here.

    Args:
        folder: where runs are kept.
    """
    try:
        import torch
    except Exception as error:  # noqa: BLE001 - a broken installation raises whatever it likes, and is what is told
        yield Finding("BROKEN", "torch", f"it cannot be imported: {type(error).__name__}: {error}")
    else:
        yield from _accelerator(torch)
        yield _threads(torch.get_num_threads())
    yield _memory()
    yield from _disk(folder)
    data = os.environ.get(_FOLDER)
    if data:
        there = Path(data).is_dir()
        yield Finding("ok" if there else "mind", _FOLDER, data if there else f"{data} is no folder")


def _accelerator(torch: Any) -> Iterator[Finding]:
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            seen = torch.cuda.get_device_properties(number)
            told = f"{seen.total_memory / _GIB:.0f} GiB; trainings run there by themselves (trainer.accelerator: auto)"
            yield Finding("ok", f"GPU {number}: {seen.name}", told)
    elif torch.backends.mps.is_available():
        yield Finding("ok", "GPU: MPS", "trainings run there by themselves; it is not tested")
    elif Path("/proc/driver/nvidia/version").exists():
        built = torch.version.cuda
        cure = (
            "see whether nvidia-smi works" if built else "this torch is built for the CPU alone; install one with CUDA"
        )
        yield Finding("mind", "GPU", f"there is a driver of NVIDIA, and torch sees no GPU: {cure}")
    else:
        told = "trainings run on the CPU; with one they would run there, and rules give images 2,000 steps, not 500"
        yield Finding("-", "GPU", told)


def _threads(used: int) -> Finding:
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    told = f"torch takes {used} a process; workers of a study (--workers N) divide them"
    if used > there:
        told = f"torch takes {used} a process, more than there are: set OMP_NUM_THREADS={there}"
    return Finding("mind" if used > there else "ok", f"{there} processors", told)


def _memory() -> Finding:
    whole, free = memory_bytes(), free_memory_bytes()
    if whole is None or free is None:
        return Finding("mind", "memory", "the system does not say how much there is")
    return _enough("memory", free, whole, "trainings may be killed; end other programs, or take smaller batches")


def _disk(folder: Path) -> Iterator[Finding]:
    for name, path in (("disk of runs", folder.absolute()), ("disk of temporary files", Path(tempfile.gettempdir()))):
        usage = shutil.disk_usage(path)
        yield _enough(name, usage.free, usage.total, "results may be lost; make room", str(path))
    if not os.access(folder, os.W_OK):
        yield Finding("mind", "folder", f"{folder.absolute()} is not writable; give runs another --folder")


def _enough(what: str, free: int, whole: int, cure: str, place: str = "") -> Finding:
    told = f"{free / _GIB:.1f} GiB free of {whole / _GIB:.1f}{f', {place}' if place else ''}"
    return Finding("mind", what, f"{told}: {cure}") if free < _LEAST_FREE else Finding("ok", what, told)
