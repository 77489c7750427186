"""Limits of parameters, multiply-accumulates and activations, and the part of them that architectures take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeVar

from automl_plugins.errors import LimitError, ParameterCapError
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.task import Task
from automl_plugins.system.to_be_loaded import to_be_loaded

if TYPE_CHECKING:
    from torch import nn

COUNTED = ("params", "macs", "activations")
"""The figures that are counted before a training: trainable parameters, and of one forward pass in evaluation mode the
multiply-accumulates and the elements of all tensors that its operations make (`automl_plugins.spaces.work`)."""
_WORDS = {"params": "parameters", "macs": "multiply-accumulates", "activations": "activations"}
_MOST_COUNTS = 20_000
_UNCOUNTED = 1e6
"""The excess of a network with too many parameters, beside theirs: no forward pass of it is counted."""

Run = Callable[["nn.Module"], object]
"""Calls a network once on example inputs, such as `lambda network: network(*inputs)`."""
_Kept = TypeVar("_Kept")


class Counted(Protocol):
    """The members of a `SearchSpace` that costs are counted with."""

    name: ClassVar[str]
    max_parameters: int | None

    @property
    def reference_arguments(self) -> Mapping[str, Any]: ...
    def build(self, architecture: Architecture, task: Task) -> nn.Module: ...
    def num_parameters(self, architecture: Architecture, task: Task) -> int: ...
    def references(self, task: Task) -> dict[str, Architecture]: ...


class Load(NamedTuple):
    """The part of limits that an architecture takes; smaller is better.

    Args:
        excess: by which it is beyond them, relative to each and summed; 0: it keeps all.
        size: the part that it takes of each limit, summed.
    """

    excess: float
    size: float


class Budget:
    """The most that networks of a space may cost for a task; what was counted is remembered.

    A network with too many parameters is not run: its other figures are not counted. One whose forward pass fails on
    the example inputs is taken to keep the limits of it, so that its trial tells what is wrong with it.

    Args:
        space: of the architectures.
        task: what their networks must fit.
        limits: the most of each figure, by its name in `COUNTED`; see `limits.budget_of`.
        run: calls a network on example inputs; not asked where parameters alone are limited.
        given: the words for what a limit was given by, by its name: `limits.NAME` where left out.
    """

    def __init__(
        self, space: Counted, task: Task, limits: Mapping[str, float], run: Run, given: Mapping[str, str] | None = None
    ) -> None:
        self.space, self.task, self.limits, self.run = space, task, dict(limits), run
        self._given = {name: f"limits.{name}" for name in limits} | dict(given or {})
        self.failure: Exception | None = None
        """The error of the last forward pass that failed."""
        self._params: dict[Architecture, int] = {}
        self._figures: dict[Architecture, Mapping[str, float]] = {}

    def count(self, architecture: Architecture) -> int:
        """The trainable parameters of an architecture's network."""
        return _remembered(self._params, architecture, lambda: self.space.num_parameters(architecture, self.task))

    def figures(self, architecture: Architecture) -> Mapping[str, float]:
        """The figures of an architecture that are limited, as far as they are counted."""
        return _remembered(self._figures, architecture, lambda: self._counted(architecture))

    def _counted(self, architecture: Architecture) -> Mapping[str, float]:
        found: dict[str, float] = {}
        if "params" in self.limits:
            found["params"] = self.count(architecture)
            if found["params"] > self.limits["params"]:
                return found
        if self.limits.keys() - {"params"}:
            try:
                found.update(work_of(partial(self.space.build, architecture, self.task), self.run))
            except Exception as error:  # noqa: BLE001 - whatever a network says of inputs that do not fit it
                self.failure = error
        return {name: found[name] for name in self.limits if name in found}

    def broken(self, architecture: Architecture) -> dict[str, float]:
        """The limits that an architecture breaks, and by which part of each."""
        figures = self.figures(architecture)
        return {name: value / self.limits[name] - 1 for name, value in figures.items() if value > self.limits[name]}

    def admits(self, architecture: Architecture) -> bool:
        """True where an architecture breaks no limit."""
        return not (self.limits and self.broken(architecture))

    def load(self, architecture: Architecture) -> Load:
        """The part of the limits that an architecture takes."""
        figures, broken = self.figures(architecture), self.broken(architecture)
        uncounted = _UNCOUNTED if broken and len(figures) < len(self.limits) else 0.0
        size = sum(value / self.limits[name] for name, value in figures.items())
        return Load(sum(broken.values()) + uncounted, size)

    def refusal(self, architecture: Architecture) -> str | None:
        """The reason why an architecture is beyond the limits, in words; None: it is not."""
        figures = self.figures(architecture)
        told = [
            f"{figures[name]:,.0f} {_WORDS[name]}; {self._given[name]} is {self.limits[name]:,.0f}"
            for name in self.broken(architecture)
        ]
        return "; ".join(told) or None

    def admits_nothing(self, smallest: Architecture, kept: str = "") -> LimitError:
        """The error where no network within the limits was found.

        Args:
            smallest: the one that was found to exceed them least.
            kept: beside what it was looked for, in words.
        """
        broken, figures = self.broken(smallest) or self.limits, self.figures(smallest)
        limits = " and ".join(f"{self._given[name]}={self.limits[name]:,.0f}" for name in broken)
        has = " and ".join(f"{figures[name]:,.0f} {_WORDS[name]}" for name in broken if name in figures)
        kind = ParameterCapError if "params" in broken else LimitError
        return kind(
            f"{limits} admits no network of the space {smallest.space!r} for this task: the smallest one that was "
            f"found{kept} has {has}; allow as many, or make the space narrower"
        )


def work_of(build: Callable[[], nn.Module], run: Run) -> Mapping[str, int]:
    """The figures `macs` and `activations` of a network; torch's global generator is left as it was.

    Args:
        build: makes the network.
        run: calls it on example inputs.
    """
    import torch

    from automl_plugins.spaces.work import count_work

    # Weights do not count here, so pretrained ones are not read for it.
    with torch.random.fork_rng(devices=[]), to_be_loaded():
        return count_work(build(), run)


def _remembered(known: dict[Architecture, _Kept], architecture: Architecture, count: Callable[[], _Kept]) -> _Kept:
    if architecture not in known:
        if len(known) >= _MOST_COUNTS:
            known.clear()
        known[architecture] = count()
    return known[architecture]
