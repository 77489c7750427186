"""Several paths at once: how many topologies there are, which is the best, and how probable sets of nodes are."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seg_space.auto_deeplab.topology import (
    best_topology,
    conditional,
    ends_of,
    inside,
    mismatch,
    number_of_topologies,
    pattern_entropy,
    set_probabilities,
)
from seg_space.auto_deeplab.trellis import Trellis

Topology = tuple[tuple[bool, ...], ...]
Shares = list[list[float]]


def every_pattern(trellis: Trellis, layer: int) -> Iterator[tuple[tuple[bool, ...], set[int], set[int]]]:
    """Every pattern of a layer, with the strides that it leaves and those that it leads to."""
    edges = trellis.edges_into(layer)
    for on in itertools.product((False, True), repeat=len(edges)):
        taken = list(itertools.compress(edges, on))
        if taken:
            yield on, {source for source, _ in taken}, {target for _, target in taken}


def every_topology(trellis: Trellis) -> Iterator[Topology]:
    partial: list[tuple[Topology, set[int]]] = [((), {trellis.stem_stride})]
    for layer in range(1, trellis.layers + 1):
        partial = [
            ((*topology, on), targets)
            for topology, reached in partial
            for on, sources, targets in every_pattern(trellis, layer)
            if sources == reached
        ]
    return (topology for topology, _ in partial)


def score(shares: Shares, topology: Topology) -> tuple[int, float]:
    """How much is impossible, negative, and the logarithm of the probability of the rest."""
    chances = [
        share if on else 1 - share
        for row, pattern in zip(shares, topology, strict=True)
        for share, on in zip(row, pattern, strict=True)
    ]
    return -chances.count(0.0), sum(math.log(chance) for chance in chances if chance > 0)


@st.composite
def weighted(draw: st.DrawFn) -> tuple[Trellis, Shares]:
    """A small trellis and probabilities of its edges: certain and equal ones are frequent."""
    trellis = Trellis(draw(st.integers(1, 3)), draw(st.sampled_from((1, 4))))
    share = st.one_of(st.sampled_from((0.0, 0.25, 0.5, 1.0)), st.floats(1e-6, 1 - 1e-6))
    return trellis, [
        draw(st.lists(share, min_size=count, max_size=count))
        for layer in range(1, trellis.layers + 1)
        for count in [len(trellis.edges_into(layer))]
    ]


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_as_many_topologies_are_counted_as_there_are(layers: int) -> None:
    trellis = Trellis(layers)
    assert number_of_topologies(trellis) == len(list(every_topology(trellis)))


def test_four_resolutions_have_1023_patterns() -> None:
    # 2^(3 D - 2) - 1 for D resolutions (He et al. 2021).
    assert len(list(every_pattern(Trellis(6), 5))) == 1023


def test_topologies_are_counted_exactly() -> None:
    assert [number_of_topologies(Trellis(layers)) for layers in (1, 2, 3)] == [3, 31, 1759]
    assert number_of_topologies(Trellis(12)) > 10**25


@given(weighted())
def test_the_best_topology_is_the_best_of_all(case: tuple[Trellis, Shares]) -> None:
    trellis, shares = case
    every = list(every_topology(trellis))
    found = tuple(best_topology(trellis, shares))
    assert found in every
    impossible, logarithm = score(shares, found)
    best = max(score(shares, topology) for topology in every)
    assert impossible == best[0]
    assert logarithm == pytest.approx(best[1], abs=1e-9)


@given(st.integers(0, 10**9))
def test_a_topology_that_is_certain_is_found_again(seed: int) -> None:
    trellis = Trellis(3)
    every = list(every_topology(trellis))
    topology = every[seed % len(every)]
    assert tuple(best_topology(trellis, [[float(on) for on in pattern] for pattern in topology])) == topology


def test_the_decoder_is_not_greedy() -> None:
    # The likeliest pattern of layer 1 leads to stride 8 alone, from where layer 2 would take what is unlikely.
    topology = best_topology(Trellis(2), [[0.45, 0.6], [0.99, 0.01, 0.1, 0.1, 0.1]])
    assert topology == [(True, False), (True, False, False, False, False)]


def test_decoding_takes_milliseconds() -> None:
    # DiNTS's dense matrix of all patterns of all layers takes 17 seconds and 0.6 GB for 12 layers.
    trellis = Trellis(12)
    generator = torch.Generator().manual_seed(0)
    shares = [torch.rand(len(trellis.edges_into(layer)), generator=generator).tolist() for layer in range(1, 13)]
    best_topology(trellis, shares)
    times = []
    for _ in range(5):
        begun = time.process_time()
        best_topology(trellis, shares)
        times.append(time.process_time() - begun)
    # It takes 4 ms here.
    assert min(times) < 0.05


# What is differentiable, against sums over all patterns.


def probabilities(trellis: Trellis, layer: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(len(trellis.edges_into(layer)), dtype=torch.float64, generator=generator)


def chance(on: Sequence[float], pattern: Sequence[bool]) -> float:
    """The probability of a pattern where the empty one is left out."""
    nothing = math.prod(1 - each for each in on)
    return math.prod(each if taken else 1 - each for each, taken in zip(on, pattern, strict=True)) / (1 - nothing)


@pytest.mark.parametrize("layer", [1, 2, 4, 5])
def test_a_layers_probabilities_are_sums_over_its_patterns(layer: int) -> None:
    trellis = Trellis(5)
    on = probabilities(trellis, layer)
    patterns = [(pattern, chance(on.tolist(), pattern)) for pattern, *_ in every_pattern(trellis, layer)]
    expected = [sum(each for pattern, each in patterns if pattern[edge]) for edge in range(len(on))]
    assert conditional(on).tolist() == pytest.approx(expected)
    entropy = -sum(each * math.log(each) for _, each in patterns) / math.log(len(patterns))
    assert float(pattern_entropy(on)) == pytest.approx(entropy)


@pytest.mark.parametrize("layer", [1, 2, 4, 5])
def test_sets_of_nodes_are_as_probable_as_the_patterns_that_have_them(layer: int) -> None:
    trellis = Trellis(5)
    on = probabilities(trellis, layer)
    ends = ends_of(trellis, layer)
    for nodes, levels, side in zip(ends, ends.levels, (1, 2), strict=True):
        expected = [0.0] * 2**levels
        for entry in every_pattern(trellis, layer):
            expected[sum(stride // trellis.stem_stride for stride in entry[side])] += chance(on.tolist(), entry[0])
        assert set_probabilities(on, nodes, levels).tolist() == pytest.approx(expected[1:])


def test_layers_that_fit_have_no_mismatch_and_others_have() -> None:
    trellis = Trellis(2)
    ends = (ends_of(trellis, 1), ends_of(trellis, 2))
    both = torch.tensor([1.0, 1.0], dtype=torch.float64)
    from_both = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    from_one = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    assert float(mismatch(both, from_both, ends)) == pytest.approx(0.0, abs=1e-4)
    # Two sets are wrong, the one that is led to and the one that is left.
    assert float(mismatch(both, from_one, ends)) == pytest.approx(-2 * math.log(1e-5), rel=1e-3)


def test_entropy_is_one_where_nothing_is_decided_and_zero_where_all_is() -> None:
    for layer, count in ((1, 2), (5, 10)):
        assert len(probabilities(Trellis(5), layer)) == count
        assert float(pattern_entropy(torch.full((count,), 0.5))) == pytest.approx(1.0)
        decided = torch.zeros(count).index_fill(0, torch.tensor([1]), 1.0).requires_grad_()
        entropy = pattern_entropy(inside(decided))
        assert float(entropy.detach()) == pytest.approx(0.0, abs=1e-4)
        entropy.backward()
        assert decided.grad is not None
        assert decided.grad.isfinite().all()


def test_small_probabilities_are_not_lost() -> None:
    on = torch.tensor([1e-12, 3e-12])
    assert conditional(on).tolist() == pytest.approx([0.25, 0.75])
    ends = ends_of(Trellis(1), 1)
    assert set_probabilities(on, ends.targets, 2).tolist() == pytest.approx([0.25, 0.75, 0.0])
