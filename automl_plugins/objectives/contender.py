"""Contenders of a final comparison, and what their trainings and tests came to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.hand_made import Reference, hand_made
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Task
from automl_plugins.training.ensemble import Ensemble


@dataclass(frozen=True)
class Contender:
    """A network to train over seeds: an architecture of the space, a hand-made reference, or an ensemble of such.

    Args:
        label: what the tables call it.
        architecture: what was found; None for a reference.
        reference: the registered name, or the import path; None for an architecture.
        found_by: who found it, for people: `search`, `random search` or `hand`; of an ensemble, `ensemble`.
        make: makes a reference's network, where it was given as it is, and is not found by its name.
        settings: arguments of the module and the data that it is trained with in place of the project's, by name, such
            as `module.learning_rate`: the same network with other settings is another contender.
        members: of an ensemble, which is neither architecture nor reference.
    """

    label: str
    architecture: Architecture | None = None
    reference: str | None = None
    found_by: str = "search"
    make: Reference | None = field(default=None, compare=False)
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    members: tuple[Contender, ...] = ()

    @property
    def key(self) -> str:
        """A folder name; equal networks with equal settings share one, and so their trainings."""
        if self.members:
            return f"ensemble-{_digest([member.key for member in self.members])}"
        network = f"reference-{self.reference}"
        if self.architecture is not None:
            network = f"architecture-{_digest(sorted(self.architecture.items()))}"
        return f"{network}-{_digest(sorted(self.settings.items()))}" if self.settings else network

    def network(self, space: SearchSpace, task: Task, data: Any = None) -> nn.Module:
        """The network, freshly initialised.

        Args:
            space: of the architecture.
            task: what the network must fit.
            data: the datamodule, which has been set up; None: there is none.

        Raises:
            ValueError: it does not fit the task.
        """
        if self.members:
            return Ensemble([member.network(space, task, data) for member in self.members], task.target)
        if self.architecture is not None:
            return space.network(self.architecture, task)
        return hand_made(self.make or str(self.reference), task, space, data)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Trained:
    """One training of a contender.

    Args:
        score: the validation score; None where the training failed or diverged.
        best_epoch: the epoch of that score, from 0; -1: none.
        steps: optimizer steps taken.
        seconds: wall time.
        cpu_seconds: processor time.
        params: trainable parameters of the network; None where it could not be built.
        failure: "" or what went wrong: `diverged: ...`, `failed: RuntimeError: ...`.
        traceback: of the error that it failed with.
        note: "" or what went wrong beside it and costs nothing of the result.
        settled: whether it would fail again: it diverged, or has killed its process too often.
    """

    score: float | None
    best_epoch: int
    steps: int
    seconds: float
    cpu_seconds: float
    params: int | None
    failure: str = ""
    traceback: str = ""
    note: str = ""
    settled: bool = False


@dataclass(frozen=True)
class Tested:
    """One test of a trained contender.

    Args:
        metrics: by name; None where one is undefined (nan or infinite).
        failure: "" or what went wrong.
        settled: whether it would fail again.
    """

    metrics: Mapping[str, float | None]
    failure: str = ""
    settled: bool = False
