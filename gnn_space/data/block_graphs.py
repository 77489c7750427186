"""Random graphs with communities: the stochastic block models behind CLUSTER and PATTERN."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

SMALLEST, LARGEST = 5, 34
"""Nodes of a community, and of a pattern: drawn uniformly, both ends included."""

Integers = npt.NDArray[np.int64]
ShortIntegers = npt.NDArray[np.int16]


class BlockGraph(NamedTuple):
    """A generated graph: symbol of each node, both directions of each edge `[2, num_edges]`, label of each node."""

    symbols: Integers
    edges: ShortIntegers
    labels: Integers


class Pattern(NamedTuple):
    """A subgraph to be found: its adjacency matrix, and the symbol of each of its nodes."""

    adjacency: npt.NDArray[np.bool_]
    symbols: Integers


def symmetric_edges(probability: npt.NDArray[np.float64], random: np.random.Generator) -> npt.NDArray[np.bool_]:
    """A random symmetric adjacency matrix without self loops; entry (i, j), i < j, gives the edge's probability."""
    upper = np.triu(random.random(probability.shape) < probability, k=1)
    return upper | upper.T


def cluster_graph(random: np.random.Generator) -> BlockGraph:
    """A graph of CLUSTER (Dwivedi et al. 2020, arXiv 2003.00982): which community is a node in?

    Six communities; an edge within one has probability 0.55, between two 0.25. One node of each
    community r shows it by the symbol r + 1, all others have the symbol 0.
    """
    sizes = random.integers(SMALLEST, LARGEST, size=6, endpoint=True)
    labels = random.permutation(np.repeat(np.arange(6), sizes))
    symbols = np.zeros_like(labels)
    for community in range(6):
        symbols[random.choice(np.flatnonzero(labels == community))] = community + 1
    probability = np.where(labels[:, None] == labels, 0.55, 0.25)
    return BlockGraph(symbols, _edges(symmetric_edges(probability, random)), labels)


def new_pattern(random: np.random.Generator) -> Pattern:
    """A pattern of PATTERN: any two nodes are joined with probability 0.5, each has one of three symbols."""
    size = int(random.integers(SMALLEST, LARGEST, endpoint=True))
    return Pattern(symmetric_edges(np.full((size, size), 0.5), random), random.integers(3, size=size))


def pattern_graph(pattern: Pattern, random: np.random.Generator) -> BlockGraph:
    """A graph of PATTERN (Dwivedi et al. 2020): does a node belong to the planted pattern?

    Five communities; an edge within one has probability 0.5, between two 0.35, between the pattern
    and the rest 0.5. Symbols of the other nodes are random.
    """
    sizes = random.integers(SMALLEST, LARGEST, size=5, endpoint=True)
    communities = np.repeat(np.arange(5), sizes)
    rest, total = len(communities), len(communities) + len(pattern.symbols)
    probability = np.full((total, total), 0.5)
    probability[:rest, :rest] = np.where(communities[:, None] == communities, 0.5, 0.35)
    probability[rest:, rest:] = pattern.adjacency  # 0 or 1: the pattern itself is fixed
    symbols = np.concatenate([random.integers(3, size=rest), pattern.symbols])
    labels = (np.arange(total) >= rest).astype(np.int64)
    order = random.permutation(total)
    adjacency = symmetric_edges(probability, random)[np.ix_(order, order)]
    return BlockGraph(symbols[order], _edges(adjacency), labels[order])


def _edges(adjacency: npt.NDArray[np.bool_]) -> ShortIntegers:
    """Both directions of every edge, `[2, num_edges]`; two bytes are plenty for these graphs, and there are many."""
    return np.stack(np.nonzero(adjacency)).astype(np.int16)
