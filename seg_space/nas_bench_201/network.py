"""The network of one cell, and the supernet of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice
from automl_plugins.spaces.task import Task
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.supernet import Supernet
from seg_space.nas_bench_201.cell import NAMES, Cell, MixedCell, choice_name
from seg_space.nas_bench_201.skeleton import Sizes, Skeleton


class NASBench201Network(Skeleton):
    """The network of one architecture of `NASBench201Space`; see `Skeleton` for its shapes.

    Args:
        operations: of the cell's edges, by name.
        task: what it must fit.
        sizes: of the skeleton.
    """

    def __init__(self, operations: Mapping[str, str], task: Task, sizes: Sizes) -> None:
        super().__init__(lambda channels: Cell(operations, channels), task, sizes)

    def forward(self, images: Tensor) -> Tensor:
        return self.run(images)


class NASBench201Supernet(Skeleton, Supernet):
    """All architectures of a `NASBench201Space`: on each edge all operations, whose results are mixed by their gates.

    Args:
        choices: of the edges, in order.
        task: what the networks must fit.
        sizes: of the skeleton.
    """

    def __init__(self, choices: Sequence[Choice], task: Task, sizes: Sizes) -> None:
        of_edges = dict(zip(NAMES, choices, strict=True))
        super().__init__(lambda channels: MixedCell(of_edges, channels), task, sizes)
        self.choices = tuple(choices)

    def forward(self, images: Tensor, *, gates: Mapping[str, Tensor]) -> Tensor:
        return self.run(images, Gates.of(self.choices, gates))

    def inherit(self, network: nn.Module, architecture: Architecture) -> None:
        state = self.state_dict()
        network.load_state_dict({name: state[_name_here(name, architecture)] for name in network.state_dict()})


def _name_here(name: str, architecture: Architecture) -> str:
    """The name in the supernet of a weight of an architecture's network."""
    before, _, rest = name.partition(".operations.")
    if not rest:
        return name
    edge, _, rest = rest.partition(".")
    return f"{before}.operations.{edge}.{architecture[choice_name(edge)]}.{rest}"
