"""The context of estimates: the ground that all candidates of one study are judged on."""

from __future__ import annotations

import copy
import inspect
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.probe import Inputs, Probe, probe_of
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Task
from automl_plugins.system.randomness import seed_from, seeded_aside
from automl_plugins.training.project import Project

Candidate = Architecture | nn.Module
"""An architecture of a space, or any network for its task."""

_EXAMPLES = 16
_LABELS = 1
"""The purpose of the generator of labels."""


@dataclass(frozen=True)
class Context:
    """The ground that candidates are judged on, equal for all candidates of a study, so that their scores compare.

    With a space and a task alone, inputs are made up by the probe of the task's level, which needs no data. Those of a
    project (`Context.of`) are what its module calls a network with for the first validation batch.

    ```python
    context = Context.of(Project(AGNNSpace(layers=2), PlanetoidData("cora")))
    estimates = make_estimator("training", context.space).estimate_all(architectures, context)
    best = architectures[rank(estimates)[0]]
    ```

    Args:
        space: of the candidates that are architectures.
        task: that networks must fit.
        seed: of initial weights, and of whatever an estimator draws.
        device: where networks are run.
        example: the arguments of a network's `forward`, in order; those of the project, or else made up by the probe,
            where left out.
        project: for estimators that train candidates.
    """

    space: SearchSpace
    task: Task
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    example: Inputs | None = None
    project: Project | None = None

    @classmethod
    def of(cls, project: Project) -> Context:
        """The context of a project: its space, task, seed, device and data."""
        return cls(project.space, project.task, project.seed, project.device, project=project)

    @property
    def training(self) -> Project:
        """The project.

        Raises:
            ValueError: the context was made without one.
        """
        if self.project is None:
            raise ValueError("this estimator trains, so it needs a project: Context.of(Project(space, data))")
        return self.project

    def network(self, candidate: Candidate) -> nn.Module:
        """A network of the estimator's own, on the device: a fresh one of an architecture, or a copy of a module.

        Initial weights are settled by the context's seed.

        Raises:
            ValueError: the architecture is not of the space, or the space has no networks for the task.
            ParameterCapError: it has more parameters than the space allows.
        """
        if not isinstance(candidate, Architecture):
            return copy.deepcopy(candidate).to(self.device)
        with self.seeded():
            return self.space.network(candidate, self.task).to(self.device)

    @cached_property
    def inputs(self) -> Inputs:
        """The arguments of a network's `forward`, in order, on the device; not to be changed.

        Raises:
            ValueError: the project's module does not call its network; the message says why.
        """
        example = self.example
        if example is None:
            example = self._made_up() if self.project is None else _arguments(self.project)
        return tuple(self._placed(argument) for argument in example)

    def _made_up(self, draw: int = 0) -> Inputs:
        return self.probe.example(_EXAMPLES, self.generator(draw))

    def labelled(self, draw: int = 0) -> tuple[Inputs, Tensor]:
        """Inputs with random labels, for estimators that ask for gradients of the loss, on the device.

        Args:
            draw: its number; each draw has labels of its own. Made-up inputs differ too; those of data are `inputs`.
        """
        is_made_up = self.example is None and self.project is None
        inputs = self.inputs
        if is_made_up and draw > 0:
            inputs = tuple(self._placed(argument) for argument in self._made_up(draw))
        return inputs, self.probe.labels(inputs, self.generator(_LABELS, draw)).to(self.device)

    def random_loss(self, network: nn.Module, draw: int = 0) -> Tensor:
        """The mean loss of a network on a draw of `labelled`."""
        inputs, labels = self.labelled(draw)
        return self.loss(network(*inputs), labels)

    def _placed(self, argument: Any) -> Any:
        if not isinstance(argument, Tensor):
            return argument
        # A training in another precision records inputs of that; networks here have the default one.
        dtype = torch.get_default_dtype() if argument.is_floating_point() else argument.dtype
        return argument.to(self.device, dtype)

    @cached_property
    def probe(self) -> Probe:
        """The probe of the task's level.

        Raises:
            ValueError: no probe is registered for it.
        """
        return probe_of(self.task)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a network's outputs: cross entropy for classes and labels, the squared error for numbers.

        Args:
            outputs: `[num_units, out_channels, ...]`.
            targets: as `Probe.labels` makes them.
        """
        if self.task.target == "classes":
            return functional.cross_entropy(outputs, targets)
        if self.task.target == "regression":
            return functional.mse_loss(outputs, targets)
        return functional.binary_cross_entropy_with_logits(outputs, targets)

    def seeded(self, *purpose: int) -> AbstractContextManager[None]:
        """All global random generators under the context's seed, for the length of a block; they get back their states.

        Args:
            purpose: numbers that tell this use of the seed from others.
        """
        return seeded_aside(seed_from(self.seed, *purpose), self.device)

    def generator(self, *purpose: int) -> torch.Generator:
        """A generator on the CPU, settled by the context's seed.

        Args:
            purpose: see `seeded`.
        """
        return torch.Generator().manual_seed(seed_from(self.seed, *purpose))


def _arguments(project: Project) -> Inputs:
    """The arguments of the first call, those by name in their places."""
    call = project.example_calls[0]
    if not call.kwargs:
        return call.args
    with torch.device("meta"):
        network = project.space.build(project.space.sample(np.random.default_rng(0)), project.task)
    bound = inspect.signature(network.forward).bind(*call.args, **call.kwargs)
    bound.apply_defaults()
    return bound.args
