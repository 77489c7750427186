"""What architectures and gates say of the arrows between layers: one that follows another, or several at once."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor

from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.supernets.gates import Closed, Gates
from seg_space.auto_deeplab.topology import best_topology, conditional, number_of_topologies
from seg_space.auto_deeplab.trellis import Trellis, number_of_paths

OFF, ON = "off", "on"

Targets = Callable[[int, int], Sequence[int]]
"""Of a layer and a stride of the layer before: the strides that the node's open arrows lead to."""
Weights = Callable[[int, int, int], Tensor]
"""Of a layer, a stride of the layer before and one of the layer: what the arrow's result is multiplied by."""


class Arrows(ABC):
    """The arrows of a trellis as choices of a space.

    Args:
        trellis: layers and resolutions.
    """

    count: int
    """How many ways there are through the trellis, exactly."""
    gate_choices: tuple[Choice, ...]
    """What a supernet has gates for; it has them for every arrow, wherever an architecture goes."""

    def __init__(self, trellis: Trellis) -> None:
        self.trellis = trellis
        self.choices = tuple(self._choice(layer, stride) for layer, stride in trellis.sources)
        """What follows a node, for every node that may be reached."""

    @staticmethod
    def name(layer: int, stride: int) -> str:
        """The choice of what follows a stride of the layer before `layer`."""
        return f"layer{layer}.after{stride}"

    def _choice(self, layer: int, stride: int) -> Choice:
        options = self._options(self.trellis.following(stride))
        requires = [
            {self.name(layer - 1, before): [each for each in self._options(following) if stride in _strides(each)]}
            for before in self.trellis.preceding(layer - 1, stride)
            for following in [self.trellis.following(before)]
        ]
        return Choice(self.name(layer, stride), tuple(options), requires if layer > 1 else ())

    def targets(self, values: Mapping[str, Value]) -> Targets:
        """The arrows of an architecture."""
        return lambda layer, stride: _strides(values[self.name(layer, stride)])

    @abstractmethod
    def _options(self, following: Sequence[int]) -> Sequence[Value]:
        """What may follow a node, whose arrows lead to these strides."""

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
        """The arrows whose gates are open."""

    @abstractmethod
    def weights(self, gates: Gates) -> Weights:
        """What open arrows weigh."""


class SinglePath(Arrows):
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
        path = self.trellis.best_path(lambda *source: scores[self.name(*source)].tolist())
        steps = zip((self.trellis.stem_stride, *path), path, strict=False)
        return {self.name(layer, before): stride for layer, (before, stride) in enumerate(steps, start=1)}

    def open(self, gates: Gates) -> Targets:
        def targets(layer: int, stride: int) -> list[int]:
            following = self.trellis.following(stride)
            return [following[position] for position in gates.open(self.name(layer, stride))]

        return targets

    def weights(self, gates: Gates) -> Weights:
        return lambda layer, source, target: gates[self.name(layer, source)][
            self.trellis.following(source).index(target)
        ]


class MultiPath(Arrows):
    r"""A node may be followed by several, and each arrow has a gate of its own, `off` or `on` (He et al. 2021, DiNTS).

    An architecture says for each node that is reached which arrows leave it, at least one (`8+16`), so that whatever
    is reached leads to the end, and nothing else is there. One arrow is written as where paths are single.

    Under a softmax the gate of an arrow is on by the sigmoid of the difference of its two logits, independently of
    all others. In the supernet it weighs as much as it is probable where not all arrows of its layer are off,
    :math:`p / (1 - \prod (1 - p))`; for the gates of an architecture that is 1.
    """

    def __init__(self, trellis: Trellis) -> None:
        super().__init__(trellis)
        self.count = number_of_topologies(trellis)
        self.gate_choices = tuple(Choice(self.gate(*arrow), (OFF, ON)) for arrow in self._every())

    def _every(self) -> Iterator[tuple[int, int, int]]:
        for layer in range(1, self.trellis.layers + 1):
            for source, target in self.trellis.arrows_into(layer):
                yield layer, source, target

    def gate(self, layer: int, source: int, target: int) -> str:
        """The choice of whether an arrow is there."""
        return f"{self.name(layer, source)}.to{target}"

    def _options(self, following: Sequence[int]) -> Sequence[Value]:
        return [_value(each) for count in range(1, len(following) + 1) for each in combinations(following, count)]

    def gate_values(self, architecture: Mapping[str, Value]) -> Mapping[str, Value]:
        taken = {
            self.gate(layer, source, target)
            for layer, source in self.trellis.sources
            if self.name(layer, source) in architecture
            for target in _strides(architecture[self.name(layer, source)])
        }
        return {choice.name: ON if choice.name in taken else OFF for choice in self.gate_choices}

    def open_options(self, choice: Choice, closed: Closed) -> Sequence[Value]:
        every = {str(target) for option in choice.options for target in _strides(option)}

        def may(target: str, state: str) -> bool:
            return state not in closed.get(f"{choice.name}.to{target}", frozenset())

        return [
            option
            for option in choice.options
            if all(may(target, ON if int(target) in _strides(option) else OFF) for target in every)
        ]

    def decode(self, scores: Mapping[str, Tensor]) -> dict[str, Value]:
        """The most probable topology, where an arrow's probability is the share of `on`.

        Raises:
            ValueError: a score of what is open is negative or not a number.
        """
        shares = [
            [self._share(scores, layer, *arrow) for arrow in self.trellis.arrows_into(layer)]
            for layer in range(1, self.trellis.layers + 1)
        ]
        values: dict[str, Value] = {}
        for layer, on in enumerate(best_topology(self.trellis, shares), start=1):
            taken: dict[int, list[int]] = {}
            for (source, target), is_on in zip(self.trellis.arrows_into(layer), on, strict=True):
                if is_on:
                    taken.setdefault(source, []).append(target)
            values |= {self.name(layer, source): _value(targets) for source, targets in taken.items()}
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
        found: dict[tuple[int, int, int], Tensor] = {}
        for layer in range(1, self.trellis.layers + 1):
            arrows = self.trellis.arrows_into(layer)
            for arrow, weight in zip(arrows, conditional(self.probabilities(gates, layer)), strict=True):
                found[layer, *arrow] = weight
        return lambda *arrow: found[arrow]

    def probabilities(self, gates: Mapping[str, Tensor], layer: int) -> Tensor:
        """The gates of the arrows into a layer being on, `[num_arrows]`."""
        position = (OFF, ON).index(ON)
        return torch.stack([gates[self.gate(layer, *arrow)][position] for arrow in self.trellis.arrows_into(layer)])


def _value(strides: Sequence[int]) -> Value:
    """What a choice says where these strides follow."""
    return strides[0] if len(strides) == 1 else "+".join(map(str, strides))


def _strides(value: Value) -> tuple[int, ...]:
    return tuple(int(each) for each in str(value).split("+"))
