"""The feature maps that heads read, of networks and of supernets alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from seg_space.auto_deeplab.edges import Weights
from seg_space.auto_deeplab.trellis import Node

Features = Mapping[tuple[int, int], Tensor]
"""Feature maps by the layer and the stride; the layers 0 and -1 are the stem."""


class Maps(NamedTuple):
    """Feature maps by their strides, each `[batch, channels, height, width]`.

    Args:
        stem: of the stem's convolutions, the last one of each stride.
        visited: of the last layer that has the stride.
        last: of the last layer.
        size: height and width of the image.
    """

    stem: Mapping[int, Tensor]
    visited: Mapping[int, Tensor]
    last: Mapping[int, Tensor]
    size: tuple[int, int]


def size_of(x: Tensor) -> tuple[int, int]:
    """Height and width of a feature map."""
    return x.size(2), x.size(3)


def last_visits(features: Features) -> dict[int, Tensor]:
    """The feature map of the last layer that has each stride; the stem's do not count."""
    return {stride: x for (layer, stride), x in sorted(features.items(), key=lambda each: each[0]) if layer > 0}


def expected_visits(features: Features, nodes: Sequence[Node], weights: Weights) -> dict[int, Tensor]:
    r"""The expectation of `last_visits` where edges are taken with the probabilities of their weights.

    A node is reached with the probability :math:`q = 1 - \prod (1 - q' w)`, over the edges that lead to it from nodes
    reached with q', as if they were independent; its feature map counts as much as it is reached and none of its stride
    is in later layers. Under the gates of an architecture that is `last_visits` exactly.

    Args:
        features: of all nodes.
        nodes: that are run, layer by layer.
        weights: of edges.
    """
    reached: dict[tuple[int, int], Tensor] = {}
    for node in nodes:
        missed: list[Tensor] = []
        for source in node.incoming:
            weight = weights(node.layer, source, node.stride)
            missed.append(1 - (weight * reached[node.layer - 1, source] if node.layer > 1 else weight))
        reached[node.layer, node.stride] = 1 - torch.stack(missed).prod()
    visits: dict[int, Tensor] = {}
    later: dict[int, Tensor] = {}
    for node in reversed(nodes):
        stride, share = node.stride, reached[node.layer, node.stride]
        none_later = later.get(stride)
        counted = (share if none_later is None else share * none_later) * features[node.layer, stride]
        visits[stride] = visits[stride] + counted if stride in visits else counted
        later[stride] = 1 - share if none_later is None else none_later * (1 - share)
    return visits
