"""The edges between layers as choices and gates: a layer is followed by one stride, or by several at once."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor

from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.supernets.gates import Closed, Gates
from seg_space.auto_deeplab.layout import edge_name, join_strides, split_strides
from seg_space.auto_deeplab.topology import best_topology, conditional, number_of_topologies
from seg_space.auto_deeplab.trellis import Trellis, number_of_paths

OFF, ON = "off", "on"

Targets = Callable[[int, int], Sequence[int]]
"""The strides that a node's open edges lead to, of a layer and a stride of the layer before."""
Weights = Callable[[int, int, int], Tensor]
"""The factor of an edge's result, of a layer, a stride of the layer before and one of the layer."""


class Edges(ABC):
    """The edges of a trellis as choices of a space.

    Args:
        trellis: layers and resolutions.
    """

    count: int
    """The number of ways through the trellis, exactly."""
    gate_choices: tuple[Choice, ...]
    """The gates of a supernet; it has them for every edge, wherever an architecture goes."""

    def __init__(self, trellis: Trellis) -> None:
        self.trellis = trellis
        self.choices = tuple(self._choice(layer, stride) for layer, stride in trellis.sources)
        """The strides that follow a node, for every node that may be reached."""

    def _choice(self, layer: int, stride: int) -> Choice:
        options = self._options(self.trellis.following(stride))
        requires = [
            {
                edge_name(layer - 1, before): [
                    value for value in self._options(following) if stride in split_strides(value)
                ]
            }
            for before in self.trellis.preceding(layer - 1, stride)
            for following in [self.trellis.following(before)]
        ]
        return Choice(edge_name(layer, stride), tuple(options), requires if layer > 1 else ())

    @abstractmethod
    def _options(self, following: Sequence[int]) -> Sequence[Value]:
        """The values of a choice whose node's edges lead to these strides."""

    @abstractmethod
    def gate_values(self, architecture: Mapping[str, Value]) -> Mapping[str, Value]:
        """The option that each gate is one-hot at, in an architecture."""

    @abstractmethod
    def open_options(self, choice: Choice, closed: Closed) -> Sequence[Value]:
        """See `SupernetSpace.open_options`."""

    @abstractmethod
    def decode(self, scores: Mapping[str, Tensor]) -> dict[str, Value]:
        """The choices that scores of gates stand for."""

    @abstractmethod
    def open(self, gates: Gates) -> Targets:
        """The edges whose gates are open."""

    @abstractmethod
    def weights(self, gates: Gates) -> Weights:
        """The weights of open edges."""


class SinglePath(Edges):
    """Each layer has one stride; the gates of what leaves a node are those of its choice (Liu et al. 2019)."""

    def __init__(self, trellis: Trellis) -> None:
        super().__init__(trellis)
        self.count = number_of_paths(trellis.layers)
        self.gate_choices = tuple(Choice(choice.name, choice.options) for choice in self.choices)

    def _options(self, following: Sequence[int]) -> Sequence[Value]:
        return following

    def gate_values(self, architecture: Mapping[str, Value]) -> Mapping[str, Value]:
        return {choice.name: architecture[choice.name] for choice in self.choices if choice.name in architecture}

    def open_options(self, choice: Choice, closed: Closed) -> Sequence[Value]:
        return [option for option in choice.options if option not in closed.get(choice.name, frozenset())]

    def decode(self, scores: Mapping[str, Tensor]) -> dict[str, Value]:
        path = self.trellis.best_path(lambda *source: scores[edge_name(*source)].tolist())
        steps = zip((self.trellis.stem_stride, *path), path, strict=False)
        return {edge_name(layer, before): stride for layer, (before, stride) in enumerate(steps, start=1)}

    def open(self, gates: Gates) -> Targets:
        def targets(layer: int, stride: int) -> list[int]:
            following = self.trellis.following(stride)
            return [following[position] for position in gates.open(edge_name(layer, stride))]

        return targets

    def weights(self, gates: Gates) -> Weights:
        return lambda layer, source, target: gates[edge_name(layer, source)][
            self.trellis.following(source).index(target)
        ]


class MultiPath(Edges):
    r"""A node may be followed by several, and each edge has a gate of its own, `off` or `on` (He et al. 2021, DiNTS).

    An architecture names for each node that is reached the edges that leave it, at least one (`8+16`), so that
    whatever is reached leads to the end, and nothing else is there. One edge is written as where paths are single.

    Under a softmax the gate of an edge is on by the sigmoid of the difference of its two logits, independently of
    all others. In the supernet it weighs as much as it is probable where not all edges of its layer are off,
    :math:`p / (1 - \prod (1 - p))`; for the gates of an architecture that is 1.
    """

    def __init__(self, trellis: Trellis) -> None:
        super().__init__(trellis)
        self.count = number_of_topologies(trellis)
        self.gate_choices = tuple(Choice(self.gate(*edge), (OFF, ON)) for edge in self._every())

    def _every(self) -> Iterator[tuple[int, int, int]]:
        for layer in range(1, self.trellis.layers + 1):
            for source, target in self.trellis.edges_into(layer):
                yield layer, source, target

    def gate(self, layer: int, source: int, target: int) -> str:
        """The gate of an edge."""
        return f"{edge_name(layer, source)}.to{target}"

    def _options(self, following: Sequence[int]) -> Sequence[Value]:
        return [
            join_strides(strides)
            for count in range(1, len(following) + 1)
            for strides in combinations(following, count)
        ]

    def gate_values(self, architecture: Mapping[str, Value]) -> Mapping[str, Value]:
        taken = {
            self.gate(layer, source, target)
            for layer, source in self.trellis.sources
            if edge_name(layer, source) in architecture
            for target in split_strides(architecture[edge_name(layer, source)])
        }
        return {choice.name: ON if choice.name in taken else OFF for choice in self.gate_choices}

    def open_options(self, choice: Choice, closed: Closed) -> Sequence[Value]:
        every = {str(target) for option in choice.options for target in split_strides(option)}

        def may(target: str, state: str) -> bool:
            return state not in closed.get(f"{choice.name}.to{target}", frozenset())

        return [
            option
            for option in choice.options
            if all(may(target, ON if int(target) in split_strides(option) else OFF) for target in every)
        ]

    def decode(self, scores: Mapping[str, Tensor]) -> dict[str, Value]:
        """The most probable topology, where an edge's probability is the share of `on`.

        Raises:
            ValueError: a score of what is open is negative or not a number.
        """
        shares = [
            [self._share(scores, layer, *edge) for edge in self.trellis.edges_into(layer)]
            for layer in range(1, self.trellis.layers + 1)
        ]
        values: dict[str, Value] = {}
        for layer, on in enumerate(best_topology(self.trellis, shares), start=1):
            taken: dict[int, list[int]] = {}
            for (source, target), is_on in zip(self.trellis.edges_into(layer), on, strict=True):
                if is_on:
                    taken.setdefault(source, []).append(target)
            values |= {edge_name(layer, source): join_strides(targets) for source, targets in taken.items()}
        return values

    def _share(self, scores: Mapping[str, Tensor], layer: int, source: int, target: int) -> float:
        name = self.gate(layer, source, target)
        off, on = scores[name].tolist()
        if -math.inf in (off, on):
            # What is closed is less probable than what is impossible: see `best_topology`.
            return math.inf if on > -math.inf else -math.inf
        if not (off >= 0 and on >= 0):
            raise ValueError(f"the scores of {name!r} are not negative; got {[off, on]}")
        return on / (off + on) if on > 0 else 0.0

    def open(self, gates: Gates) -> Targets:
        position = (OFF, ON).index(ON)
        return lambda layer, stride: [
            target
            for target in self.trellis.following(stride)
            if position in gates.open(self.gate(layer, stride, target))
        ]

    def weights(self, gates: Gates) -> Weights:
        weights: dict[tuple[int, int, int], Tensor] = {}
        for layer in range(1, self.trellis.layers + 1):
            edges = self.trellis.edges_into(layer)
            for edge, weight in zip(edges, conditional(self.probabilities(gates, layer)), strict=True):
                weights[layer, *edge] = weight
        return lambda *edge: weights[edge]

    def probabilities(self, gates: Mapping[str, Tensor], layer: int) -> Tensor:
        """The gates of the edges into a layer being on, `[num_edges]`."""
        position = (OFF, ON).index(ON)
        return torch.stack([gates[self.gate(layer, *edge)][position] for edge in self.trellis.edges_into(layer)])


def make_edges(trellis: Trellis, multi_path: bool) -> SinglePath | MultiPath:
    """The edges of a space, with several paths at a time or one."""
    return MultiPath(trellis) if multi_path else SinglePath(trellis)
