"""The cell: four nodes, each the sum of what its edges give, and an operation on each of the six edges."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import cast

from torch import Tensor, nn

from automl_plugins.spaces.choice import Choice
from automl_plugins.supernets.gates import Gates
from seg_space.auto_deeplab.operations import BatchNorm, sum_of

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""Source and target of each edge; those into a node come before those out of it."""
NAMES = tuple(f"edge{source}-{target}" for source, target in EDGES)
NONE, SKIP, POOL = "none", "skip", "avgpool"
KERNELS = {"conv1x1": 1, "conv3x3": 3}
OPERATIONS = (NONE, SKIP, *KERNELS, POOL)
"""In the order of the digits of the benchmark's tables."""


def choice_name(edge: str) -> str:
    """The name of an edge's choice."""
    return f"{edge}.operation"


def convolution(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Rectify, convolve, normalise; `[batch, channels, height, width]` in and out."""
    layer = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), layer, BatchNorm(out_channels))


def make_operation(operation: str, channels: int) -> nn.Module:
    """The module of one of `OPERATIONS` but `none`."""
    if operation in KERNELS:
        return convolution(channels, channels, KERNELS[operation])
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False) if operation == POOL else nn.Identity()


def live_edges(given: Collection[str]) -> tuple[str, ...]:
    """The names of those edges that a path from the cell's input to its output passes, in order.

    Args:
        given: the names of the edges with an operation other than `none`.
    """
    reached, read = {0}, {3}
    for name, (source, target) in zip(NAMES, EDGES, strict=True):
        if name in given and source in reached:
            reached.add(target)
    for name, (source, target) in reversed(list(zip(NAMES, EDGES, strict=True))):
        if name in given and target in read:
            read.add(source)
    ends = zip(NAMES, EDGES, strict=True)
    return tuple(name for name, (source, target) in ends if name in given and source in reached and target in read)


def run_cell(x: Tensor, live: Sequence[str], operate: Callable[[str, Tensor], Tensor]) -> Tensor:
    """The output of a cell: the state of its last node, zeros where no path leads there.

    Args:
        x: the cell's input, the state of its first node.
        live: see `live_edges`.
        operate: what an edge of this name makes of its source's state.
    """
    # A product and no fresh zeros: what comes before keeps its gradient, which is zero.
    states = {0: x}
    for name, (source, target) in zip(NAMES, EDGES, strict=True):
        if name in live:
            given = operate(name, states[source])
            states[target] = states[target] + given if target in states else given
    return states[3] if 3 in states else 0.0 * x


class Cell(nn.Module):
    """The cell of one architecture, `[batch, channels, height, width]` in and out.

    Args:
        operations: of the edges, by name.
        channels: of each node.
    """

    def __init__(self, operations: Mapping[str, str], channels: int) -> None:
        super().__init__()
        live = live_edges([name for name, operation in operations.items() if operation != NONE])
        self.operations = nn.ModuleDict({name: make_operation(operations[name], channels) for name in live})

    def forward(self, x: Tensor) -> Tensor:
        return run_cell(x, tuple(self.operations), lambda name, state: self.operations[name](state))


class MixedCell(nn.Module):
    """A cell with all operations, each times its gate; one whose gate is zero, or that no path passes, is not run.

    Args:
        choices: of the edges, by name.
        channels: of each node.
    """

    def __init__(self, choices: Mapping[str, Choice], channels: int) -> None:
        super().__init__()
        self.choices = dict(choices)
        self.operations = nn.ModuleDict(
            {
                name: nn.ModuleDict(
                    {str(option): make_operation(str(option), channels) for option in choice.options if option != NONE}
                )
                for name, choice in choices.items()
            }
        )

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        opened = {name: self._open(name, gates) for name in NAMES}
        live = live_edges([name for name, options in opened.items() if options])

        def operate(name: str, state: Tensor) -> Tensor:
            gate = gates[choice_name(name)]
            operations = cast(nn.ModuleDict, self.operations[name])
            parts = ((gate[place], operations[option](state)) for option, place in opened[name].items())
            return sum_of(weight * result for weight, result in parts)

        return run_cell(x, live, operate)

    def _open(self, name: str, gates: Gates) -> dict[str, int]:
        """The open operations of an edge but `none`, and their places in its gate."""
        options = self.choices[name].options
        return {str(options[place]): place for place in gates.open(choice_name(name)) if options[place] != NONE}
