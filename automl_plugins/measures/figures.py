"""The costs of an architecture's network, as a study measures them on a batch of its data."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock
from torch import nn

from automl_plugins.measures.energy import Meter, energy_meter, measure_energy
from automl_plugins.measures.latency import LatencyCache, measure_latency
from automl_plugins.measures.macs import activations, macs
from automl_plugins.measures.memory import memory_mib
from automl_plugins.measures.params import params
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.system.nearest import did_you_mean
from automl_plugins.training.fit import seeded
from automl_plugins.training.project import Project
from automl_plugins.training.recording import Call, Repeated

FIGURES = ("params", "macs", "activations", "latency_ms", "energy_mj", "memory_mib")
"""The costs by name: trainable parameters; and of the network's calls in one validation batch, multiply-accumulates,
elements of the tensors that operations make, milliseconds, millijoules, and the MiB that inference takes."""
_FORMER = {"num_parameters": "params", "peak_memory_mib": "memory_mib"}


def check_figure(key: str, name: str) -> None:
    """Check the name of a figure.

    Args:
        key: the setting that has it, for the message.
        name: one of `FIGURES`.

    Raises:
        ValueError: there is none of that name; the message has the nearest, or the new name of one that was renamed.
    """
    if name in _FORMER:
        raise ValueError(f"{key}: the figure {name!r} is called {_FORMER[name]!r} now")
    if name not in FIGURES:
        raise ValueError(f"{key}: there is no figure {name!r}; {did_you_mean(name, FIGURES)}")


class Figures:
    """Measures the costs of architectures, on what the module calls its network with for the first validation batch.

    The calls are recorded once, with a random architecture, in a validation step that Lightning runs; see
    `Project.example_calls`. If a step calls its network several times, the costs are those of all calls together. The
    network alone is measured, in evaluation mode, without the module around it.

    Workers measure one at a time, but other workers go on with their trainings meanwhile: on a machine that they
    share, latencies and energies of a study with `workers` above 1 are those of a busy machine.

    Args:
        project: of the networks; it says where they are trained, which is where they are measured.
        names: some of `FIGURES`.
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
        if set(self.names) - {"params"}:
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

        def latency() -> float:
            network = self._repeated(build)
            with self._alone():
                return measure_latency(network, self._calls).milliseconds

        return self._all(build, lambda: params(build()), latency)

    def _all(
        self, build: Callable[[], nn.Module], count: Callable[[], int], latency: Callable[[], float]
    ) -> dict[str, float]:
        measures: dict[str, Callable[[], float]] = {
            "params": count,
            "macs": lambda: macs(self._repeated(build), self._calls),
            "activations": lambda: activations(self._repeated(build), self._calls),
            "latency_ms": latency,
            "energy_mj": lambda: self._energy(build),
            "memory_mib": lambda: memory_mib(self._repeated(build), self._calls),
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
        try:
            return self.project.example_calls
        except ValueError as error:
            wanted = ", ".join(name for name in self.names if name != "params")
            raise ValueError(f"{wanted} cannot be measured: {error}") from error

    def __getstate__(self) -> dict[str, Any]:
        # A worker records the calls for itself, on its own device.
        return {name: value for name, value in self.__dict__.items() if name != "_calls"}
