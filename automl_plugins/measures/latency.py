"""The figure `latency_ms`: measured latency, with the ground it was measured on."""

from __future__ import annotations

import hashlib
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from automl_plugins.measures.modes import evaluated
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.system.files import read_object, write_whole
from automl_plugins.system.nested import tensors_in
from automl_plugins.system.waiting import patient_lock
from automl_plugins.training.recording import describe_inputs


@dataclass(frozen=True)
class Latency:
    """The time of one forward pass.

    Args:
        milliseconds: the median.
        spread: the distance of the quartiles over the median; much above 0.1, something else was running.
        repeats: the number of passes that were timed.
        device: that it was measured on.
        versions: of the libraries, and how many threads there were.
        inputs: names, dtypes and shapes of the arguments.
    """

    milliseconds: float
    spread: float
    repeats: int
    device: str
    versions: str
    inputs: str


def measure_latency(network: nn.Module, inputs: Sequence[Any], warmup: int = 5, repeats: int = 20) -> Latency:
    """The median over several forward passes in evaluation mode, after a warm-up; the network is left as it was.

    Args:
        network: on the device to measure it on.
        inputs: the arguments of its `forward`, on the same device; of a graph network, the size of the graph settles
            all.
        warmup: passes that are not timed.
        repeats: passes that are.

    Raises:
        ValueError: fewer than two passes, or a negative warm-up.
    """
    if repeats < 2 or warmup < 0:
        raise ValueError(f"repeats is at least 2 and warmup at least 0; got {repeats} and {warmup}")
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    seconds = []
    with evaluated(network), torch.no_grad():
        for number in range(warmup + repeats):
            synchronise(device)
            began = time.perf_counter()
            network(*inputs)
            synchronise(device)
            if number >= warmup:
                seconds.append(time.perf_counter() - began)
    median = statistics.median(seconds)
    first, _, third = statistics.quantiles(seconds, n=4)
    return Latency(
        milliseconds=1000 * median,
        spread=(third - first) / median,
        repeats=repeats,
        device=device_name(device),
        versions=f"torch {torch.__version__}, {torch.get_num_threads()} threads",
        inputs=_shortened(describe_inputs(inputs)),
    )


class LatencyCache:
    """Measures each architecture once for each device, version and inputs, one measurement at a time.

    Processes that share the folder measure one at a time. Nothing else that runs on the machine waits for them, the
    trainings of other workers neither: `Latency.spread` tells of a busy machine. Measurements are kept as JSON,
    with what it was measured on.

    Args:
        folder: where measurements are kept; made where it is missing.
        warmup: see `measure_latency`.
        repeats: see `measure_latency`.
    """

    def __init__(self, folder: Path, warmup: int = 5, repeats: int = 20) -> None:
        self.folder = Path(folder)
        self.warmup = warmup
        self.repeats = repeats

    def __call__(
        self,
        architecture: Architecture,
        build: Callable[[], nn.Module],
        inputs: Sequence[Any],
        device: torch.device | None = None,
    ) -> Latency:
        """The latency of an architecture, measured now or before.

        Args:
            architecture: to measure.
            build: makes its network; called where there is no measurement yet.
            inputs: see `measure_latency`; tensors may lie anywhere inside of them.
            device: where to measure; where left out, where the first tensor of the inputs is.
        """
        if device is None:
            device = next((tensor.device for tensor in tensors_in(inputs)), torch.device("cpu"))
        about = [
            json.loads(architecture.to_json()),
            device_name(device),
            torch.__version__,
            torch.get_num_threads(),
            describe_inputs(inputs),
        ]
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
        path = self.folder / f"{digest[:32]}.json"
        with patient_lock(self.folder / "measuring.lock", "measures a latency"):
            content = read_object(path)
            if content is None:
                network = build().to(device)
                latency = measure_latency(network, inputs, self.warmup, self.repeats)
                content = {**asdict(latency), "architecture": about[0]}
                write_whole(path, json.dumps(content, indent=2))
        return Latency(**{name: value for name, value in content.items() if name != "architecture"})


def device_name(device: torch.device) -> str:
    """The maker's name of a device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _processor() if device.type == "cpu" else f"{device.type} of {platform.node()}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def synchronise(device: torch.device) -> None:
    """Wait until a device has done what it was asked for."""
    if device.type not in ("cpu", "meta"):
        torch.accelerator.synchronize(device)


def _shortened(text: str, most: int = 1000) -> str:
    return text if len(text) <= most else f"{text[:most]}, ..."
