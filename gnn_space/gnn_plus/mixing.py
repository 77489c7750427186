"""Parts of `GNNPlusSpace`'s supernet: what is open, narrowed weights, mixed dropout and normalisation."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.partial_channels import Part
from gnn_space.agnn.widths import Window
from gnn_space.frame import batch_norm, feature_dropout, scale_rows
from gnn_space.gnn_plus.messages import Axis, Message

Factor = TypeVar("Factor")
Summand = TypeVar("Summand", bound="Tensor | One")


class One:
    """A gate that is one and no variable: to multiply by it is to do nothing, so that a single path costs no more."""

    def __mul__(self, other: Factor) -> Factor:
        return other

    __rmul__ = __mul__


Gate = Tensor | One
"""The weight of an option, a number."""


class Open:
    """The open options of a space's choices, with their gates.

    Args:
        choices: of the space.
        gates: of all choices.
    """

    def __init__(self, choices: Sequence[Choice], gates: Mapping[str, Tensor]) -> None:
        self.gates = Gates.of(choices, gates)
        self.choices = {choice.name: choice for choice in choices}

    def __call__(self, name: str) -> dict[Value, Gate]:
        """Of a choice, each open option and its gate; nothing where the choice is not made, or the space has it not."""
        if name not in self.choices:
            return {}
        row, choice = self.gates[name], self.choices[name]
        if self.gates.is_constant_one(name):
            return {choice.options[self.gates.open(name)[0]]: One()}
        return {choice.options[each]: row[each] for each in self.gates.open(name)}


class Width(NamedTuple):
    """The open channels of node states, heads side by side.

    Args:
        widest: of the supernet's weights.
        window: of the widest open option.
        share: for each channel, the sum of the gates of the options that have it, `[window.width]`, or `One`.
    """

    widest: Window
    window: Window
    share: Gate

    def cut(self, tensor: Tensor, dim: int = 0) -> Tensor:
        """The open part of a weight with the widest states' channels along `dim`."""
        return self.widest.cut(tensor, self.window, dim)

    def partial(self, share: int) -> Width:
        """The width of one channel in so many of each head."""
        heads, channels = self.window
        mixed = Part(channels, share).mixed
        gates = self.share
        if isinstance(gates, Tensor):
            gates = gates.unflatten(0, (heads, channels))[:, :mixed].flatten()
        return Width(Window(heads, Part(self.widest.channels, share).mixed), Window(heads, mixed), gates)


def open_width(opened: Mapping[Value, Gate], widest: Window) -> Width:
    """The width of mixed options of `channels`.

    Raises:
        ValueError: none is open.
    """
    if not opened:
        raise ValueError("no option of 'channels' is open; at least one of its gates is not zero")
    sizes = {int(option or 0) // widest.heads: gate for option, gate in opened.items()}
    window = Window(widest.heads, max(sizes))
    gates = {size: gate for size, gate in sizes.items() if isinstance(gate, Tensor)}
    if not gates:
        return Width(widest, window, One())
    position = torch.arange(window.channels, device=next(iter(gates.values())).device)
    share = total([gate * (position < size) for size, gate in gates.items()])
    return Width(widest, window, share.repeat(window.heads))


def total(parts: Sequence[Summand]) -> Summand:
    """The sum of one or more tensors, without a zero in front: one pass less. Of gates, `One` stands alone."""
    return functools.reduce(torch.add, parts)  # type: ignore[arg-type]


def narrowed(message: Message, width: Width, state_axes: Sequence[Axis]) -> dict[str, Tensor]:
    """A message's weights between open channels, by name.

    Args:
        message: as wide as the widest option.
        width: the open channels.
        state_axes: the axes of its weights that are as wide as node states.
    """
    found: dict[str, Tensor] = {}
    weight: Tensor
    for name, weight in message.named_parameters():
        for dim, axis in enumerate(message.axes[name]):
            if axis in state_axes:
                weight = width.cut(weight, dim)
        found[name] = weight
    return found


class MixedDropout:
    """Dropout under gates: one draw, by which each option drops at its own rate; a single open one is the network's.

    Args:
        opened: the open rates and their gates.
        training: whether anything is dropped.
    """

    def __init__(self, opened: Mapping[Value, Gate], training: bool) -> None:
        self.opened = {float(rate or 0.0): gate for rate, gate in opened.items()}
        self.training = training

    def __call__(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        if len(self.opened) == 1:
            ((rate, _),) = self.opened.items()
            return feature_dropout(x, rate, self.training, functional.dropout)
        draw = torch.rand_like(_values(x))
        kept = total([cast(Tensor, gate) / (1 - rate) * (draw >= rate) for rate, gate in self.opened.items()])
        return scaled(x, kept)


def scaled(x: Tensor, factors: Tensor) -> Tensor:
    """Features, dense or in CSR layout, times factors of their values."""
    return _with_values(x, _values(x) * factors)


def scaled_rows(x: Tensor, opened: Mapping[Value, Gate]) -> Tensor:
    """Features, dense or in CSR layout, mixed of themselves and of scaled rows (`gnn_space.frame.scale_rows`)."""
    mixed = [gate * _values(scale_rows(x) if name == "rows" else x) for name, gate in opened.items()]
    return _with_values(x, total(mixed))


def _values(x: Tensor) -> Tensor:
    return x.values() if x.layout == torch.sparse_csr else x


def _with_values(x: Tensor, values: Tensor) -> Tensor:
    if x.layout != torch.sparse_csr:
        return values
    return torch.sparse_csr_tensor(x.crow_indices(), x.col_indices(), values, x.shape, check_invariants=False)


class MixedNorm(nn.Module):
    """The normalisations of one place, as wide as the widest states, mixed by gates.

    Args:
        names: the options.
        channels: of the widest states.
    """

    def __init__(self, names: Sequence[str], channels: int) -> None:
        super().__init__()
        self.batch = batch_norm(channels) if "batch" in names else None
        self.layer = nn.LayerNorm(channels) if "layer" in names else None

    def forward(self, x: Tensor, width: Width, opened: Mapping[Value, Gate]) -> Tensor:
        mixed = []
        for name, gate in opened.items():
            if name == "batch":
                mixed.append(gate * self._batch(x, width))
            elif name == "layer" and self.layer is not None:
                weights = (width.cut(self.layer.weight), width.cut(self.layer.bias))
                mixed.append(gate * functional.layer_norm(x, (x.size(1),), *weights, self.layer.eps))
            else:
                mixed.append(gate * x)
        return total(mixed)

    def _batch(self, x: Tensor, width: Width) -> Tensor:
        if self.batch is None:
            raise ValueError("the space offers no batch normalisation")
        state = {name: each for name, each in self.state("batch", width).items() if each.dim()}
        running = {name: each.clone() for name, each in state.items() if "running" in name}
        result = functional_call(self.batch, {**state, **running}, (x,))
        if self.training:
            for name, each in running.items():
                width.widest.put(self.batch.get_buffer(name), each, width.window)
        return result

    def state(self, name: str, width: Width) -> dict[str, Tensor]:
        """The weights and statistics of one of them, narrowed, under a network's names."""
        norm = {"batch": self.batch, "layer": self.layer}.get(name)
        if norm is None:
            return {}
        state = dict([*norm.named_parameters(), *norm.named_buffers()])
        return {name: width.cut(each) if each.dim() else each for name, each in state.items()}
