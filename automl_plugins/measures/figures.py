"""The costs of an architecture's network, as a study measures them on a batch of its data."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from torch import nn

from automl_plugins.measures.energy import Meter, energy_meter, measure_energy
from automl_plugins.measures.latency import LatencyCache, measure_latency
from automl_plugins.measures.macs import macs
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.training.fit import seeded
from automl_plugins.training.project import Project
from automl_plugins.training.recording import Call, Repeated, UncalledError

FIGURES = ("num_parameters", "macs", "latency_ms", "energy_mj")
"""What can be measured: trainable parameters; of what one validation batch makes the network do, multiply-accumulates,
milliseconds, millijoules."""

_TRIES = 3
_DRAWS = 20


class Figures:
    """Measures the costs of architectures, on what the module calls its network with for the first validation batch.

    The calls are recorded once, with a random architecture, in a validation step that Lightning runs; see
    `record_calls`. Where a step calls its network several times, the costs are those of all calls together. The
    network alone is measured, in evaluation mode, without the module around it.

    Workers measure one at a time, but other workers go on with their trainings meanwhile: on a machine that they
    share, latencies and energies of a study with `workers` above 1 are those of a busy machine.

    Args:
        project: of the networks; it says where they are trained, which is where they are measured.
        names: which of `FIGURES`.
        folder: where latencies are kept.
    """

    def __init__(self, project: Project, names: Collection[str], folder: Path) -> None:
        self.project = project
        self.names = tuple(names)
        self.folder = Path(folder)
        self.latencies = LatencyCache(folder)

    def prepare(self) -> None:
        """Record the calls, and find the meter where energy is asked for.

        Raises:
            EnergyError: the machine does not tell what it uses.
            ValueError: the network cannot be measured; the message says why.
        """
        if "energy_mj" in self.names:
            _ = self._meter
        if set(self.names) - {"num_parameters"}:
            _ = self._calls

    def __call__(self, architecture: Architecture) -> dict[str, float]:
        """The figures of an architecture, by name.

        Raises:
            ValueError: one is not a finite number.
        """
        project = self.project

        def build() -> nn.Module:
            return project.space.network(architecture, project.task)

        def latency() -> float:
            return self.latencies(architecture, lambda: self._repeated(build), self._calls, project.device).milliseconds

        return self._all(build, lambda: project.space.num_parameters(architecture, project.task), latency)

    def of_network(self, build: Callable[[], nn.Module]) -> dict[str, float]:
        """The figures of a network that is no architecture, such as a hand-made one; measured anew each time.

        Args:
            build: makes the network.

        Raises:
            ValueError: one is not a finite number.
        """

        def num_parameters() -> int:
            return sum(each.numel() for each in build().parameters() if each.requires_grad)

        def latency() -> float:
            network = self._repeated(build)
            with self._alone():
                return measure_latency(network, self._calls).milliseconds

        return self._all(build, num_parameters, latency)

    def _all(
        self, build: Callable[[], nn.Module], num_parameters: Callable[[], int], latency: Callable[[], float]
    ) -> dict[str, float]:
        measures: dict[str, Callable[[], float]] = {
            "num_parameters": num_parameters,
            "macs": lambda: macs(self._repeated(build), self._calls),
            "latency_ms": latency,
            "energy_mj": lambda: self._energy(build),
        }
        measured = {name: measures[name]() for name in FIGURES if name in self.names}
        for name, value in measured.items():
            if not math.isfinite(value):
                raise ValueError(f"the cost {name} of a network is {value}, which is no number")
        return measured

    def _energy(self, build: Callable[[], nn.Module]) -> float:
        network = self._repeated(build)
        with self._alone():
            return measure_energy(network, self._calls, self._meter)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Measure while no other worker does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "measuring.lock"):
            yield

    def _repeated(self, build: Callable[[], nn.Module]) -> nn.Module:
        with seeded(0):
            network = build()
        dtype = next((call.weights for call in self._calls if call.weights is not None), None)
        return Repeated(network).to(self.project.device, dtype)

    @cached_property
    def _meter(self) -> Meter:
        return energy_meter(self.project.device)

    @cached_property
    def _calls(self) -> tuple[Call, ...]:
        generator = np.random.default_rng(0)
        for _ in range(_TRIES - 1):
            # One network may not fit the data, and then it is that trial's failure.
            with suppress(Exception):
                return self._record(generator)
        try:
            return self._record(generator)
        except Exception as error:
            raise ValueError(self._unmeasured(error)) from error

    def _record(self, generator: np.random.Generator) -> tuple[Call, ...]:
        architecture = self._drawn(generator)
        with seeded(0):
            # What a network is called with does not depend on its size, so it may be above the space's cap.
            return self.project.calls(self.project.space.build(architecture, self.project.task))

    def _drawn(self, generator: np.random.Generator) -> Architecture:
        """A random architecture; in a space with a cap, one that keeps it, or the smallest of some."""
        space = self.project.space
        if space.max_parameters is None:
            return space.sample(generator)
        smallest, least = space.sample(generator), math.inf
        for _ in range(_DRAWS):
            drawn = space.sample(generator)
            count = space.num_parameters(drawn, self.project.task)
            if count < least:
                smallest, least = drawn, count
            if least <= space.max_parameters:
                break
        return smallest

    def _unmeasured(self, error: Exception) -> str:
        wanted = ", ".join(name for name in self.names if name != "num_parameters")
        module = self.project.module
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        if isinstance(error, UncalledError):
            return f"{wanted} cannot be measured: {reason}"
        return (
            f"{wanted} cannot be measured: what the network is called with is recorded in a validation step of "
            f"{getattr(module, '__name__', module)}, which failed with {type(error).__name__}: {reason}"
        )

    def __getstate__(self) -> dict[str, Any]:
        # A worker records the calls for itself, on its own device.
        return {name: value for name, value in self.__dict__.items() if name != "_calls"}
