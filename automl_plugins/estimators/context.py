"""The context of estimates: what all candidates of one study are judged on."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.probe import Inputs, Probe, probe_of
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Task
from automl_plugins.system.randomness import seed_from, seeded_aside

Candidate = Architecture | nn.Module
"""An architecture of a space, or any network for its task."""

_EXAMPLES = 16


@dataclass(frozen=True)
class Context:
    """What candidates are judged on; equal for all candidates of a study, so that their scores compare.

    With a space and a task alone, inputs are made up by the probe of the task's level, which needs no data.

    Args:
        space: of the candidates that are architectures.
        task: what networks must fit.
        seed: of initial weights, and of whatever an estimator draws.
        device: where networks are run.
        example: the arguments of a network's `forward`, in order; the probe makes some up where left out.
    """

    space: SearchSpace
    task: Task
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    example: Inputs | None = None

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
        """The arguments of a network's `forward`, in order, on the device; not to be changed."""
        example = self.example
        if example is None:
            example = self.probe.example(_EXAMPLES, self.generator(0))
        return tuple(each.to(self.device) if isinstance(each, Tensor) else each for each in example)

    @cached_property
    def probe(self) -> Probe:
        """What there is to know of the task's level.

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
