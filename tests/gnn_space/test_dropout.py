"""Dropout by pieces of random words."""

from __future__ import annotations

import pytest
import torch

from gnn_space.dropout import Draws, dropout

MANY = (400, 250)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("rate", [0.1, 0.6, 0.999])
def test_numbers_are_kept_at_the_rate_and_scaled_by_it(rate: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    dropped = dropout(torch.ones(MANY, dtype=dtype), rate, True)
    count, probability = dropped.numel(), 1 - rate
    deviation = (count * probability * rate) ** 0.5
    assert abs(int((dropped != 0).sum()) - count * probability) < 5 * deviation + 2
    (value,) = dropped[dropped != 0].unique().tolist()
    assert value == pytest.approx(1 / probability, rel=0.01)


@pytest.mark.parametrize("rate", [1e-9, 0.2, 0.6, 1 - 1e-9])
def test_the_mean_is_exact(rate: float) -> None:
    draws = Draws(1, rate)
    pieces = torch.arange(-(2**15), 2**15).to(torch.int16)
    kept = 2**16 if draws._pieces is None else int((pieces >= draws._least).sum())
    assert kept * draws.scale == pytest.approx(2**16, rel=1e-12)


def test_the_global_generator_settles_the_draw() -> None:
    x, drawn = torch.ones(MANY), []
    for _ in range(2):
        torch.manual_seed(5)
        drawn.append((dropout(x, 0.5, True), dropout(x, 0.5, True)))
    assert torch.equal(drawn[0][0], drawn[1][0])
    assert torch.equal(drawn[0][1], drawn[1][1])
    assert not torch.equal(drawn[0][0], drawn[0][1])


def test_the_four_pieces_of_a_word_are_independent() -> None:
    torch.manual_seed(0)
    kept = (dropout(torch.ones(4 * 50_000), 0.5, True) > 0).double().view(-1, 4)
    assert (torch.corrcoef(kept.t()) - torch.eye(4)).abs().max() < 0.025


def test_the_gradient_passes_where_numbers_were_kept() -> None:
    x = torch.ones(MANY, requires_grad=True)
    dropped = dropout(x, 0.6, True)
    dropped.sum().backward()
    assert torch.equal(x.grad, dropped.detach())


def test_a_part_is_dropped_by_the_draws_of_the_whole() -> None:
    draws, x = Draws(30, 0.5), torch.rand(3, 10)
    parts = torch.stack([draws.keep(x[row], row, torch.empty(10)) for row in range(3)])
    torch.testing.assert_close(parts * draws.scale, x * draws.factors(x))


def test_memory_that_is_not_in_the_order_of_the_shape_is_dropped_alike() -> None:
    dropped = dropout(torch.ones(MANY).t(), 0.5, True)
    assert dropped.stride() == torch.ones(MANY).t().stride()
    assert set(dropped.unique().tolist()) == {0.0, 2.0}


def test_nothing_is_dropped_at_no_rate_or_in_evaluation_and_all_at_one() -> None:
    x = torch.rand(MANY)
    assert torch.equal(dropout(x, 0.0, True), x)
    assert torch.equal(dropout(x, 0.5, False), x)
    assert not dropout(x, 1.0, True).any()


def test_a_rate_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        dropout(torch.ones(MANY), 1.5, True)
