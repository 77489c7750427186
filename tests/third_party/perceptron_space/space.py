"""The space: up to two hidden layers, the second one's width a choice only where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import nn

from automl_plugins import Architecture, Choice, Operation, Task
from automl_plugins.spaces.task import Level
from automl_plugins.supernets.space import SupernetSpace
from perceptron_space.supernet import PerceptronSupernet

_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


class PerceptronSpace(SupernetSpace):
    """Perceptrons of 1x1 convolutions.

    Args:
        widest: the largest width of a hidden layer, in channels.
        max_parameters: see `SearchSpace`.
    """

    name: ClassVar[str] = "perceptron"
    version: ClassVar[int] = 1
    levels: ClassVar[frozenset[Level]] = frozenset(("pixel",))

    def __init__(self, widest: int = 16, max_parameters: int | None = None) -> None:
        widths = tuple(width for width in (2, 4, 8, 16, 32, 64) if width <= widest)
        choices = (
            Choice("depth", (1, 2)),
            Choice("layer0.width", widths),
            Choice("layer1.width", widths, {"depth": (2,)}),
            Choice("activation", tuple(_ACTIVATIONS)),
        )
        super().__init__(choices, max_parameters)

    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        layers: list[nn.Module] = []
        channels = task.in_channels
        for layer in range(architecture["depth"]):
            width = architecture[f"layer{layer}.width"]
            layers += nn.Conv2d(channels, width, 1), _ACTIVATIONS[architecture["activation"]]()
            channels = width
        return nn.Sequential(*layers, nn.Conv2d(channels, task.out_channels, 1))

    def build_supernet(self, task: Task) -> PerceptronSupernet:
        return PerceptronSupernet(task, self.choices, _ACTIVATIONS)

    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        operations = [Operation("input", "input")]
        for layer in range(architecture["depth"]):
            width = f"layer{layer}.width"
            label = f"{architecture[width]} channels, {architecture['activation']}"
            operations.append(Operation(f"layer{layer}", label, (operations[-1].name,), (width, "activation")))
        return [*operations, Operation("output", "output", (operations[-1].name,), ("depth",))]
