"""The shortest complete search space of one's own: a cell over feature vectors, with a supernet.

`examples/plain_loop.py` and `examples/rl_agent.py` search it. `automl_plugins.testing.SupernetContract`
proves it (`tests/examples/test_own_space.py`), and an entry point in your distribution's
`pyproject.toml` would make it known to the command line:

    [project.entry-points."automl_plugins.spaces"]
    vector-cell = "own_space:VectorCellSpace"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from automl_plugins import Architecture, Choice, Operation, Task
from automl_plugins.spaces.choice import Value
from automl_plugins.spaces.task import Level
from automl_plugins.supernets import Gates, Supernet, SupernetSpace


class Zero(nn.Module):
    """The operation `none`."""

    def forward(self, state: Tensor) -> Tensor:
        return torch.zeros_like(state)


OPERATIONS: Mapping[str, Callable[[int], nn.Module]] = {
    "relu": lambda channels: nn.Sequential(nn.Linear(channels, channels), nn.ReLU()),
    "tanh": lambda channels: nn.Sequential(nn.Linear(channels, channels), nn.Tanh()),
    "skip": lambda channels: nn.Identity(),
    "none": lambda channels: Zero(),
}
EDGES = {
    "input_to_first": ("input", "first"),
    "input_to_second": ("input", "second"),
    "first_to_second": ("first", "second"),
}


def cell(state: Tensor, edge: Callable[[str, Tensor], Tensor]) -> Tensor:
    """The sum of the input and of two nodes; `edge` computes the edge of a name."""
    first = edge("input_to_first", state)
    second = edge("input_to_second", state) + edge("first_to_second", first)
    return state + first + second


class VectorCell(nn.Module):
    """The network of an architecture: `[batch, in_channels]` -> `[batch, out_channels]`."""

    def __init__(self, task: Task, channels: int, operations: Mapping[str, str]) -> None:
        super().__init__()
        self.embed = nn.Linear(task.in_channels, channels)
        self.edges = nn.ModuleDict({edge: OPERATIONS[name](channels) for edge, name in operations.items()})
        self.head = nn.Linear(channels, task.out_channels)

    def forward(self, vectors: Tensor) -> Tensor:
        return self.head(cell(self.embed(vectors), lambda edge, state: self.edges[edge](state)))


class VectorCellSupernet(Supernet):
    """All networks at once: every edge has weights for each of its operations."""

    def __init__(self, task: Task, channels: int, choices: Sequence[Choice]) -> None:
        super().__init__()
        self.choices = choices
        self.embed = nn.Linear(task.in_channels, channels)
        self.edges = nn.ModuleDict(
            {edge: nn.ModuleList(make(channels) for make in OPERATIONS.values()) for edge in EDGES}
        )
        self.head = nn.Linear(channels, task.out_channels)

    def forward(self, vectors: Tensor, *, gates: Mapping[str, Tensor]) -> Tensor:
        gates = Gates.of(self.choices, gates)

        def edge(name: str, state: Tensor) -> Tensor:
            weights, operations = gates[f"{name}.operation"], self.edges[name]
            mixed = torch.zeros_like(state)
            for option in gates.open(f"{name}.operation"):  # a gate of zero: not run
                mixed = mixed + weights[option] * operations[option](state)
            return mixed

        return self.head(cell(self.embed(vectors), edge))

    def inherit(self, network: nn.Module, architecture: Architecture) -> None:
        network.embed.load_state_dict(self.embed.state_dict())
        network.head.load_state_dict(self.head.state_dict())
        for edge, operations in self.edges.items():
            used = operations[list(OPERATIONS).index(architecture[f"{edge}.operation"])]
            network.edges[edge].load_state_dict(used.state_dict())


class VectorCellSpace(SupernetSpace):
    """A cell of two nodes that are sums of operations on earlier states; 64 architectures."""

    name: ClassVar[str] = "vector-cell"
    version: ClassVar[int] = 1
    levels: ClassVar[frozenset[Level]] = frozenset(("node",))
    parameter_free: ClassVar[frozenset[Value]] = frozenset(("skip", "none"))

    def __init__(self, channels: int = 32, max_parameters: int | None = None) -> None:
        self.channels = channels
        super().__init__([Choice(f"{edge}.operation", tuple(OPERATIONS)) for edge in EDGES], max_parameters)

    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        return VectorCell(task, self.channels, {edge: architecture[f"{edge}.operation"] for edge in EDGES})

    def build_supernet(self, task: Task) -> Supernet:
        return VectorCellSupernet(task, self.channels, self.choices)

    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        listed = [Operation("input", "linear")]
        for node in ("first", "second"):
            edges = {edge: f"{edge}.operation" for edge, (_, target) in EDGES.items() if target == node}
            listed += [Operation(edge, architecture[name], EDGES[edge][:1], (name,)) for edge, name in edges.items()]
            listed.append(Operation(node, "sum", tuple(edges)))
        return [*listed, Operation("output", "sum, linear", ("input", "first", "second"))]
