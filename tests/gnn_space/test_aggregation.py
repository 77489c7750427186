"""Aggregation: sums, means and maxima of what nodes receive, against loops over edges."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gnn_space.aggregation import REDUCTIONS, aggregate


def by_hand(x: Tensor, edge_index: Tensor, weights: Tensor | None, reduce: str) -> Tensor:
    """Loops over nodes and edges; x `[num_nodes, heads, channels]`, weights `[num_edges, heads]`."""
    received = torch.zeros_like(x)
    for node in range(x.size(0)):
        edges = [edge for edge in range(edge_index.size(1)) if edge_index[1, edge] == node]
        if not edges:
            continue
        messages = torch.stack(
            [x[edge_index[0, edge]] * (1 if weights is None else weights[edge].unsqueeze(-1)) for edge in edges]
        )
        received[node] = {"sum": messages.sum(0), "mean": messages.mean(0), "max": messages.amax(0)}[reduce]
    return received


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
def test_a_node_receives_the_weighted_features_of_its_sources(reduce: str, weighted: bool) -> None:
    # Node 0 receives nothing; node 2 hears of node 1 twice and of itself.
    edge_index = torch.tensor([[3, 1, 2, 1, 0], [1, 2, 2, 2, 3]])
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 2, 3, dtype=torch.float64, generator=generator)
    weights = torch.randn(5, 2, dtype=torch.float64, generator=generator) if weighted else None
    torch.testing.assert_close(
        aggregate(x, edge_index, weights, reduce), by_hand(x, edge_index, weights, reduce), rtol=0, atol=1e-10
    )


def test_features_without_heads_are_those_of_one_head() -> None:
    edge_index = torch.tensor([[0, 1, 1], [1, 0, 2]])
    x, weights = torch.randn(3, 4), torch.rand(3)
    with_head = aggregate(x.unsqueeze(1), edge_index, weights.unsqueeze(1))
    assert torch.equal(aggregate(x, edge_index, weights), with_head.squeeze(1))


def test_an_unknown_reduction_is_named() -> None:
    with pytest.raises(ValueError, match="reduce='median' is none of sum, mean, max"):
        aggregate(torch.ones(2, 1), torch.tensor([[0], [1]]), reduce="median")


def test_weights_that_fit_neither_edges_nor_heads_are_named() -> None:
    with pytest.raises(ValueError, match=r"\[2, 3\]; 1 edges and 2 heads need \[1, 2\], \[1, 1\] or \[1\]"):
        aggregate(torch.ones(2, 2, 1), torch.tensor([[0], [1]]), torch.ones(2, 3))
