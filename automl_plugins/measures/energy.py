"""The figure `energy_mj`, where the machine can tell: from RAPL for a processor, from NVML for an NVIDIA GPU."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from automl_plugins.measures.latency import synchronise
from automl_plugins.measures.modes import evaluated

_RAPL = Path("/sys/class/powercap")
Meter = Callable[[], float]
"""Joules that a device has used since some moment."""


class EnergyError(RuntimeError):
    """The machine does not tell what a device uses."""


def energy_meter(device: torch.device, powercap: Path = _RAPL) -> Meter:
    """The meter of a device; of a processor, it counts all that runs on it.

    Args:
        device: a CPU or an NVIDIA GPU.
        powercap: where Linux shows RAPL's counters.

    Raises:
        EnergyError: the machine has no such meter, or it may not be read; the message says why.
    """
    if device.type == "cpu":
        return _rapl(powercap)
    if device.type == "cuda":
        return _nvml(device)
    raise EnergyError(f"energy is measured on CPUs (RAPL) and NVIDIA GPUs (NVML); the device is {device.type!r}")


def _rapl(powercap: Path) -> Meter:
    # One counter for each package; those below it are parts of it.
    counters = [path / "energy_uj" for path in sorted(powercap.glob("intel-rapl:*")) if path.name.count(":") == 1]
    if not counters:
        raise EnergyError(
            f"energy cannot be measured on this CPU: Linux shows no RAPL counters in {powercap} "
            "(virtual machines and containers have none); choose latency_ms or macs instead"
        )
    try:
        # A counter starts again from 0 at its range.
        ranges = [int((path.parent / "max_energy_range_uj").read_text()) for path in counters]
        last = [int(path.read_text()) for path in counters]
    except PermissionError as error:
        raise EnergyError(
            f"energy cannot be measured: {error.filename} may be read by root only; chmod a+r it"
        ) from error
    return _Rapl(counters, ranges, last)


class _Rapl:
    """A meter of RAPL's counters; a plain object, so that it goes along to a worker."""

    def __init__(self, counters: list[Path], ranges: list[int], last: list[int]) -> None:
        self.counters, self.ranges, self.last = counters, ranges, last
        self.total = 0

    def __call__(self) -> float:
        for place, path in enumerate(self.counters):
            now = int(path.read_text())
            self.total += (now - self.last[place]) % self.ranges[place]
            self.last[place] = now
        return self.total / 1e6


def _nvml(device: torch.device) -> Meter:
    try:
        pynvml = importlib.import_module("pynvml")
    except ImportError as error:
        raise EnergyError("energy of a GPU needs the package nvidia-ml-py: pip install nvidia-ml-py") from error
    # NVML counts all GPUs of the machine, torch those that this process may use.
    meter = _Nvml(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    try:
        meter()
    except pynvml.NVMLError as error:
        raise EnergyError(f"energy cannot be measured on this GPU: {error}") from error
    return meter


class _Nvml:
    """NVML's meter of the GPU of this name; a worker that it goes along to asks NVML for itself."""

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid
        self._handle: Any = None

    def __call__(self) -> float:
        pynvml = importlib.import_module("pynvml")
        if self._handle is None:
            pynvml.nvmlInit()
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(self.uuid)
        joules: float = pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) / 1e3
        return joules

    def __getstate__(self) -> dict[str, Any]:
        return {"uuid": self.uuid, "_handle": None}


def measure_energy(network: nn.Module, inputs: Sequence[Any], meter: Meter, seconds: float = 1.0) -> float:
    """Millijoules of one forward pass in evaluation mode: the mean over as many as fit into some seconds.

    The device's energy at rest is in it, and on a processor all that runs beside it. Meters are coarse (RAPL's moves
    every millisecond), hence the seconds.

    Args:
        network: on the device of the meter.
        inputs: the arguments of its `forward`, on the same device.
        meter: see `energy_meter`.
        seconds: of the measurement, above 0.

    Raises:
        ValueError: `seconds` is not above 0.
    """
    if not seconds > 0:
        raise ValueError(f"seconds is above 0; got {seconds}")
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    passes = 0
    with evaluated(network), torch.no_grad():
        network(*inputs)
        synchronise(device)
        began, before = time.perf_counter(), meter()
        while passes == 0 or time.perf_counter() - began < seconds:
            network(*inputs)
            synchronise(device)
            passes += 1
        return 1000 * (meter() - before) / passes
