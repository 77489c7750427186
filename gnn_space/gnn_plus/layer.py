"""One layer of `GNNPlusSpace`'s supernet, and the output messages that all layers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from automl_plugins.spaces.choice import Value
from automl_plugins.supernets.partial_channels import Part
from gnn_space.gnn_plus.messages import Axis, Drop, Ends, Message, linear, make_message, with_edge_states
from gnn_space.gnn_plus.mixing import Gate, MixedNorm, One, Open, Width, narrowed, total
from gnn_space.gnn_plus.neighbourhood import Neighbourhood
from gnn_space.gnn_plus.network import make_activation

STATES: tuple[Axis, ...] = ("in", "out", "hidden")
"""The axes as wide as node states of a message between states; one from features has no `in`, of outputs no `out`."""

_ACTIVATIONS = {name: make_activation(name) for name in ("relu", "elu")}


class Flow(NamedTuple):
    """The things that all layers of a forward pass share.

    Args:
        graph: the edges.
        opened: the gates.
        width: the open channels.
        drop: mixed dropout.
        recomputes: whether messages are computed again in the backward pass, instead of being kept.
    """

    graph: Neighbourhood
    opened: Open
    width: Width
    drop: Drop
    recomputes: bool = False


class Source(NamedTuple):
    """One of the things that a layer may read.

    Args:
        x: states, or features.
        gate: of reading it.
        is_features: whether no option settles its width.
    """

    x: Tensor
    gate: Gate = One()
    is_features: bool = False


class MixedMessages(nn.Module):
    """All messages from one input to one output, each with weights of its own.

    Args:
        names: the options.
        ends: their widest sizes.
        state_axes: the axes of their weights that are as wide as node states.
    """

    def __init__(self, names: Sequence[str], ends: Ends, state_axes: tuple[Axis, ...]) -> None:
        super().__init__()
        self.options = nn.ModuleDict({name: make_message(name, ends) for name in names})
        self.state_axes = state_axes

    def forward(
        self, x: Tensor, edges: Tensor | None, flow: Flow, opened: Mapping[Value, Gate]
    ) -> tuple[Tensor, dict[Value, Tensor]]:
        """The messages mixed by their gates, and the new edge states of those that have any, not weighted."""
        mixed, updated = [], {}
        dropped = flow.drop(x)
        for name, gate in opened.items():
            weights, inputs = self.weights(str(name), flow.width), (dropped, flow.graph, edges, flow.drop)
            run = partial(functional_call, self.options[str(name)], weights, inputs, strict=True)
            received, new = checkpoint(run, use_reentrant=False) if flow.recomputes else run()
            mixed.append(gate * received)
            if new is not None:
                updated[name] = new
        return total(mixed), updated

    def weights(self, name: str, width: Width) -> dict[str, Tensor]:
        """A message's weights, narrowed."""
        return narrowed(cast(Message, self.options[name]), width, self.state_axes)


class PartialMessages(MixedMessages):
    """Messages between states that run on one channel in so many of each head.

    The other channels pass by, those of nodes weighed by the sum of the messages' gates, and all are shuffled; so it is
    with edge states.

    Args:
        names: the options.
        ends: see `MixedMessages`; as wide as the whole states.
        share: one channel in so many is mixed.
    """

    def __init__(self, names: Sequence[str], ends: Ends, share: int) -> None:
        mixed = ends.heads * Part(ends.outputs // ends.heads, share).mixed
        super().__init__(names, ends._replace(inputs=mixed, outputs=mixed, hidden=mixed), STATES)
        self.share, self.heads = share, ends.heads

    def forward(
        self, x: Tensor, edges: Tensor | None, flow: Flow, opened: Mapping[Value, Gate]
    ) -> tuple[Tensor, dict[Value, Tensor]]:
        part = Part(flow.width.window.channels, self.share)
        narrow = flow._replace(width=flow.width.partial(self.share))
        read = [None if each is None else part.of(self._apart(each), 2).flatten(1) for each in (x, edges)]
        mixed, updated = super().forward(cast(Tensor, read[0]), read[1], narrow, opened)
        states = self._joined(mixed, x, part, total(list(opened.values())))
        return states, {name: self._joined(new, cast(Tensor, edges), part, One()) for name, new in updated.items()}

    def _joined(self, mixed: Tensor, whole: Tensor, part: Part, gate: Gate) -> Tensor:
        rest = gate * part.rest(self._apart(whole), 2)
        return part.shuffled(torch.cat([self._apart(mixed), rest], dim=2), 2).flatten(1)

    def _apart(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.heads, -1))


class WideFeedForward(nn.Module):
    """The feed-forward blocks of one layer, as wide as the widest states.

    Args:
        norms: the options of the normalisation.
        channels: of the widest states.
    """

    def __init__(self, norms: Sequence[str], channels: int) -> None:
        super().__init__()
        self.first = linear(channels, 2 * channels)
        self.second = linear(2 * channels, channels)
        self.norm = MixedNorm(norms, channels)

    def forward(self, x: Tensor, flow: Flow) -> Tensor:
        weights = self.weights(flow.width)
        hidden = functional.relu(functional.linear(x, weights["first.weight"], weights["first.bias"]))
        added = functional.linear(flow.drop(hidden), weights["second.weight"], weights["second.bias"])
        normal: Tensor = self.norm(x + flow.width.share * added, flow.width, flow.opened("norm"))
        return normal * flow.width.share

    def weights(self, width: Width) -> dict[str, Tensor]:
        """The weights of a narrower block, which has the first channels of both halves of the hidden ones."""
        return {
            "first.weight": width.cut(self._halves(self.first.weight, width), 1),
            "first.bias": self._halves(self.first.bias, width),
            "second.weight": width.cut(self._halves(self.second.weight, width, 1)),
            "second.bias": width.cut(self.second.bias),
        }

    def _halves(self, weight: Tensor, width: Width, dim: int = 0) -> Tensor:
        return width.cut(weight.unflatten(dim, (2, width.widest.width)), dim + 1).flatten(dim, dim + 1)


class WideLayer(nn.Module):
    """One layer of a `GNNPlusSupernet`.

    Args:
        position: of the layer.
        names: the options of its message.
        norms: the options of the normalisation.
        ends: of its widest messages between states.
        features: channels of the features that a first layer may read itself; None: it does not.
        partial_channels: messages between states run on one channel in so many.
    """

    def __init__(
        self,
        position: int,
        names: Sequence[str],
        norms: Sequence[str],
        ends: Ends,
        features: int | None,
        partial_channels: int = 1,
    ) -> None:
        super().__init__()
        self.choice = f"layer{position}.message"
        is_whole = partial_channels == 1
        self.messages = (
            MixedMessages(names, ends, STATES) if is_whole else PartialMessages(names, ends, partial_channels)
        )
        self.from_features = None
        if features is not None:
            self.from_features = MixedMessages(names, ends._replace(inputs=features), ("out", "hidden"))
        self.norm = MixedNorm(norms, ends.outputs)
        self.edge_norm = MixedNorm(norms, ends.outputs) if with_edge_states(names) else None
        self.feed_forward = WideFeedForward(norms, ends.outputs)

    def forward(
        self,
        sources: Sequence[Source],
        edges: Tensor | None,
        flow: Flow,
        updates_edges: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """The layer's states, each channel with its share, and edge states.

        Args:
            sources: what the layer reads; a first layer may read features and states.
            edges: edge states; None: no layer reads them.
            flow: what all layers share.
            updates_edges: whether new edge states are read.
        """
        opened = flow.opened
        received, passed = [], []
        updated: dict[Value, list[Tensor]] = {}
        for source in sources:
            messages = self.from_features if source.is_features else self.messages
            states, new = cast(MixedMessages, messages)(source.x, edges, flow, opened(self.choice))
            received.append(source.gate * states)
            for name, each in new.items():
                updated.setdefault(name, []).append(source.gate * each)
            if not source.is_features:
                passed.append(source.gate * source.x)
        state = self._activate(self.norm(total(received), flow.width, opened("norm")), flow)
        residual = opened("residual").get(True)
        if residual is not None and passed:
            state = state + residual * total(passed)
        return self._fed_forward(state, flow), self._edges(edges, updated if updates_edges else {}, flow)

    def _activate(self, state: Tensor, flow: Flow) -> Tensor:
        opened = flow.opened("activation")
        return total([gate * _ACTIVATIONS[str(name)](state) for name, gate in opened.items()]) * flow.width.share

    def _fed_forward(self, state: Tensor, flow: Flow) -> Tensor:
        parts = []
        for has_block, gate in flow.opened("feed_forward").items():
            parts.append(gate * (self.feed_forward(state, flow) if has_block else state))
        return total(parts)

    def _edges(self, edges: Tensor | None, updated: Mapping[Value, Sequence[Tensor]], flow: Flow) -> Tensor | None:
        if edges is None or self.edge_norm is None:
            return edges
        opened = flow.opened(self.choice)
        for name, each in updated.items():
            normal = self.edge_norm(total(each), flow.width, flow.opened("norm"))
            edges = edges + opened[name] * self._activate(normal, flow)
        return edges


def network_layer(
    layer: WideLayer, name: str, norm: str, width: Width, reads_features: bool, feeds_forward: bool
) -> dict[str, Tensor]:
    """The weights that a layer of a network takes over, under its names; edge norms are always among them."""
    messages = layer.from_features if reads_features and layer.from_features is not None else layer.messages
    state = {f"message.{key}": each for key, each in messages.weights(name, width).items()}
    state |= {f"norm.{key}": each for key, each in layer.norm.state(norm, width).items()}
    if layer.edge_norm is not None:
        state |= {f"edge_norm.{key}": each for key, each in layer.edge_norm.state(norm, width).items()}
    if feeds_forward:
        block = layer.feed_forward
        state |= {f"feed_forward.{key}": each for key, each in block.weights(width).items()}
        state |= {f"feed_forward.norm.{key}": each for key, each in block.norm.state(norm, width).items()}
    return state
