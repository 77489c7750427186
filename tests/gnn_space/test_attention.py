"""Attention in one pass against its three steps: softmax, dropout, weighted sum."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gnn_space import aggregation, attention
from gnn_space import dropout as dropouts
from gnn_space.aggregation import aggregate, edge_softmax
from gnn_space.attention import attended
from gnn_space.compressed import CompressedEdges
from gnn_space.dropout import dropout

# Node 0 receives nothing; node 2 hears of node 1 twice and of itself.
EDGES = CompressedEdges(torch.tensor([[1, 3, 2, 0, 1], [2, 1, 2, 3, 2]]), 4).sorted


@pytest.fixture(autouse=True)
def one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregation, "MESSAGES_BELOW", 0)
    monkeypatch.setattr(aggregation, "_SCORES_BELOW", 0)
    monkeypatch.setattr(dropouts, "_FEW", 0)


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed), requires_grad=True)


def inputs() -> tuple[Tensor, Tensor]:
    return some(4, 2, 3), some(5, 2, seed=1)


def stepwise(hidden: Tensor, scores: Tensor, rate: float, reduce: str = "sum") -> Tensor:
    by_head = scores.t().contiguous().t()  # as scores lie in memory: the draws are dealt out in this order
    return aggregate(hidden, EDGES, dropout(edge_softmax(by_head, EDGES), rate, True), reduce)


@pytest.mark.parametrize("spread", [1.0, 500.0], ids=["near", "far"])
@pytest.mark.parametrize("reduce", ["sum", "mean"])
@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_one_pass_is_three_steps_with_their_gradients(rate: float, reduce: str, spread: float) -> None:
    hidden, scores = inputs()
    found = []
    for run in (stepwise, lambda *given: attended(given[0], given[1], EDGES, given[2], True, given[3])):
        torch.manual_seed(3)
        received = run(hidden, spread * scores, rate, reduce)
        gradient = torch.linspace(-1, 2, received.numel(), dtype=torch.float64).view_as(received)
        found.append([received, *torch.autograd.grad(received, (hidden, scores), gradient)])
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)


def test_no_coefficient_is_made_for_all_heads_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "edge_softmax", pytest.fail)
    attended(*inputs(), EDGES, 0.5, True).sum().backward()


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_both_derivatives_are_right(rate: float) -> None:
    def run(hidden: Tensor, scores: Tensor) -> Tensor:
        torch.manual_seed(3)
        return attended(hidden, scores, EDGES, rate, True)

    assert torch.autograd.gradcheck(run, inputs())
    assert torch.autograd.gradgradcheck(run, inputs())


def test_second_derivatives_by_one_input_alone_are_right() -> None:
    hidden, scores = inputs()
    assert torch.autograd.gradgradcheck(lambda x: attended(x, scores.detach(), EDGES, 0.0, True), (hidden,))
    assert torch.autograd.gradgradcheck(lambda x: attended(hidden.detach(), x, EDGES, 0.0, True), (scores,))


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_derivatives_are_right_where_scores_are_made_of_the_states(rate: float) -> None:
    def run(hidden: Tensor) -> Tensor:
        torch.manual_seed(3)
        ends = hidden.sum(-1).sin()
        scores = ends.index_select(0, EDGES.source) * ends.index_select(0, EDGES.target)
        return attended(hidden, scores, EDGES, rate, True)

    hidden, _ = inputs()
    once, kept = (torch.autograd.grad(run(hidden).sin().sum(), hidden, create_graph=keep)[0] for keep in (False, True))
    torch.testing.assert_close(kept, once, rtol=0, atol=1e-10)
    assert torch.autograd.gradgradcheck(run, (hidden,))


def test_nothing_is_dropped_in_evaluation() -> None:
    hidden, scores = inputs()
    assert torch.equal(attended(hidden, scores, EDGES, 0.5, False), attended(hidden, scores, EDGES, 0.0, True))


@pytest.mark.parametrize("case", ["max", "bfloat16", "unsorted"])
def test_what_one_pass_is_not_for_takes_the_steps(case: str) -> None:
    hidden, scores = inputs()
    edges = CompressedEdges(EDGES.edge_index.flip(1), 4) if case == "unsorted" else EDGES
    if case == "bfloat16":
        hidden, scores = hidden.bfloat16(), scores.bfloat16()
    reduce = "max" if case == "max" else "sum"
    expected = aggregate(hidden, edges, edge_softmax(scores, edges), reduce)
    assert torch.equal(attended(hidden, scores, edges, 0.0, True, reduce), expected)
