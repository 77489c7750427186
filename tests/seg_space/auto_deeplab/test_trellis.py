"""The trellis of resolutions: how many paths it has, which is the best, and what is run of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seg_space.auto_deeplab.trellis import Node, Trellis, number_of_paths

Weights = dict[tuple[int, int], list[float]]


def every_path(trellis: Trellis) -> Iterator[tuple[int, ...]]:
    for path in itertools.product(trellis.strides, repeat=trellis.layers):
        steps = zip((trellis.stem_stride, *path), path, strict=False)
        if all(after in (before // 2, before, before * 2) for before, after in steps):
            yield path


def score(trellis: Trellis, weights: Weights, path: Sequence[int]) -> tuple[int, int, float]:
    """The numbers of closed edges and of those without weight, negative, and the logarithm of the others' shares."""
    opened, possible, total = 0, 0, 0.0
    for layer, (before, after) in enumerate(zip((trellis.stem_stride, *path), path, strict=False), start=1):
        row = weights[layer, before]
        weight = row[trellis.following(before).index(after)]
        if weight == -math.inf:
            opened -= 1
        elif weight == 0:
            possible -= 1
        else:
            total += math.log(weight / sum(each for each in row if each > 0))
    return opened, possible, total


@st.composite
def weighted(draw: st.DrawFn) -> tuple[Trellis, Weights]:
    """A small trellis and weights of its edges: closed, impossible and equal ones are frequent."""
    trellis = Trellis(draw(st.integers(1, 6)), draw(st.sampled_from((1, 2, 4))))
    weight = st.one_of(st.sampled_from((-math.inf, 0.0, 1.0, 2.0)), st.floats(1e-6, 1.0))
    return trellis, {
        source: draw(st.lists(weight, min_size=len(following), max_size=len(following)))
        for source in trellis.sources
        for following in [trellis.following(source[1])]
    }


def of(weights: Weights) -> Callable[[int, int], list[float]]:
    return lambda layer, source: weights[layer, source]


@pytest.mark.parametrize(("transitions", "paths"), [(4, 34), (6, 233), (8, 1597), (11, 28_657), (12, 75_025)])
def test_paths_are_counted(transitions: int, paths: int) -> None:
    # 28,657 is the paper's 2.9e4: the edges between 12 layers, without the one from the stem to the first.
    assert number_of_paths(transitions) == paths


@pytest.mark.parametrize("layers", [1, 2, 4, 6])
def test_as_many_paths_are_counted_as_there_are(layers: int) -> None:
    assert number_of_paths(layers) == len(list(every_path(Trellis(layers))))


@given(weighted())
def test_the_best_path_is_the_best_of_all(case: tuple[Trellis, Weights]) -> None:
    trellis, weights = case
    path = trellis.best_path(of(weights))
    paths = list(every_path(trellis))
    assert path in paths
    # Sums are taken in the same order, so equal is equal.
    assert score(trellis, weights, path) == max(score(trellis, weights, each) for each in paths)


@given(weighted())
def test_a_path_of_one_hot_weights_is_found_again(case: tuple[Trellis, Weights]) -> None:
    trellis, weights = case
    path = trellis.best_path(of(weights))
    steps = list(zip((trellis.stem_stride, *path), path, strict=False))
    one_hot = {
        (layer, source): [float(steps[layer - 1] == (source, target)) for target in trellis.following(source)]
        for layer, source in trellis.sources
    }
    assert trellis.best_path(of(one_hot)) == path


def test_the_decoder_is_not_greedy() -> None:
    trellis = Trellis(2)
    # The likelier first edge leads to where the second step is a toss-up.
    weights = {(1, 4): [0.45, 0.55], (2, 4): [0.99, 0.01], (2, 8): [0.4, 0.3, 0.3]}
    assert trellis.best_path(of(weights)) == (4, 4)


def test_a_closed_edge_is_worse_than_any_number_without_weight() -> None:
    weights = {(1, 4): [-math.inf, 0.0], (2, 4): [1.0, 1.0], (2, 8): [0.0, 0.0, 0.0]}
    assert Trellis(2).best_path(of(weights)) == (8, 4)


def test_among_equal_paths_the_finest_is_taken() -> None:
    trellis = Trellis(3)
    assert trellis.best_path(lambda layer, source: [1.0] * len(trellis.following(source))) == (4, 4, 4)


@pytest.mark.parametrize("weight", [-1.0, math.nan])
def test_weights_that_are_no_weights_are_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="not negative"):
        Trellis(1).best_path(lambda layer, source: [1.0, weight])


def test_what_leaves_a_node_of_the_border_sums_to_one_like_any() -> None:
    # Another implementation scales the softmax of nodes with two edges by 2/3. Here a path that stays at the border
    # wins over one that leaves it exactly where its shares say so.
    trellis = Trellis(2)
    weights = {(1, 4): [0.5, 0.5], (2, 4): [0.7, 0.3], (2, 8): [0.6, 0.2, 0.2]}
    assert trellis.best_path(of(weights)) == (4, 4)


@pytest.mark.parametrize(("layers", "nodes", "passes"), [(8, 29, 65), (12, 45, 105)])
def test_where_all_is_open_every_node_is_run_for_every_edge(layers: int, nodes: int, passes: int) -> None:
    trellis = Trellis(layers)
    run = trellis.open_nodes(lambda layer, source: trellis.following(source))
    assert len(run) == nodes
    assert sum(len(node.incoming) for node in run) == passes
    late = [node for node in run if node.layer > 4]
    assert all(node.before == (node.stride,) for node in late), "the second input is the paper's"


@given(weighted())
def test_of_a_path_each_layer_is_run_once(case: tuple[Trellis, Weights]) -> None:
    trellis, weights = case
    path = trellis.best_path(of(weights))
    taken = (trellis.stem_stride, trellis.stem_stride, *path)
    assert trellis.path_nodes(path) == tuple(
        Node(layer, stride, (taken[layer],), (taken[layer - 1],)) for layer, stride in enumerate(path, start=1)
    )


def test_a_node_that_nobody_reads_is_not_run() -> None:
    # Layer 2 goes to stride 16 and ends there; as a second input it would be read by layer 4 alone.
    trellis = Trellis(3)
    edges = {(1, 4): (8,), (2, 8): (8, 16), (3, 8): (8,), (3, 16): ()}
    run = trellis.open_nodes(lambda layer, source: edges[layer, source])
    assert [(node.layer, node.stride) for node in run] == [(1, 8), (2, 8), (3, 8)]


def test_a_second_input_that_is_not_run_is_replaced_by_what_is() -> None:
    trellis = Trellis(4)
    edges = {(1, 4): (4, 8), (2, 4): (4,), (2, 8): (16,), (3, 4): (8,), (3, 16): (16,), (4, 8): (8,), (4, 16): (16,)}
    run = {(node.layer, node.stride): node for node in trellis.open_nodes(lambda *source: edges[source])}
    assert run[3, 8].before == (8,)
    assert run[3, 16].before == (4, 8), "layer 1 has no stride 16: all of it within two edges"
    assert run[4, 16].before == (16,)
    assert run[4, 8].before == (4, 16)
