"""Windows of heads and channels, and what gates of widths make of them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from automl_plugins import Choice
from automl_plugins.supernets.gates import Gates
from gnn_space.agnn.widths import Widths, Window, same_width, widths_of

WIDE = Window(heads=4, channels=6)
HEADS = Choice("heads", (1, 2, 4))
CHANNELS = Choice("hidden_channels", (2, 4, 6))

SMALLER = st.builds(Window, st.integers(1, WIDE.heads), st.integers(1, WIDE.channels))
SHARES = st.lists(st.sampled_from((0.0, 0.25, 0.7, 1.0)), min_size=3, max_size=3).filter(any)


def widths(heads: list[float], channels: list[float]) -> Widths:
    weights = {"heads": heads, "hidden_channels": channels}
    gates = Gates.of(
        (HEADS, CHANNELS), {name: torch.tensor(each, dtype=torch.float64) for name, each in weights.items()}
    )
    return widths_of(gates, HEADS, CHANNELS)


def channels_of(wide: Window, smaller: Window) -> list[int]:
    """The positions of a smaller window's channels, one by one."""
    return [head * wide.channels + channel for head in range(smaller.heads) for channel in range(smaller.channels)]


@given(smaller=SMALLER)
def test_a_window_cuts_the_first_channels_of_the_first_heads(smaller: Window) -> None:
    rows = torch.arange(WIDE.width * 3).view(WIDE.width, 3)
    kept = channels_of(WIDE, smaller)
    assert torch.equal(WIDE.cut(rows, smaller), rows[kept])
    assert torch.equal(WIDE.cut(rows.t(), smaller, dim=1), rows.t()[:, kept])
    assert smaller.width == len(kept)


@given(smaller=SMALLER)
def test_what_is_put_or_placed_is_where_it_is_cut_from(smaller: Window) -> None:
    states = torch.rand(2, smaller.width)
    placed = WIDE.place(states, smaller)
    assert torch.equal(WIDE.cut(placed, smaller, dim=1), states)
    assert placed.count_nonzero() == states.count_nonzero()
    buffer = torch.zeros(WIDE.width)
    WIDE.put(buffer, states[0], smaller)
    assert torch.equal(buffer, placed[0])


@given(heads=SHARES, channels=SHARES)
def test_the_share_of_a_channel_is_the_sum_of_the_gates_of_the_options_that_have_it(
    heads: list[float], channels: list[float]
) -> None:
    found = widths(heads, channels)
    expected = torch.zeros(4, 6, dtype=torch.float64)
    for one, head_gate in zip(HEADS.options, heads, strict=True):
        for other, channel_gate in zip(CHANNELS.options, channels, strict=True):
            expected[:one, :other] += head_gate * channel_gate
    within = expected[: found.window.heads, : found.window.channels]
    torch.testing.assert_close(found.share, within.flatten())
    assert not expected[found.window.heads :].any()
    assert not expected[:, found.window.channels :].any()
    assert len(found.open) == sum(map(bool, heads)) * sum(map(bool, channels))


@given(one=st.tuples(SHARES, SHARES), other=st.tuples(SHARES, SHARES), seed=st.integers(0, 2**31))
def test_equal_widths_pass_their_states_on_with_the_product_of_their_gates(
    one: tuple[list[float], list[float]], other: tuple[list[float], list[float]], seed: int
) -> None:
    inputs, outputs = widths(*one), widths(*other)
    x = torch.randn(2, inputs.window.width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected: Tensor | None = None
    different: Tensor | None = None
    for source, source_gate in inputs.open:
        for target, target_gate in outputs.open:
            weight = source_gate * target_gate
            if source.width == target.width:
                passed = torch.zeros(2, outputs.window.width, dtype=torch.float64)
                passed[:, channels_of(outputs.window, target)] = x[:, channels_of(inputs.window, source)]
                expected = weight * passed if expected is None else expected + weight * passed
            else:
                different = weight if different is None else different + weight
    same, remaining = same_width(x, inputs, outputs)
    for found, wanted in ((same, expected), (remaining, different)):
        assert (found is None) == (wanted is None)
        if found is not None:
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_a_width_without_an_open_option_is_named() -> None:
    with pytest.raises(ValueError, match="no option of 'hidden_channels' is open"):
        widths([1.0, 0.0, 0.0], [0.0, 0.0, 0.0])
