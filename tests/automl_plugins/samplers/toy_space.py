from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import nn

from automl_plugins import Architecture, Choice, Operation, SearchSpace, Task
from automl_plugins.spaces.task import Level


class ToySpace(SearchSpace):
    """Three layers of an operation and a width, the third one only where the depth is 3; 1,456 architectures."""

    name: ClassVar[str] = "toy"
    version: ClassVar[int] = 1
    levels: ClassVar[frozenset[Level]] = frozenset()

    def __init__(self) -> None:
        layers = [
            choice
            for layer in range(3)
            for choice in (
                Choice(f"layer{layer}.operation", ("a", "b", "c", "d"), {"depth": (3,)} if layer == 2 else {}),
                Choice(f"layer{layer}.width", (1, 2), {"depth": (3,)} if layer == 2 else {}),
            )
        ]
        super().__init__([Choice("depth", (2, 3)), *layers])

    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        raise NotImplementedError

    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        operations = [Operation("input", "input")]
        for layer in range(architecture["depth"]):
            choices = (f"layer{layer}.operation", f"layer{layer}.width")
            operations.append(
                Operation(f"layer{layer}", str(architecture[choices[0]]), (operations[-1].name,), choices)
            )
        return [*operations, Operation("output", "output", (operations[-1].name,), ("depth",))]


def score(architecture: Architecture) -> float:
    """At most 3.6, for b, b, b of width 2; operations count most."""
    operations = sum(value == "b" for name, value in architecture.items() if name.endswith("operation"))
    return operations + sum(0.2 * (value == 2) for name, value in architecture.items() if name.endswith("width"))


def all_b(space: ToySpace, depth: int) -> Architecture:
    """The best architecture of a depth."""
    layers = {
        f"layer{layer}.{name}": value for layer in range(depth) for name, value in (("operation", "b"), ("width", 2))
    }
    return space.architecture({"depth": depth, **layers})
