"""The supernet of `GNNPlusSpace`: layers as wide as the widest option, messages side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.task import Task
from automl_plugins.supernets.supernet import Supernet
from gnn_space.agnn.widths import Window
from gnn_space.frame import InputEncoder, TakesGraphs, has_wide_features
from gnn_space.gnn_plus.layer import Flow, MixedMessages, Source, WideLayer, network_layer
from gnn_space.gnn_plus.messages import Ends, linear, with_edge_states
from gnn_space.gnn_plus.mixed_head import Layered, MixedHead
from gnn_space.gnn_plus.mixing import Gate, MixedDropout, One, Open, Width, open_width, scaled_rows, total
from gnn_space.gnn_plus.neighbourhood import Neighbourhood
from gnn_space.gnn_plus.network import EdgeStates, GNNPlusNetwork, propagated, walk_positions
from gnn_space.gnn_plus.sizes import GNNPlusSizes


class GNNPlusSupernet(TakesGraphs, Supernet):
    """All architectures of a `GNNPlusSpace`; inputs and output as those of `GNNPlusNetwork`.

    **What is shared.** At each position every message has weights of its own, as wide as the widest option of
    `channels`; a narrower option has the first channels of each head. Normalisations, the feed-forward block and the
    projection of the input are shared by all messages. A first layer that reads features has other weights than one
    that reads their projection. The messages that give outputs themselves are shared by all depths. The head has
    columns for the `last` states (and the `max`), and for each layer in a `concat`.

    **What soft gates compute.** Messages, normalisations, activations, feed-forward blocks (with and without), readouts
    and jumps are mixed by their gates; a residual counts with its gate. Channels count with their share, the sum of the
    gates of the options that have them, behind each normalisation. All depths read the same layers, and their states
    are mixed where the head reads them. Dropout draws once and each rate drops by that draw. Propagated outputs are
    mixed over numbers of steps and teleports.

    **What is not run.** Options with a gate of zero: messages, layers beyond the deepest open one, channels beyond the
    widest one, and steps beyond the longest propagation.

    Args:
        choices: of the space.
        task: what the networks must fit.
        sizes: of what is the same in every network.
        checkpointing: compute messages again in the backward pass.
        partial_channels: messages between states run on one channel in so many of each head (PC-DARTS); those that read
            features, or give outputs, run on all.
    """

    def __init__(
        self,
        choices: Sequence[Choice],
        task: Task,
        sizes: GNNPlusSizes,
        checkpointing: bool = False,
        partial_channels: int = 1,
    ) -> None:
        super().__init__()
        self.partial_channels = partial_channels
        self.checkpointing = checkpointing
        self.choices = tuple(choices)
        options = {choice.name: choice.options for choice in choices}
        self.level, self.sizes = task.level, sizes
        channels = max(cast(tuple[int, ...], options["channels"]))
        depth = max(cast(tuple[int, ...], options["depth"]))
        names = [[str(name) for name in options[f"layer{layer}.message"]] for layer in range(depth)]
        norms = [str(name) for name in options["norm"]]
        self.widest = Window(sizes.heads, channels // sizes.heads)
        self.encoder = InputEncoder(task, sizes.node_embedding, sizes.edge_embedding)
        self.scales = "rows" in options["scaling"] and has_wide_features(task)
        features, edges = self.encoder.node_channels, self.encoder.edge_channels
        has_projection = "linear" in options["input"]
        self.project = linear(features, channels) if has_projection else None
        self.position = None
        if has_projection and "random-walk" in options.get("positional", ()):
            self.position = linear(sizes.walk_length, channels, bias=False)
        has_edge_states = any(with_edge_states(each) for each in names)
        self.edge_states = EdgeStates(edges, channels) if has_edge_states else None
        ends = Ends(channels, channels, channels, edges, sizes.heads)
        read = features if "features" in options["input"] else None
        self.layers = nn.ModuleList(
            WideLayer(layer, each, norms, ends, read if layer == 0 else None, partial_channels)
            for layer, each in enumerate(names)
        )
        self.output_messages = None
        if task.level == "node" and "message" in options.get("output", ()):
            every = list(dict.fromkeys(name for each in names[1:] for name in each))
            ends = Ends(channels, task.out_channels, channels, edges, heads=1)
            self.output_messages = MixedMessages(every, ends, ("in", "hidden"))
        self.head = MixedHead(task, depth, channels, edges, has_edge_states)

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
        opened = Open(self.choices, gates)
        width = open_width(opened("channels"), self.widest)
        x, edge_attr = self.encoder(x, edge_attr)
        x = scaled_rows(x, opened("scaling")) if self.scales else x
        graph = Neighbourhood(edge_index, edge_attr, x.size(0))
        recomputes = self.checkpointing and torch.is_grad_enabled()
        if recomputes:
            graph.settle()
        flow = Flow(graph, opened, width, MixedDropout(opened("dropout"), self.training), recomputes)
        sources = self._sources(x, flow, batch, num_graphs)
        layered, outputs = self._run(sources, flow)
        if layered.weights:
            outputs.append(self.head(layered, width, opened, flow.drop, edge_index, batch, num_graphs, graph_attr))
        return self._propagated(total(outputs), flow)

    def _sources(self, x: Tensor, flow: Flow, batch: Tensor | None, num_graphs: int | None) -> list[Source]:
        opened, width = flow.opened, flow.width
        sources = []
        for name, gate in opened("input").items():
            if name == "features":
                sources.append(Source(x, gate, is_features=True))
            elif self.project is not None:
                weight = width.cut(self.project.weight)
                projected = functional.linear(x, weight, width.cut(self.project.bias))
                walks = opened("positional").get("random-walk")
                if walks is not None and self.position is not None:
                    edge_index = flow.graph.edges.edge_index
                    returns = walk_positions(projected, edge_index, batch, num_graphs, self.sizes.walk_length)
                    projected = projected + walks * functional.linear(returns, width.cut(self.position.weight))
                sources.append(Source(projected * width.share, gate))
        return sources

    def _run(self, sources: Sequence[Source], flow: Flow) -> tuple[Layered, list[Tensor]]:
        """Run the layers: what the head reads, and the mixtures of outputs that messages gave themselves."""
        opened, graph = flow.opened, flow.graph
        depths = {cast(int, depth): gate for depth, gate in opened("depth").items()}
        names = [opened(f"layer{layer}.message") for layer in range(max(depths))]
        edges = self._edge_states(flow) if any(with_edge_states(each) for each in names) else None
        by_head, by_message = self._endings(depths, opened)
        states: list[Tensor] = []
        edges_after: list[Tensor | None] = []
        outputs: list[Tensor] = []
        for position, each in enumerate(names):
            depth = position + 1
            if depth in by_message and self.output_messages is not None:
                given, _ = self.output_messages(sources[0].x, edges, flow, each)
                outputs.append(by_message[depth] * given)
            if depth == len(names) and depth not in by_head:
                break
            is_read = self.level == "edge" or any(with_edge_states(later) for later in names[depth:])
            updates = is_read and bool(with_edge_states(each))
            state, edges = self.layers[position](sources, edges, flow, updates)
            sources = [Source(state)]
            states.append(state)
            edges_after.append(edges)
        return Layered(states, edges_after, by_head, [_updating(each) for each in names], graph.edge_attr), outputs

    def _endings(self, depths: Mapping[int, Gate], opened: Open) -> tuple[dict[int, Gate], dict[int, Gate]]:
        """By depth, the weights of ending in a head, and in a message that gives the outputs."""
        kinds = opened("output") if self.level == "node" else {}
        by_head: dict[int, Gate] = {}
        by_message: dict[int, Gate] = {}
        for depth, gate in depths.items():
            if depth == 1 or not kinds:
                by_head[depth] = gate
                continue
            if "linear" in kinds:
                by_head[depth] = gate * kinds["linear"]
            if "message" in kinds:
                by_message[depth] = gate * kinds["message"]
        return by_head, by_message

    def _edge_states(self, flow: Flow) -> Tensor:
        states = cast(EdgeStates, self.edge_states)
        weights = self._edge_state_weights(flow.width)
        graph = flow.graph
        begun: Tensor = functional_call(states, weights, (graph.edge_attr, graph.edges.edge_index))
        return begun * flow.width.share

    def _edge_state_weights(self, width: Width) -> dict[str, Tensor]:
        if self.edge_states is None:
            return {}
        return {name: width.cut(weight) for name, weight in self.edge_states.named_parameters()}

    def _propagated(self, outputs: Tensor, flow: Flow) -> Tensor:
        lengths = {cast(int, steps): gate for steps, gate in flow.opened("propagation").items()}
        steps = sorted(each for each in lengths if each)
        if self.level != "node" or not steps:
            return outputs if len(lengths) <= 1 else outputs * total(list(lengths.values()))
        mixed = [lengths[0] * outputs] if 0 in lengths else []
        for teleport, gate in flow.opened("teleport").items():
            found = propagated(outputs, flow.graph, cast(float, teleport), steps)
            mixed += [gate * lengths[count] * each for count, each in zip(steps, found, strict=True)]
        return total(mixed)

    def inherit(self, network: nn.Module, architecture: Architecture) -> None:
        options = cast(GNNPlusNetwork, network).options
        width = Width(self.widest, Window(self.widest.heads, options.channels // self.widest.heads), One())
        state = {f"encoder.{name}": each for name, each in self.encoder.state_dict().items()}
        if self.project is not None:
            state |= {f"project.{name}": width.cut(each) for name, each in self.project.named_parameters()}
        if self.position is not None:
            state["position.weight"] = width.cut(self.position.weight)
        state |= {f"edge_states.{name}": each for name, each in self._edge_state_weights(width).items()}
        for position, name in enumerate(options.messages):
            reads_features = position == 0 and options.input == "features"
            layer = cast(WideLayer, self.layers[position])
            weights = network_layer(layer, name, options.norm, width, reads_features, options.feed_forward)
            state |= {f"layers.{position}.{key}": each for key, each in weights.items()}
        if options.output == "message" and self.output_messages is not None:
            last = options.messages[-1]
            state |= {f"output.{name}": each for name, each in self.output_messages.weights(last, width).items()}
        else:
            state |= {f"output.{name}": each for name, each in self.head.weights(options, width).items()}
        # An edge's norm that nobody reads, say, is not in the network.
        network.load_state_dict({name: state[name] for name in network.state_dict()})


def _updating(opened: Mapping[Value, Gate]) -> Gate | float | None:
    """The gates of a layer's messages that have edge states; None: all are closed, one: no other is open."""
    gates = [opened[name] for name in with_edge_states(opened)]
    return (total(gates) if len(gates) < len(opened) else 1.0) if gates else None
