"""Energy of a forward pass, where the machine can tell: from RAPL for a processor, from NVML for an NVIDIA GPU."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from automl_plugins.objectives.costs import evaluated

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
    total = 0

    def read() -> float:
        nonlocal total
        for place, path in enumerate(counters):
            now = int(path.read_text())
            total += (now - last[place]) % ranges[place]
            last[place] = now
        return total / 1e6

    return read


def _nvml(device: torch.device) -> Meter:
    try:
        pynvml = importlib.import_module("pynvml")
    except ImportError as error:
        raise EnergyError("energy of a GPU needs the package nvidia-ml-py") from error
    try:
        pynvml.nvmlInit()
        # NVML counts all GPUs of the machine, torch those that this process may use.
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError as error:
        raise EnergyError(f"energy cannot be measured on this GPU: {error}") from error
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3


def measure_energy(network: nn.Module, inputs: Sequence[Any], meter: Meter, seconds: float = 1.0) -> float:
    """Millijoules of one forward pass in evaluation mode: the mean over as many as fit into some seconds.

    What the device uses at rest is in it. Meters are coarse (RAPL's moves every millisecond), hence the seconds.

    Args:
        network: on the device of the meter.
        inputs: the arguments of its `forward`, on the same device.
        meter: see `energy_meter`.
        seconds: how long to measure, above 0.

    Raises:
        ValueError: `seconds` is not above 0.
    """
    if not seconds > 0:
        raise ValueError(f"seconds is above 0; got {seconds}")
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    passes = 0
    with evaluated(network), torch.no_grad():
        network(*inputs)
        _wait(device)
        began, before = time.perf_counter(), meter()
        while passes == 0 or time.perf_counter() - began < seconds:
            network(*inputs)
            _wait(device)
            passes += 1
        return 1000 * (meter() - before) / passes


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
