"""CLUSTER and PATTERN keep what their paper says of them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from gnn_space.data.block_graphs import BlockGraph, cluster_graph, new_pattern, pattern_graph
from gnn_space.data.block_models import BlockModelData, ClusterData, EdgeCommunityData, PatternData

SEEDS = range(40)


def adjacency(graph: BlockGraph) -> np.ndarray:
    matrix = np.zeros((len(graph.labels), len(graph.labels)), dtype=bool)
    matrix[graph.edges[0], graph.edges[1]] = True
    return matrix


def pairs(graph: BlockGraph) -> np.ndarray:
    """True where a pair of different nodes has one label, False where it has two; the diagonal is cut out."""
    same = graph.labels[:, None] == graph.labels
    return same[~np.eye(len(same), dtype=bool)]


def cluster(seed: int) -> BlockGraph:
    return cluster_graph(np.random.default_rng(seed))


def pattern(seed: int) -> BlockGraph:
    random = np.random.default_rng(seed)
    return pattern_graph(new_pattern(random), random)


@pytest.mark.parametrize("make", [cluster, pattern])
def test_edges_are_undirected_and_there_are_no_loops_and_no_doubles(make) -> None:
    for seed in SEEDS:
        graph = make(seed)
        matrix = adjacency(graph)
        assert (matrix == matrix.T).all()
        assert not matrix.diagonal().any()
        assert matrix.sum() == graph.edges.shape[1]


def test_cluster_has_six_communities_of_5_to_34_nodes() -> None:
    sizes = [list(Counter(cluster(seed).labels.tolist()).values()) for seed in range(200)]
    assert all(len(communities) == 6 for communities in sizes)
    everything = [size for communities in sizes for size in communities]
    assert (min(everything), max(everything)) == (5, 34)


def test_cluster_labels_one_node_of_each_community_with_its_number() -> None:
    for seed in SEEDS:
        graph = cluster(seed)
        shown = np.flatnonzero(graph.symbols)
        assert sorted(graph.labels[shown].tolist()) == list(range(6))
        assert (graph.symbols[shown] == graph.labels[shown] + 1).all()


def test_cluster_edges_have_probability_055_within_and_025_between_communities() -> None:
    graphs = [cluster(seed) for seed in SEEDS]
    same = np.concatenate([pairs(graph) for graph in graphs])
    joined = np.concatenate([adjacency(graph)[~np.eye(len(graph.labels), dtype=bool)] for graph in graphs])
    assert joined[same].mean() == pytest.approx(0.55, abs=0.01)
    assert joined[~same].mean() == pytest.approx(0.25, abs=0.01)


def test_nodes_are_shuffled() -> None:
    for graph in (cluster(0), pattern(0)):
        assert (np.diff(graph.labels) != 0).sum() > 10


def test_a_pattern_is_the_same_subgraph_wherever_it_is_planted() -> None:
    planted = new_pattern(np.random.default_rng(0))
    for seed in SEEDS:
        graph = pattern_graph(planted, np.random.default_rng(seed))
        members = np.flatnonzero(graph.labels)
        inside = adjacency(graph)[np.ix_(members, members)]
        assert sorted(inside.sum(axis=0)) == sorted(planted.adjacency.sum(axis=0))
        assert sorted(graph.symbols[members]) == sorted(planted.symbols)


def test_pattern_densities() -> None:
    within, across, outside = [], [], []
    for seed in range(100):
        graph = pattern(seed)
        matrix, member = adjacency(graph), graph.labels == 1
        within.append(matrix[np.ix_(member, member)].sum() / (member.sum() * (member.sum() - 1)))
        across.append(matrix[np.ix_(member, ~member)].mean())
        rest = matrix[np.ix_(~member, ~member)]
        outside.append(rest.sum() / (len(rest) * (len(rest) - 1)))
    assert np.mean(within) == pytest.approx(0.5, abs=0.03)
    assert np.mean(across) == pytest.approx(0.5, abs=0.01)
    assert 0.35 < np.mean(outside) < 0.42, "communities of 0.5 among pairs of 0.35"


def test_cluster_and_pattern_have_the_sizes_of_the_published_sets() -> None:
    nodes, edges = zip(*((len(cluster(seed).labels), cluster(seed).edges.shape[1]) for seed in range(300)), strict=True)
    assert np.mean(nodes) == pytest.approx(117.2, rel=0.03)
    assert np.mean(edges) == pytest.approx(4303, rel=0.05)
    nodes, edges = zip(*((len(pattern(seed).labels), pattern(seed).edges.shape[1]) for seed in range(300)), strict=True)
    assert np.mean(nodes) == pytest.approx(118.9, rel=0.03)
    assert np.mean(edges) == pytest.approx(6098, rel=0.05)


@pytest.mark.parametrize("cls", [ClusterData, PatternData, EdgeCommunityData])
def test_a_graph_does_not_depend_on_how_many_there_are(cls: type[BlockModelData]) -> None:
    few, many = cls(2, 1, 1).loaded, cls(5, 3, 2).loaded  # type: ignore[call-arg]
    for split in ("train", "val", "test"):
        one, other = getattr(few, split)[0], getattr(many, split)[0]
        assert torch.equal(one.edge_index, other.edge_index)
        assert torch.equal(one.x, other.x)
    assert not torch.equal(few.train[0].x, few.val[0].x)


@pytest.mark.parametrize(("cls", "symbols"), [(ClusterData, 7), (PatternData, 3), (EdgeCommunityData, 7)])
def test_edges_have_a_constant_feature_if_asked(cls: type[BlockModelData], symbols: int) -> None:
    plain, featured = cls(2, 1, 1), cls(2, 1, 1, edge_features=True)  # type: ignore[call-arg]
    assert (plain.task.edge_channels, featured.task.edge_channels) == (0, 1)
    assert plain.task.node_categories == featured.task.node_categories == (symbols,)
    batch = next(iter(featured.train_dataloader()))
    assert torch.equal(batch.edge_attr, torch.ones(batch.num_edges, 1))
    assert next(iter(plain.train_dataloader())).edge_attr is None


def test_edge_targets_say_whether_both_ends_are_in_one_community() -> None:
    edges, nodes = EdgeCommunityData(3, 1, 1), ClusterData(3, 1, 1)
    assert edges.task.level == "edge"
    for index in range(3):
        graph, labels = edges.loaded.train[index], nodes.loaded.train[index].y
        source, target = graph.edge_index
        assert torch.equal(graph.y, (labels[source] == labels[target]).long())


@pytest.mark.parametrize("name", ["num_train", "num_val", "num_test", "batch_size"])
def test_sizes_are_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is at least 1; got 0"):
        ClusterData(**{name: 0})


def test_more_graphs_than_memory_holds_are_not_begun() -> None:
    with pytest.raises(ValueError, match=r"ClusterData: 1,000,000,000,002 graphs would take .* GiB, more than half"):
        ClusterData(num_train=10**12, num_val=1, num_test=1).setup()
