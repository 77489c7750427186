"""A small space with choices that are not always there, and the score of its architectures: nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import nn

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice
from automl_plugins.spaces.operation import Operation
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Level, Task


class ToySpace(SearchSpace):
    """Layers of an operation and a width each, the last one only in the deeper half; 1,456 architectures.

    It has no networks: samplers and predictors are tried on `score`.

    Args:
        layers: the most that there are; the least is one less.
        operations: one letter for each.
    """

    name: ClassVar[str] = "toy"
    version: ClassVar[int] = 1
    levels: ClassVar[frozenset[Level]] = frozenset()

    def __init__(self, layers: int = 3, operations: str = "abcd") -> None:
        self.layers = layers
        choices = []
        for layer in range(layers):
            condition = {"depth": (layers,)} if layer == layers - 1 else {}
            choices.append(Choice(f"layer{layer}.operation", tuple(operations), condition))
            choices.append(Choice(f"layer{layer}.width", (1, 2), condition))
        super().__init__([Choice("depth", (layers - 1, layers)), *choices])

    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        """There are no networks.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError

    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        """A chain of layers."""
        operations = [Operation("input", "input")]
        for layer in range(sum(name.endswith(".width") for name in architecture)):
            choices = (f"layer{layer}.operation", f"layer{layer}.width")
            operations.append(
                Operation(f"layer{layer}", str(architecture[choices[0]]), (operations[-1].name,), choices)
            )
        return [*operations, Operation("output", "output", (operations[-1].name,), ("depth",))]


def score(architecture: Architecture) -> float:
    """One for each operation `b`, 0.2 for each width of 2: at most 3.6 for three layers."""
    operations = sum(value == "b" for name, value in architecture.items() if name.endswith("operation"))
    return operations + sum(0.2 * (value == 2) for name, value in architecture.items() if name.endswith("width"))


def all_b(space: ToySpace, depth: int) -> Architecture:
    """The best architecture of a depth."""
    layers = {
        f"layer{layer}.{name}": value for layer in range(depth) for name, value in (("operation", "b"), ("width", 2))
    }
    return space.architecture({"depth": depth, **layers})
