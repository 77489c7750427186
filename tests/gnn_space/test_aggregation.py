"""Aggregation: sums, means and maxima of what nodes receive, by messages and by products, against loops over edges."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.utils import softmax

from gnn_space.aggregation import REDUCTIONS, aggregate, by_messages, by_products, edge_dots, edge_softmax
from gnn_space.compressed import CompressedEdges
from gnn_space.maxima import _by_chunks, _by_kernel
from gnn_space.products import dots, ends, product

# Node 0 receives nothing; node 2 hears of node 1 twice and of itself; the order is of neither end.
EDGES = torch.tensor([[1, 3, 2, 0, 1], [2, 1, 2, 3, 2]])


def some(*shape: int, seed: int = 0, **options: bool) -> Tensor:
    made = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return made.requires_grad_(options.get("requires_grad", False))


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
def test_a_node_receives_the_weighted_features_of_its_sources(form: str, reduce: str, weighted: bool) -> None:
    x, weights = some(4, 2, 3), some(5, 2, seed=1) if weighted else None
    torch.testing.assert_close(
        aggregate(x, EDGES, weights, reduce), by_hand(x, EDGES, weights, reduce), rtol=0, atol=1e-10
    )


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_products_are_messages_with_their_gradients_on_any_graph(data: st.DataObject) -> None:
    nodes, count = data.draw(st.integers(1, 6), "nodes"), data.draw(st.integers(0, 12), "edges")
    heads, channels = data.draw(st.integers(1, 3), "heads"), data.draw(st.integers(1, 3), "channels")
    reduce, columns = data.draw(st.sampled_from(REDUCTIONS)), data.draw(st.sampled_from([0, 1, heads]), "weights")
    ends = st.lists(st.integers(0, nodes - 1), min_size=count, max_size=count)
    edge_index = torch.tensor([data.draw(ends, "sources"), data.draw(ends, "targets")], dtype=torch.long)
    if reduce == "max":  # the forms divide the gradient of equals among parallel edges otherwise
        edge_index = edge_index.unique(dim=1)[:, torch.randperm(edge_index.unique(dim=1).size(1))]
    inputs = [some(nodes, heads, channels, requires_grad=True)]
    if columns:
        inputs.append(some(edge_index.size(1), columns, seed=1, requires_grad=True))
    found = []
    for form in (by_messages, by_products):
        received = form(inputs[0], CompressedEdges(edge_index, nodes), inputs[1] if columns else None, reduce)
        gradient = some(*received.shape, seed=2)
        found.append([received, *torch.autograd.grad(received, inputs, gradient, materialize_grads=True)])
    for theirs, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("columns", [1, 2])
def test_second_derivatives_are_right(reduce: str, columns: int) -> None:
    edges = CompressedEdges(EDGES, 4)
    inputs = (some(4, 2, 3, requires_grad=True), some(5, columns, seed=1, requires_grad=True))

    def run(x: Tensor, weights: Tensor) -> Tensor:
        return by_products(x, edges, weights, reduce)

    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


@pytest.mark.parametrize("nodes", [1, 2])
def test_more_parallel_edges_than_pairs_of_nodes_are_all_counted(nodes: int) -> None:
    edge_index = torch.arange(2 * 7).view(2, 7) % nodes
    edges = CompressedEdges(edge_index, nodes)
    inputs = (some(nodes, 2, 3, requires_grad=True), some(7, 2, seed=1, requires_grad=True))
    for _ in range(2):  # the second time with the same compressed edges
        found = [
            torch.autograd.grad(form(inputs[0], edges, inputs[1], "sum").sin().sum(), inputs)
            for form in (by_messages, by_products)
        ]
        for theirs, ours in zip(*found, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    assert torch.autograd.gradgradcheck(lambda x, weights: by_products(x, edges, weights, "sum"), inputs)
    a, b = inputs[0], some(nodes, 2, 3, seed=2)
    theirs = (a[edge_index[1]] * b[edge_index[0]]).sum(-1)
    torch.testing.assert_close(dots(a, b, edges), theirs, rtol=0, atol=1e-10)


def test_second_derivatives_of_dots_ends_and_softmax_are_right(form: str) -> None:
    edges = CompressedEdges(EDGES, 4)
    nodes = (some(4, 2, 3, requires_grad=True), some(4, 2, 3, seed=1, requires_grad=True))
    assert torch.autograd.gradgradcheck(lambda a, b: edge_dots(a, b, edges), nodes)
    numbers = (some(4, 2, requires_grad=True), some(4, 2, seed=1, requires_grad=True))
    assert torch.autograd.gradcheck(lambda a, b: ends(a, b, edges), numbers)
    assert torch.autograd.gradgradcheck(lambda a, b: ends(a, b, edges).square(), numbers)
    assert torch.autograd.gradgradcheck(
        lambda scores: edge_softmax(scores, edges), (some(5, 2, requires_grad=True).detach().requires_grad_(),)
    )


def test_the_softmax_runs_over_the_incoming_edges(form: str) -> None:
    scores = 50 * some(5, 2)
    theirs = softmax(scores, EDGES[1], num_nodes=4)
    torch.testing.assert_close(edge_softmax(scores, CompressedEdges(EDGES, 4)), theirs, rtol=0, atol=1e-10)


def test_dots_are_of_each_edges_ends(form: str) -> None:
    a, b = some(4, 2, 3), some(4, 2, 3, seed=1)
    theirs = (a[EDGES[1]] * b[EDGES[0]]).sum(-1)
    torch.testing.assert_close(edge_dots(a, b, CompressedEdges(EDGES, 4)), theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
def test_maxima_are_found_by_chunks_where_there_is_no_kernel(weighted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnn_space.maxima._CHUNK", 10)
    rows = CompressedEdges(EDGES, 4).by_target
    x, weights = some(4, 3), some(5, seed=1) if weighted else None
    x[0, 1], x[3, 2] = float("nan"), float("inf")
    assert torch.equal(_by_chunks(x, weights, rows), _by_kernel(x, weights, rows))


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), float("inf")])
def test_values_that_are_no_number_reach_the_maximum(form: str, value: float) -> None:
    received = aggregate(torch.full((4, 1), value), EDGES, reduce="max").flatten()
    torch.testing.assert_close(received, torch.tensor([0, value, value, value]), equal_nan=True)


def test_half_precisions_are_added_up_in_single_precision(form: str) -> None:
    edge_index = torch.stack([torch.arange(1, 513), torch.zeros(512, dtype=torch.long)])
    if form == "products":
        assert float(aggregate(torch.ones(513, 1, dtype=torch.bfloat16), edge_index)[0]) == 512
    with torch.autocast("cpu", dtype=torch.bfloat16):
        received = aggregate(torch.ones(513, 1), edge_index, torch.full((512, 1), 1.001))
    # Autocast rounds the operands of matrix products, and would round the weights to 1.
    assert float(received[0]) == pytest.approx(512.512, rel=1e-4)


def test_nodes_that_receive_may_be_others_than_those_that_send(form: str) -> None:
    edge_index = torch.tensor([[0, 4], [1, 1]])
    x = torch.arange(5.0).unsqueeze(1)
    assert aggregate(x, edge_index, num_nodes=2).tolist() == [[0.0], [4.0]]


def test_edges_that_came_sorted_are_not_sorted_again() -> None:
    edges = CompressedEdges(EDGES[:, [1, 0, 4, 2, 3]], 4)
    assert edges.by_target.order is None
    assert edges.by_target is edges.by_target
    assert edges.by_source.order is not None


def test_one_compression_serves_layers_and_both_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    sorts, argsort = [], torch.argsort
    monkeypatch.setattr(torch, "argsort", lambda *inputs, **options: sorts.append(1) or argsort(*inputs, **options))
    edges, x = CompressedEdges(EDGES, 4), some(4, 1, 2, requires_grad=True)
    product(product(x, None, edges), None, edges).sum().backward()
    assert len(sorts) == 2  # by targets for the forward pass, by sources for the backward pass


def test_features_without_heads_are_those_of_one_head() -> None:
    x, weights = torch.randn(4, 4), torch.rand(5)
    with_head = aggregate(x.unsqueeze(1), EDGES, weights.unsqueeze(1))
    assert torch.equal(aggregate(x, EDGES, weights), with_head.squeeze(1))


def test_an_unknown_reduction_is_named() -> None:
    with pytest.raises(ValueError, match="reduce='median' is none of sum, mean, max"):
        aggregate(torch.ones(2, 1), torch.tensor([[0], [1]]), reduce="median")


def test_weights_that_fit_neither_edges_nor_heads_are_named() -> None:
    with pytest.raises(ValueError, match=r"\[2, 3\]; 1 edges and 2 heads need \[1, 2\], \[1, 1\] or \[1\]"):
        aggregate(torch.ones(2, 2, 1), torch.tensor([[0], [1]]), torch.ones(2, 3))


def test_an_edge_to_a_node_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="edge_index has targets from 1 to 7; the 2 nodes are 0 to 1"):
        aggregate(torch.ones(2, 1), torch.tensor([[0, 0], [1, 7]]))
