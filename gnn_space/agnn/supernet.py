"""AGNN's supernet: layers as wide as the widest option, in which narrower ones are the first heads and channels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice
from automl_plugins.spaces.task import Task
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.supernet import Supernet
from gnn_space.agnn.layer import WideLayer
from gnn_space.agnn.network import ScaledEncoder, with_self_loops
from gnn_space.agnn.sizes import CLASSES, AGNNSizes
from gnn_space.agnn.widths import Widths, Window
from gnn_space.compressed import CompressedEdges
from gnn_space.frame import Head, TakesGraphs, feature_dropout


class AGNNSupernet(TakesGraphs, Supernet):
    """All architectures of an `AGNNSpace`; inputs and output as those of `AGNNNetwork`.

    **What is shared.** Each layer has one linear map of its inputs, one of edge features, one `mlp` for
    `combine`, one bias, one normalisation and one skip connection, as wide as the widest option. An option with
    fewer heads uses the first heads, one with fewer hidden channels the first channels of each head, and the
    maps that read its output (next layer, skip connection, head) the columns that belong to them. All attention
    functions share the linear maps, but each has its vectors (`target_weight` and the like) for itself: they are
    small beside the maps, and what scores well inside a tanh does not inside a product. Aggregations and
    activations have no weights. The input encoder and the hidden layer of the head are shared by all.

    **What soft gates compute.** In each layer, one step after the other: attention coefficients are mixed by
    their gates (`constant` adds its gate to all of them, after dropout), the messages weighted by the mixture
    are aggregated once for each open aggregation and the results mixed, then the combine functions' results,
    then the activations'. Widths are channel masks: wherever channels are added up (attention scores, the
    first map of `mlp`, all that reads the layer's output) each one counts with its share, the sum of the gates
    of the options that have it. Shares do not enter the normalisation, which would undo them. A skip connection
    is the identity for combinations of equal input and output width, each weighted by the product of its
    gates, and the linear map with the weight that is left. With one-hot gates all of this is the network.

    **What is not run.** Options with a gate of zero; of the layers and their weights only the heads and
    channels that the widest open options have.

    Args:
        choices: of each layer, its action classes in their order.
        task: what the networks must fit.
        sizes: of what surrounds the layers.
        partial_channels: attention and aggregation run on one channel in so many of each head (PC-DARTS).
    """

    def __init__(self, choices: Sequence[Choice], task: Task, sizes: AGNNSizes, partial_channels: int = 1) -> None:
        super().__init__()
        self.partial_channels = partial_channels
        self.choices = tuple(choices)
        self.dropout = sizes.dropout
        self.encoder = ScaledEncoder(task, sizes.node_embedding, sizes.edge_embedding)
        inputs = Window(1, self.encoder.node_channels)
        self.layers = nn.ModuleList()
        for first in range(0, len(choices), len(CLASSES)):
            layer_choices = {choice.kind: choice for choice in choices[first : first + len(CLASSES)]}
            widths = (layer_choices[kind].options for kind in ("heads", "hidden_channels"))
            widest = Window(*(max(cast(tuple[int, ...], options)) for options in widths))
            skips = sizes.skip_connections and first > 0
            edge_channels = self.encoder.edge_channels
            layer = WideLayer(layer_choices, inputs, widest, edge_channels, sizes, skips, partial_channels)
            self.layers.append(layer)
            inputs = widest
        self.widest = widest
        self.head = Head(task, widest.width, self.encoder.edge_channels)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        batch: Tensor | None = None,
        num_graphs: int | None = None,
        graph_attr: Tensor | None = None,
        *,
        gates: Mapping[str, Tensor],
    ) -> Tensor:
        gates = Gates.of(self.choices, gates)
        x, edge_attr = self.encoder(x, edge_attr)
        loops, loop_attr = with_self_loops(edge_index, edge_attr, x.size(0))
        edges = CompressedEdges(loops, x.size(0))
        widths: Widths | None = None
        for layer in self.layers:
            x, widths = layer(x, widths, edges, loop_attr, gates)
        if self.head.level == "node":
            x = feature_dropout(x, self.dropout, self.training)
        window = self.widest if widths is None else widths.window
        weights = self._head_weights(window)
        return functional_call(self.head, weights, (x, edge_index, edge_attr, batch, num_graphs, graph_attr))

    def _head_weights(self, window: Window) -> dict[str, Tensor]:
        """The head's weights whose columns belong to channels of the last layer, narrowed to a window."""
        name = "output.weight" if self.head.level == "node" else "output.0.weight"
        weight = self.head.get_parameter(name)
        blocks = {"node": 1, "edge": 2, "graph": 3}[self.head.level]
        states = weight[:, : blocks * self.widest.width].unflatten(1, (blocks, self.widest.width))
        narrow = self.widest.cut(states, window, dim=2).flatten(1)
        return {name: torch.cat([narrow, weight[:, blocks * self.widest.width :]], dim=1)}

    def inherit(self, network: nn.Module, architecture: Architecture) -> None:
        state = {f"encoder.{name}": tensor for name, tensor in self.encoder.state_dict().items()}
        inputs = Window(1, self.encoder.node_channels)
        for position, layer in enumerate(cast(Iterable[WideLayer], self.layers)):
            values = {kind: architecture[choice.name] for kind, choice in layer.choices.items()}
            outputs = Window(cast(int, values["heads"]), cast(int, values["hidden_channels"]))
            state |= {
                f"layers.{position}.{name}": each for name, each in layer.weights(values, inputs, outputs).items()
            }
            state |= {f"norms.{position}.{name}": each for name, each in layer.norm_state(outputs).items()}
            # Between equal widths the network's skip connection is the identity.
            if layer.skip is not None and inputs.width != outputs.width:
                state[f"skips.{position - 1}.weight"] = layer.narrow(layer.skip.weight, inputs, outputs)
            inputs = outputs
        head = {**self.head.state_dict(), **self._head_weights(inputs)}
        state |= {f"head.{name}": tensor for name, tensor in head.items()}
        network.load_state_dict(state)
