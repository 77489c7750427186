"""Auto-DeepLab's trellis: which resolutions may follow each other, what is run of it, and the best path through it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

LEVELS = 4
"""The number of resolutions; each has half the size of the one before."""
_FARTHEST = 4
"""Two layers change the stride at most by this factor."""


class Node(NamedTuple):
    """One resolution of one layer, with what it reads.

    Args:
        layer: from 1.
        stride: of its feature map.
        incoming: strides of the feature maps of the layer before that are run into it.
        before: strides of the feature maps of the layer before that one which are its second input.
    """

    layer: int
    stride: int
    incoming: tuple[int, ...]
    before: tuple[int, ...]

    @property
    def key(self) -> str:
        """The name of its module in a supernet."""
        return node_key(self.layer, self.stride)


def node_key(layer: int, stride: int) -> str:
    """The name of a node where names have no dots."""
    return f"layer{layer}_stride{stride}"


def number_of_paths(transitions: int) -> int:
    """The number of paths of so many edges that leave the first resolution.

    12 edges, one into each layer of a network of 12, give 75,025. The paper (Liu et al. 2019, section 3.2)
    says 2.9e4: that is 28,657, of 11 edges between 12 layers, with the first layer's resolution given.
    """
    counts = [1] + [0] * (LEVELS - 1)
    for _ in range(transitions):
        counts = [sum(counts[max(0, level - 1) : level + 2]) for level in range(LEVELS)]
    return sum(counts)


@dataclass(frozen=True)
class Trellis:
    """Layers by resolutions; an edge leads from a node to the next layer, at half, equal or double stride.

    Args:
        layers: how many follow the stem.
        stem_stride: of the stem's feature map, which is the first and finest resolution.
    """

    layers: int
    stem_stride: int = 4

    @property
    def strides(self) -> tuple[int, ...]:
        """Of all resolutions, the finest first."""
        return tuple(self.stem_stride * 2**level for level in range(LEVELS))

    def strides_at(self, layer: int) -> tuple[int, ...]:
        """The strides that a layer may have; layer 0, like what is before it, is the stem."""
        return self.strides[: max(layer, 0) + 1]

    def following(self, stride: int) -> tuple[int, ...]:
        """The strides that may come next, in ascending order."""
        return tuple(other for other in self.strides if max(other, stride) <= 2 * min(other, stride))

    def preceding(self, layer: int, stride: int) -> tuple[int, ...]:
        """The strides of the layer before that may lead to a node, in ascending order."""
        return tuple(source for source in self.strides_at(layer - 1) if stride in self.following(source))

    def second_inputs(self, layer: int, stride: int) -> tuple[int, ...]:
        """The strides that the second input of a node may have: of two layers before, two edges away at most."""
        return tuple(
            source for source in self.strides_at(layer - 2) if max(source, stride) <= _FARTHEST * min(source, stride)
        )

    @property
    def sources(self) -> Iterator[tuple[int, int]]:
        """Every node that edges leave, as the layer that they lead to and the node's own stride."""
        return ((layer, stride) for layer in range(1, self.layers + 1) for stride in self.strides_at(layer - 1))

    def edges_into(self, layer: int) -> tuple[tuple[int, int], ...]:
        """All edges that lead to a layer, as pairs of the strides before and after, in ascending order."""
        return tuple((source, target) for source in self.strides_at(layer - 1) for target in self.following(source))

    def open_nodes(self, targets: Callable[[int, int], Sequence[int]]) -> tuple[Node, ...]:
        """The nodes that are run, layer by layer, where some edges are closed.

        A node is run where open edges lead to it from the stem and its feature map is read: by a node of the
        next layer, by one two layers on as its second input, or by the head.

        Args:
            targets: of `sources`: the strides that a node's open edges lead to.
        """
        reached: dict[int, set[int]] = {-1: {self.stem_stride}, 0: {self.stem_stride}}
        nodes: list[Node] = []
        for layer in range(1, self.layers + 1):
            edges = {source: targets(layer, source) for source in sorted(reached[layer - 1])}
            reached[layer] = {target for following in edges.values() for target in following}
            for stride in sorted(reached[layer]):
                incoming = tuple(source for source, following in edges.items() if stride in following)
                nodes.append(Node(layer, stride, incoming, self._second_inputs(layer, stride, reached[layer - 2])))
        read = {(self.layers, stride) for stride in reached[self.layers]}
        for node in reversed(nodes):
            if (node.layer, node.stride) in read:
                read.update((node.layer - 1, source) for source in node.incoming)
                read.update((node.layer - 2, source) for source in node.before)
        return tuple(node for node in nodes if (node.layer, node.stride) in read)

    def _second_inputs(self, layer: int, stride: int, reached: set[int]) -> tuple[int, ...]:
        if stride in reached:
            return (stride,)
        return tuple(source for source in self.second_inputs(layer, stride) if source in reached)

    def path_nodes(self, path: Sequence[int]) -> tuple[Node, ...]:
        """The nodes of one path, given by the stride of each layer."""
        return self.open_nodes(lambda layer, source: (path[layer - 1],))

    def best_path(self, weights: Callable[[int, int], Sequence[float]]) -> tuple[int, ...]:
        """The most probable path (Viterbi), where edges are drawn by their share of what leaves a node.

        Among equals it is the path whose last layers have the smaller strides. An edge of weight zero is
        taken only where no path does without; the path with the fewest of them then wins. A closed edge, of weight
        minus infinity, is still worse.

        Args:
            weights: of `sources`: the weights of a node's edges, in the order of `following`; those of open ones are
                not negative.

        Returns:
            The stride of each layer.

        Raises:
            ValueError: a weight of an open edge is negative or not a number.
        """
        # How many edges are closed and how many have no weight, both negative, and the sum of the logarithms.
        best: dict[int, tuple[tuple[int, int, float], tuple[int, ...]]] = {self.stem_stride: ((0, 0, 0.0), ())}
        for layer in range(1, self.layers + 1):
            longer: dict[int, tuple[tuple[int, int, float], tuple[int, ...]]] = {}
            for source in sorted(best):
                (opened, possible, total), path = best[source]
                leaving = weights(layer, source)
                for target, weight, logarithm in zip(
                    self.following(source), leaving, _log_shares(leaving), strict=True
                ):
                    if weight == -math.inf:
                        score = (opened - 1, possible, total)
                    elif logarithm == -math.inf:
                        score = (opened, possible - 1, total)
                    else:
                        score = (opened, possible, total + logarithm)
                    if target not in longer or score > longer[target][0]:
                        longer[target] = (score, (*path, target))
            best = longer
        return max((best[stride] for stride in sorted(best)), key=lambda path: path[0])[1]


def _log_shares(weights: Sequence[float]) -> list[float]:
    if not all(weight >= 0 or weight == -math.inf for weight in weights):
        raise ValueError(f"the weights of a node's edges are not negative; got {list(weights)}")
    total = sum(weight for weight in weights if weight > 0)
    return [math.log(weight / total) if weight > 0 else -math.inf for weight in weights]
