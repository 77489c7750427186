"""Chains of convolutions over images, each layer with an operation of its own."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from automl_plugins import Architecture, Choice, Operation, Task
from automl_plugins.supernets import Gates, Supernet, SupernetSpace

OPERATIONS = {
    "conv_1x1": lambda channels: nn.Conv2d(channels, channels, 1),
    "conv_3x3": lambda channels: nn.Conv2d(channels, channels, 3, padding=1),
    "skip": lambda channels: nn.Identity(),
}


class ConvChainSupernet(Supernet):
    """All chains at once: `[batch, in_channels, height, width]` -> `[batch, out_channels, height, width]`."""

    def __init__(self, task: Task, channels: int, choices: Sequence[Choice]) -> None:
        super().__init__()
        self.choices = choices
        self.stem = nn.Conv2d(task.in_channels, channels, 1)
        self.layers = nn.ModuleList(nn.ModuleList(make(channels) for make in OPERATIONS.values()) for _ in choices)
        self.head = nn.Conv2d(channels, task.out_channels, 1)

    def forward(self, images: Tensor, *, gates: Mapping[str, Tensor]) -> Tensor:
        gates = Gates.of(self.choices, gates)
        state = self.stem(images)
        for choice, layer in zip(self.choices, self.layers, strict=True):
            mixed = torch.zeros_like(state)
            for option in gates.open(choice.name):  # a gate of zero is not run
                mixed = mixed + gates[choice.name][option] * layer[option](state)
            state = torch.relu(mixed)
        return self.head(state)

    def inherit(self, network: nn.Module, architecture: Architecture) -> None:
        layers = zip(self.choices, self.layers, strict=True)
        used = [operations[choice.index(architecture[choice.name])] for choice, operations in layers]
        ours = [self.stem, *used, self.head]
        theirs = [module for module in network if not isinstance(module, nn.ReLU)]
        for module, other in zip(ours, theirs, strict=True):
            other.load_state_dict(module.state_dict())


class ConvChainSpace(SupernetSpace):
    """Chains of so many layers, so many channels wide."""

    name, version, levels = "conv-chain", 1, frozenset({"pixel"})
    parameter_free = frozenset({"skip"})

    def __init__(self, layers: int = 3, channels: int = 8, max_parameters: int | None = None) -> None:
        self.layers, self.channels = layers, channels
        super().__init__([Choice(f"layer{i}", tuple(OPERATIONS)) for i in range(layers)], max_parameters)

    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        layers = [module for name in architecture.values() for module in (OPERATIONS[name](self.channels), nn.ReLU())]
        stem, head = nn.Conv2d(task.in_channels, self.channels, 1), nn.Conv2d(self.channels, task.out_channels, 1)
        return nn.Sequential(stem, *layers, head)

    def build_supernet(self, task: Task) -> Supernet:
        return ConvChainSupernet(task, self.channels, self.choices)

    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        steps = [Operation("stem", "conv 1x1")]
        for name, label in architecture.items():
            steps.append(Operation(name, f"{label}, relu", (steps[-1].name,), (name,)))
        return [*steps, Operation("head", "conv 1x1", (steps[-1].name,))]
