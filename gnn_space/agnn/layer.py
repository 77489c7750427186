"""One layer of AGNN's supernet."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch_geometric.nn.inits import glorot

from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.partial_channels import Part
from gnn_space.agnn.sizes import AGNNSizes
from gnn_space.agnn.widths import Widths, Window, open_options, same_width, widths_of
from gnn_space.compressed import CompressedEdges
from gnn_space.dropout import dropout
from gnn_space.frame import feature_dropout
from gnn_space.operations import (
    ACTIVATIONS,
    ATTENTIONS,
    attention_coefficients,
    attention_vectors,
    combine_perceptron,
    received_from,
)

_ACTIVATIONS = {name: make() for name, make in ACTIVATIONS.items()}
# The vectors through which a head's channels are added up; all of them for the other functions.
_SUMMING = {"cos": ("target_weight",), "gene-linear": ("general_weight",)}


class WideLayer(nn.Module):
    """One layer of an `AGNNSupernet`.

    Args:
        choices: the layer's, by class.
        inputs: the widest input.
        outputs: the widest output.
        edge_channels: of edge features; 0: the task has none.
        sizes: of what surrounds the layers.
        skips: whether a skip connection leads around the layer.
        partial_channels: nodes attend to and aggregate one channel in so many of each head; the others pass by, as the
            linear map gives them, weighed by the sum of the gates of aggregations, and all are shuffled.
    """

    def __init__(
        self,
        choices: Mapping[str, Choice],
        inputs: Window,
        outputs: Window,
        edge_channels: int,
        sizes: AGNNSizes,
        skips: bool,
        partial_channels: int = 1,
    ) -> None:
        super().__init__()
        self.choices, self.partial_channels = choices, partial_channels
        self.inputs = inputs
        self.outputs = outputs
        self.dropout = sizes.dropout
        self.transform = nn.Linear(inputs.width, outputs.width, bias=False)
        self.edge_transform = nn.Linear(edge_channels, outputs.width, bias=False) if edge_channels else None
        glorot(self.transform.weight)
        attended = outputs.heads, Part(outputs.channels, partial_channels).mixed
        vectors = {name: attention_vectors(name, *attended, bool(edge_channels)) for name in ATTENTIONS}
        self.vectors = nn.ModuleDict({name: nn.ParameterDict(each) for name, each in vectors.items() if each})
        self.combine = combine_perceptron(outputs.width)
        self.bias = nn.Parameter(torch.zeros(outputs.width))
        self.norm = sizes.make_norm(outputs.width)
        self.skip = nn.Linear(inputs.width, outputs.width, bias=False) if skips else None

    def forward(
        self, x: Tensor, inputs: Widths | None, edges: CompressedEdges, edge_attr: Tensor | None, gates: Gates
    ) -> tuple[Tensor, Widths]:
        """The layer's states, each channel with its share, and their widths.

        Args:
            x: `[num_nodes, channels]`, the states of the layer before, or a task's features.
            inputs: the widths of the layer before; None: `x` are features.
            edges: of the graph, self-loops included.
            edge_attr: `[num_edges, edge_channels]`, or None.
            gates: of all layers.
        """
        widths = widths_of(gates, self.choices["heads"], self.choices["hidden_channels"])
        window = widths.window
        read = self.inputs if inputs is None else inputs.window
        state = feature_dropout(x, self.dropout, self.training)
        hidden = functional.linear(state, self.narrow(self.transform.weight, read, window)).unflatten(1, window)
        edge = None
        if self.edge_transform is not None:
            weight = self.outputs.cut(self.edge_transform.weight, window)
            edge = functional.linear(cast(Tensor, edge_attr), weight).unflatten(1, window)
        received = self._receive(hidden, edges, edge, gates, widths).flatten(1)
        state = self._combine(received, gates, widths) + self.outputs.cut(self.bias, window)
        state = self._activate(self._normalise(state, window), gates) * widths.share
        if self.skip is not None and inputs is not None:
            state = state + self._skipped(x, inputs, widths, self.skip.weight)
        return state, widths

    def _receive(
        self, hidden: Tensor, edges: CompressedEdges, edge: Tensor | None, gates: Gates, widths: Widths
    ) -> Tensor:
        """The mixture of what nodes receive, `[num_nodes, heads, channels]`."""
        part = Part(widths.window.channels, self.partial_channels)
        mixed, mixed_edge = part.of(hidden, 2), None if edge is None else part.of(edge, 2)
        narrow = widths._replace(window=Window(widths.window.heads, part.mixed), channels=widths.channels[: part.mixed])
        coefficients = self._coefficients(mixed, edges, mixed_edge, gates, narrow)
        receive = received_from(mixed, edges, mixed_edge, coefficients)
        received = self._aggregate(receive, edges.in_degree.to(hidden.dtype), gates)
        if part.share == 1:
            return received
        passed = _total([gate for _, gate in self._open(gates, "aggregation")]) * part.rest(hidden, 2)
        return part.shuffled(torch.cat([received, passed], dim=2), 2)

    def _coefficients(
        self, hidden: Tensor, edges: CompressedEdges, edge: Tensor | None, gates: Gates, widths: Widths
    ) -> Tensor:
        """The mixed attention coefficients, `[num_edges, heads]`, `[num_edges, 1]` or `[1, 1]`."""
        constant: Tensor | None = None
        learned: list[Tensor] = []
        for name, gate in self._open(gates, "attention"):
            vectors = self._vectors(name, widths)
            coefficients = attention_coefficients(name, hidden, edges, edge, vectors)
            if coefficients is None:
                constant = gate.view(1, 1)
            else:
                learned.append(gate * coefficients)
        if not learned:
            return cast(Tensor, constant)
        mixed = dropout(_total(learned), self.dropout, self.training)
        return mixed if constant is None else mixed + constant

    def _vectors(self, attention: str, widths: Widths) -> dict[str, Tensor]:
        """An attention function's vectors, narrowed, with the channels' shares where channels are added up."""
        narrow = self._narrow_vectors(attention, widths.window)
        return {
            name: vector * widths.channels if name in _SUMMING.get(attention, narrow.keys()) else vector
            for name, vector in narrow.items()
        }

    def _narrow_vectors(self, attention: str, window: Window) -> dict[str, Tensor]:
        if attention not in self.vectors:
            return {}
        parameters = cast(nn.ParameterDict, self.vectors[attention])
        return {
            name: vector[..., : window.heads, : window.channels] if vector.dim() > 1 else vector[: window.channels]
            for name, vector in parameters.items()
        }

    def _aggregate(self, receive: Callable[[str], Tensor], in_degree: Tensor, gates: Gates) -> Tensor:
        """The mixture of what nodes receive, `[num_nodes, heads, channels]`."""
        opened = dict(self._open(gates, "aggregation"))
        received: list[Tensor] = []
        if "max" in opened:
            received.append(opened["max"] * receive("max"))
        if "sum" in opened or "mean" in opened:
            # A mean is the sum by the number of messages, so both take one pass.
            scale: Tensor | float = opened.get("sum", 0.0)
            if "mean" in opened:
                scale = scale + opened["mean"] / in_degree.clamp(min=1).view(-1, 1, 1)
            received.append(scale * receive("sum"))
        return _total(received)

    def _combine(self, received: Tensor, gates: Gates, widths: Widths) -> Tensor:
        combined = []
        for name, gate in self._open(gates, "combine"):
            result = received
            if name == "mlp":
                result = functional_call(self.combine, self._perceptron(widths.window), (received * widths.share,))
            combined.append(gate * result)
        return _total(combined)

    def _normalise(self, state: Tensor, window: Window) -> Tensor:
        if self.norm is None:
            return state
        state_of_norm = {name: each for name, each in self.norm_state(window).items() if each.dim()}
        running = {name: each.clone() for name, each in state_of_norm.items() if "running" in name}
        result = functional_call(self.norm, {**state_of_norm, **running}, (state,))
        if self.training:
            for name, each in running.items():
                self.outputs.put(self.norm.get_buffer(name), each, window)
        return result

    def _activate(self, state: Tensor, gates: Gates) -> Tensor:
        return _total([gate * _ACTIVATIONS[name](state) for name, gate in self._open(gates, "activation")])

    def _skipped(self, x: Tensor, inputs: Widths, outputs: Widths, weight: Tensor) -> Tensor:
        same, remaining = same_width(x, inputs, outputs)
        parts = [] if same is None else [same]
        if remaining is not None:
            mapped = functional.linear(x, self.narrow(weight, inputs.window, outputs.window))
            parts.append(remaining * outputs.share * mapped)
        return _total(parts)

    def _open(self, gates: Gates, kind: str) -> list[tuple[str, Tensor]]:
        """The open options of a choice, by their names, and their gates."""
        choice = self.choices[kind]
        return [(str(choice.options[each]), gates[choice.name][each]) for each in open_options(gates, choice)]

    # Weights.

    def narrow(self, weight: Tensor, inputs: Window, outputs: Window) -> Tensor:
        """The part of a map from the widest input to the widest output that leads from and to narrower ones."""
        return self.outputs.cut(self.inputs.cut(weight, inputs, dim=1), outputs)

    def norm_state(self, outputs: Window) -> dict[str, Tensor]:
        """The weights and statistics of the normalisation of a narrower output, under the network's names."""
        if self.norm is None:
            return {}
        state = dict([*self.norm.named_parameters(), *self.norm.named_buffers()])
        return {name: self.outputs.cut(each, outputs) if each.dim() else each for name, each in state.items()}

    def _perceptron(self, outputs: Window) -> dict[str, Tensor]:
        """The weights of the combine function `mlp` between narrower states, under the names that they have in it."""
        state: dict[str, Tensor] = dict(self.combine.named_parameters())
        for name, dim in (("0.weight", 1), ("2.weight", 0), ("2.bias", 0)):
            state[name] = self.outputs.cut(state[name], outputs, dim)
        return state

    def weights(self, values: Mapping[str, Value], inputs: Window, outputs: Window) -> dict[str, Tensor]:
        """The weights that an `AttentionLayer` with these values takes over, under its names."""
        state = {"transform.weight": self.narrow(self.transform.weight, inputs, outputs)}
        if self.edge_transform is not None:
            state["edge_transform.weight"] = self.outputs.cut(self.edge_transform.weight, outputs)
        state |= self._narrow_vectors(str(values["attention"]), outputs)
        if values["combine"] == "mlp":
            state |= {f"combine.{name}": each for name, each in self._perceptron(outputs).items()}
        state["bias"] = self.outputs.cut(self.bias, outputs)
        return state


def _total(parts: Sequence[Tensor]) -> Tensor:
    # No zero in front, which `sum` would add: one pass over the states less.
    return functools.reduce(torch.add, parts)
