"""Widths of AGNN's layers: how many heads and channels are open, and how much of each there is."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional

from automl_plugins.spaces.choice import Choice
from automl_plugins.supernets.gates import Gates


class Window(NamedTuple):
    """The first `heads` heads of a layer, with the first `channels` channels of each; other inputs are one head."""

    heads: int
    channels: int

    @property
    def width(self) -> int:
        """All channels of all heads."""
        return self.heads * self.channels

    def cut(self, tensor: Tensor, smaller: Window, dim: int = 0) -> Tensor:
        """The part of a tensor with this window's channels along `dim` that a smaller window keeps."""
        if smaller == self:
            return tensor
        apart = tensor.unflatten(dim, self).narrow(dim, 0, smaller.heads).narrow(dim + 1, 0, smaller.channels)
        return apart.flatten(dim, dim + 1)

    def put(self, tensor: Tensor, values: Tensor, smaller: Window) -> None:
        """Write what a smaller window holds into a buffer `[width]`."""
        tensor.unflatten(0, self)[: smaller.heads, : smaller.channels] = values.unflatten(0, smaller)

    def place(self, states: Tensor, smaller: Window) -> Tensor:
        """Zeros `[num_rows, width]` but for the channels of a smaller window, which are those of `states`."""
        missing = (0, self.channels - smaller.channels, 0, self.heads - smaller.heads)
        return functional.pad(states.unflatten(1, smaller), missing).flatten(1)


class Widths(NamedTuple):
    """The gates of a layer's width as channel masks (FBNetV2, Wan et al. 2020, section 3.1).

    Args:
        window: what the widest open options have.
        heads: for each head, the sum of the gates of the options that have it, `[window.heads]`.
        channels: likewise for each channel of a head, `[window.channels]`.
        open: every combination of open options, and the product of its gates.
    """

    window: Window
    heads: Tensor
    channels: Tensor
    open: list[tuple[Window, Tensor]]

    @property
    def share(self) -> Tensor:
        """The share of each channel, `[window.width]`."""
        return (self.heads.unsqueeze(1) * self.channels).flatten()


def widths_of(gates: Gates, heads: Choice, channels: Choice) -> Widths:
    """The widths after the gates of the two choices.

    Raises:
        ValueError: a choice without an open option.
    """
    head_options, head_shares = _shares(gates, heads)
    channel_options, channel_shares = _shares(gates, channels)
    combinations = [
        (Window(one, other), head_gate * channel_gate)
        for one, head_gate in head_options
        for other, channel_gate in channel_options
    ]
    return Widths(Window(len(head_shares), len(channel_shares)), head_shares, channel_shares, combinations)


def open_options(gates: Gates, choice: Choice) -> tuple[int, ...]:
    """The positions of the open options of a choice that needs one.

    Raises:
        ValueError: there is none.
    """
    opened = gates.open(choice.name)
    if not opened:
        raise ValueError(f"no option of {choice.name!r} is open; at least one of its gates is not zero")
    return opened


def _shares(gates: Gates, choice: Choice) -> tuple[list[tuple[int, Tensor]], Tensor]:
    row = gates[choice.name]
    opened = [(cast(int, choice.options[position]), row[position]) for position in open_options(gates, choice)]
    sizes = torch.tensor([size for size, _ in opened], device=row.device)
    masks = torch.arange(max(size for size, _ in opened), device=row.device) < sizes.unsqueeze(1)
    return opened, torch.stack([gate for _, gate in opened]) @ masks.to(row.dtype)


def same_width(x: Tensor, inputs: Widths, outputs: Widths) -> tuple[Tensor | None, Tensor | None]:
    """A skip connection's identity, for all combinations of an input's and an output's width that are equal.

    Args:
        x: `[num_nodes, inputs.window.width]`.
        inputs: the widths of `x`.
        outputs: the widths of what it is added to.

    Returns:
        The sum `[num_nodes, outputs.window.width]` of what each combination passes on, weighted by its gates
        (None: no combination has equal widths), and the weight of all other combinations (None: there are none).
    """
    wanted = {window.width for window, _ in outputs.open}
    passed: dict[int, Tensor] = {}
    weights: dict[int, Tensor] = {}
    for window, gate in inputs.open:
        if window.width in wanted:
            # As the network has it: the heads side by side, however wide each of them is.
            states = gate * inputs.window.cut(x, window, dim=1)
            passed[window.width] = passed[window.width] + states if window.width in passed else states
            weights[window.width] = weights.get(window.width, 0.0) + gate
    total: Tensor | None = None
    equal: Tensor | float = 0.0
    pairs = 0
    for window, gate in outputs.open:
        if window.width in passed:
            placed = gate * outputs.window.place(passed[window.width], window)
            total = placed if total is None else total + placed
            equal = equal + gate * weights[window.width]
            pairs += sum(other.width == window.width for other, _ in inputs.open)
    if pairs == len(inputs.open) * len(outputs.open):
        return total, None
    every = sum(gate for _, gate in inputs.open) * sum(gate for _, gate in outputs.open)
    return total, cast(Tensor, every - equal)
