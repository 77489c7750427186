"""The probe of a level: the knowledge of nodes, graphs or pixels that estimators and synthetic tasks need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from automl_plugins import registry
from automl_plugins.spaces.task import Task

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Inputs = tuple[Any, ...]
"""The arguments of the `forward` of a network of some level, in order."""


class Probe(Protocol):
    """The structure of a level's inputs, outputs and batches, so that the core needs to know none.

    Sample units are what a prediction belongs to: nodes, edges, graphs, images. A probe is made of a task; it is found
    by the task's level in the group `automl_plugins.probes`, see `probe_of`. All randomness is the generator's.
    """

    def __init__(self, task: Task) -> None: ...

    def example(self, count: int, generator: torch.Generator) -> Inputs:
        """Made-up inputs of a network for the task, on the CPU: features are drawn from N(0, 1).

        Args:
            count: the number of graphs or images.
            generator: of all draws.
        """

    def positive(self, inputs: Inputs) -> Inputs:
        """Inputs like these whose real-valued features are all 1; categories stay as they are.

        Sums are means in them: where they have a structure, each node keeps one of its neighbours, so that no flow
        through a network grows with a degree.
        """

    def units(self, features: Tensor, inputs: Inputs) -> Tensor | None:
        """Features inside of a network as one row for each sample unit.

        Args:
            features: the output of some layer, of whatever shape.
            inputs: of the network.

        Returns:
            `[num_units, num_features]`; None where they are features of something else.
        """

    def positions(self, features: Tensor, inputs: Inputs) -> Tensor | None:
        """Features inside of a network as one row for each position: a node, or a place of a grid on each image.

        Args:
            features: see `units`.
            inputs: see `units`.

        Returns:
            `[num_positions, num_features]`, as many rows for features of any resolution; None where they are features
            of something else.
        """

    def labels(self, inputs: Inputs, generator: torch.Generator) -> Tensor:
        """Random targets, of shape and dtype as `Context.loss` takes them."""

    def signals(self, inputs: Inputs, channels: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Synthetic targets for a regression: smooth and rough functions over the inputs' structure, by kind.

        Returns:
            kind -> of the shape of the network's outputs with `channels` channels; each channel has mean 0 and
            deviation 1, or is 0 where the inputs leave nothing to tell apart.
        """

    def targets(self, batch: Any) -> Tensor:
        """The targets of a training batch.

        Raises:
            ValueError: it has none that are known; the message says what it has.
        """

    def relabelled(self, batch: Any, seed: int, scale: tuple[float, float] = (0.0, 1.0)) -> Any:
        """A training batch with random targets in place of its own, which stays as it is.

        A sample has the same ones in whatever batch it comes: they are a function of what it holds and of the seed.
        One that is augmented anew is another sample.

        Args:
            batch: on any device.
            seed: of the targets.
            scale: mean and deviation of real-valued ones.

        Raises:
            ValueError: see `targets`.
        """

    def size(self, batch: Any) -> int:
        """The number that a training step's memory grows with, such as nodes and edges, or pixels; 0: unknown."""

    def piece(self, batch: Any, share: float, least: int) -> Any:
        """About a share of a batch.

        Args:
            batch: as a loader gives it.
            share: of its `size`, between 0 and 1.
            least: a multiple of the least that can be trained on, which is in it at least.
        """

    def smaller(self, batch: Any, share: float) -> Sequence[str]:
        """Ways to have a share of a batch, in words, such as "a batch of 4 instead of 8"."""


def probe_of(task: Task) -> Probe:
    """The probe of a task's level.

    Raises:
        ValueError: no probe is registered for the level.
    """
    probe: Probe = registry.load("probes", task.level)(task)
    return probe
