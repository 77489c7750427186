"""Independent edges between layers: which of them go together, how probable that is, and the best of it.

In the words of DiNTS (He, Yang, Roth, Zhao and Xu 2021, arXiv 2103.15954, section 3) what is on between two layers
is a pattern. A topology is a pattern for each layer, such that the edges of each leave the very nodes that those
before lead to.

A node is one resolution; sets of nodes are numbers, whose bit k stands for the k-th finest one. As
an edge has one source and one target, the probability of a set of sources, and that of a set of targets, is a product
over nodes, so no loss here has to go through the patterns.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from seg_space.auto_deeplab.trellis import LEVELS, Trellis


class Ends(NamedTuple):
    """The ends of the edges into a layer: for each, the positions of the resolutions."""

    sources: tuple[int, ...]
    targets: tuple[int, ...]

    @property
    def levels(self) -> tuple[int, int]:
        """The numbers of resolutions of the layer before and of the layer itself."""
        return max(self.sources) + 1, max(self.targets) + 1


def ends_of(trellis: Trellis, layer: int) -> Ends:
    """The ends of `Trellis.edges_into`."""
    position = {stride: level for level, stride in enumerate(trellis.strides)}
    sources, targets = zip(*trellis.edges_into(layer), strict=True)
    return Ends(tuple(position[stride] for stride in sources), tuple(position[stride] for stride in targets))


# Counting and decoding.


class _Patterns(NamedTuple):
    """All patterns of some edges but the empty one.

    Args:
        on: boolean `[num_patterns, num_edges]`.
        sources: the set of nodes that each leaves, `[num_patterns]`.
        targets: the set of nodes that each leads to, `[num_patterns]`.
    """

    on: np.ndarray
    sources: np.ndarray
    targets: np.ndarray


@cache
def _patterns(ends: Ends) -> _Patterns:
    bits = np.arange(1, 2 ** len(ends.sources))[:, None] >> np.arange(len(ends.sources)) & 1
    sets = [np.zeros(len(bits), dtype=np.int64) for _ in ends]
    for edge, pair in enumerate(zip(*ends, strict=True)):
        for nodes, level in zip(sets, pair, strict=True):
            nodes |= bits[:, edge] << level
    return _Patterns(bits.astype(bool), *sets)


def number_of_topologies(trellis: Trellis) -> int:
    """The number of topologies that leave the stem: 3 for one layer, 31 for two."""
    counts = {1: 1}
    for layer in range(1, trellis.layers + 1):
        patterns = _patterns(ends_of(trellis, layer))
        following: dict[int, int] = {}
        for source, target in zip(patterns.sources.tolist(), patterns.targets.tolist(), strict=True):
            if source in counts:
                following[target] = following.get(target, 0) + counts[source]
        counts = following
    return sum(counts.values())


def best_topology(trellis: Trellis, probabilities: Sequence[Sequence[float]]) -> list[tuple[bool, ...]]:
    """The most probable topology, where each edge is on or off by itself.

    It is the shortest path over patterns by the negative logarithm of their probability, as in DiNTS. The
    length of a path to a set of nodes does not depend on the pattern that leads there, so the states are the at
    most 15 sets, and of the patterns between two sets only the best one counts.

    An impossible edge, one that is on with a probability of 0 or off with one of 1, is taken only where no
    topology does without; the one with the fewest of them then wins. A closed edge is still worse.

    Args:
        trellis: layers and resolutions.
        probabilities: for each layer, that of each of `Trellis.edges_into`; minus infinity: being on is closed,
            infinity: being off is.

    Returns:
        For each layer, which of these edges are on.
    """
    # Of each set: how much is closed and how much impossible, the sum of the other negative logarithms, the patterns.
    best: dict[int, tuple[int, int, float, list[tuple[bool, ...]]]] = {1: (0, 0, 0.0, [])}
    for layer, shares in enumerate(probabilities, start=1):
        patterns = _patterns(ends_of(trellis, layer))
        chances = np.asarray(shares, dtype=np.float64)
        chances = np.where(patterns.on, chances, 1 - chances)
        closed = (chances == -np.inf).sum(axis=1)
        impossible = (chances <= 0).sum(axis=1)
        costs = -np.log(np.where(chances > 0, chances.clip(max=1.0), 1.0)).sum(axis=1)
        order = np.lexsort((costs, impossible, closed, patterns.targets, patterns.sources))
        pairs = patterns.sources[order] << LEVELS | patterns.targets[order]
        longer: dict[int, tuple[int, int, float, list[tuple[bool, ...]]]] = {}
        for row in order[np.unique(pairs, return_index=True)[1]].tolist():
            source, target = int(patterns.sources[row]), int(patterns.targets[row])
            if source not in best:
                continue
            so_far = best[source]
            score = (
                so_far[0] + int(closed[row]),
                so_far[1] + int(impossible[row]),
                so_far[2] + float(costs[row]),
            )
            if target not in longer or score < longer[target][:3]:
                longer[target] = (*score, [*so_far[3], tuple(patterns.on[row].tolist())])
        best = longer
    return min(best.values(), key=lambda topology: topology[:3])[3]


# What is differentiable. Here `on` are the probabilities of the edges into one layer, `[num_edges]`.


def inside(on: Tensor) -> Tensor:
    """The same probabilities, but none is 0 or 1, where logarithms have no gradient."""
    least = torch.finfo(on.dtype).eps
    return on.clamp(least, 1 - least)


def conditional(on: Tensor) -> Tensor:
    r"""The probability of each edge where not all of a layer's are off, :math:`p / (1 - \prod (1 - p))`."""
    return on / _anything(on).clamp(min=torch.finfo(on.dtype).tiny)


def pattern_entropy(on: Tensor) -> Tensor:
    """The entropy of a layer's pattern where not all edges are off, as a share of the largest that there can be.

    Of probabilities that are `inside`.
    """
    nothing, something = (1 - on).prod(), _anything(on)
    entropy = torch.special.entr(on).sum() + torch.special.entr(1 - on).sum() - torch.special.entr(nothing)
    # That of all patterns, without the empty one, and of probabilities that are larger by 1 / something.
    return (something.log() + entropy / something) / float(np.log(2 ** len(on) - 1))


def set_probabilities(on: Tensor, nodes: Sequence[int], levels: int) -> Tensor:
    """The probability that edges which are not all off have their ends at just these nodes.

    Args:
        on: of a layer's edges.
        nodes: for each, the node at one of its ends: `Ends.sources` or `Ends.targets`.
        levels: how many nodes there are.

    Returns:
        `[2 ** levels - 1]`, for each set but the empty one.
    """
    by_node = [on[[edge for edge, node in enumerate(nodes) if node == level]] for level in range(levels)]
    off = torch.stack([(1 - ends).prod() for ends in by_node])
    some = torch.stack([_anything(ends) for ends in by_node])
    sets = torch.arange(1, 2**levels, device=on.device).unsqueeze(1) >> torch.arange(levels, device=on.device) & 1
    return torch.where(sets == 1, some, off).prod(dim=1) / _anything(on).clamp(min=torch.finfo(on.dtype).tiny)


def mismatch(before: Tensor, after: Tensor, ends: tuple[Ends, Ends]) -> Tensor:
    """The mismatch of a layer's edges with those of the one before: DiNTS's topology loss, of one pair of layers.

    It is the sum over sets of nodes of the cross entropy between "these are just what is led to" and "these
    are just what is left".

    Args:
        before: the probabilities of a layer's edges.
        after: those of the next layer's.
        ends: of both.
    """
    levels = ends[0].levels[1]
    reached = set_probabilities(before, ends[0].targets, levels)
    left = set_probabilities(after, ends[1].sources, levels)
    # The constant is that of the authors' code.
    return -(reached * (left + 1e-5).log() + (1 - reached) * (1 - left + 1e-5).log()).sum()


def _anything(on: Tensor) -> Tensor:
    """The probability that not all edges are off; no difference, which would lose small probabilities."""
    earlier_off = torch.cat([torch.ones_like(on[:1]), 1 - on[:-1]]).cumprod(dim=0)
    return (on * earlier_off).sum()
