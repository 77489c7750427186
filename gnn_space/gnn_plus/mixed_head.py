"""The head of `GNNPlusSpace`'s supernet: which states it reads, by which readout, under gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins.spaces.task import Task
from gnn_space.frame import POOLS, READOUTS, Head, graph_features
from gnn_space.gnn_plus.messages import Drop, with_edge_states
from gnn_space.gnn_plus.mixing import Gate, Open, Width, total
from gnn_space.gnn_plus.sizes import NetworkOptions


class Layered(NamedTuple):
    """The results of the layers of a forward pass.

    Args:
        states: after each layer that was run, `[num_nodes, channels]`.
        edges: edge states after each of them; None: no layer has any.
        weights: by depth, the weight of ending there with a head that reads states.
        updating: for each layer, the gates of messages that have edge states; None: all are closed, and a number: no
            other message is open.
        edge_attr: encoded edge features, or None.
    """

    states: Sequence[Tensor]
    edges: Sequence[Tensor | None]
    weights: dict[int, Gate]
    updating: Sequence[Gate | float | None]
    edge_attr: Tensor | None


class MixedHead(nn.Module):
    """A head over every state that an option may read, narrowed to what is open.

    Columns of its first map belong to blocks: the first one to the `last` states and the `max` of all, each other one
    to a layer in a `concat`. Every pool of a graph's nodes has blocks of its own, which readouts share.

    Args:
        task: what the networks must fit.
        layers: the most layers.
        channels: of the widest states.
        edge_channels: of encoded edge features; 0: there are none.
        edge_states: whether there are edge states, too.
    """

    def __init__(self, task: Task, layers: int, channels: int, edge_channels: int, edge_states: bool) -> None:
        super().__init__()
        self.level, self.graph_channels = task.level, task.graph_channels
        self.blocks, self.channels, self.edge_channels = layers + 1, channels, edge_channels
        width = (layers + 1) * channels
        self.head = Head(task, width, edge_channels + (channels if edge_states else 0))
        self.copies = {"node": ("node",), "edge": ("source", "target"), "graph": tuple(POOLS)}[self.level]

    @property
    def _first(self) -> nn.Linear:
        output = self.head.output
        return cast(nn.Linear, output if self.level == "node" else cast(nn.Sequential, output)[0])

    def forward(
        self,
        layered: Layered,
        width: Width,
        opened: Open,
        drop: Drop,
        edge_index: Tensor,
        batch: Tensor | None,
        num_graphs: int | None,
        graph_attr: Tensor | None,
    ) -> Tensor:
        """The outputs of all open depths that end in a head, as one mixture."""
        blocks = self._blocks(layered, opened)
        x = drop(torch.cat(list(blocks.values()), dim=1))
        copies: dict[str, Tensor] = {"node": x}
        rest: list[Tensor] = []
        kept: list[Tensor] = []
        if self.level == "edge":
            copies = {name: x.index_select(0, row) for name, row in zip(self.copies, edge_index, strict=True)}
            rest, kept = self._edges(layered, width)
        elif self.level == "graph":
            if batch is None:
                batch, num_graphs = edge_index.new_zeros(x.size(0)), 1
            copies = {name: share * POOLS[name](x, batch, num_graphs) for name, share in self._pools(opened).items()}
            joined = opened("graph_features").get("joined")
            if joined is not None and self.graph_channels:
                rest = [joined * each for each in graph_features(graph_attr, self.graph_channels)]
                kept = [self._rest()]
        weight = torch.cat([*self._columns(list(copies), list(blocks), width), *kept], dim=1)
        bias = self._first.bias * total(list(layered.weights.values()))
        result = functional.linear(torch.cat([*copies.values(), *rest], dim=1), weight, bias)
        if self.level == "node":
            return result
        for module in list(cast(nn.Sequential, self.head.output))[1:]:
            result = module(result)
        return result

    def _blocks(self, layered: Layered, opened: Open) -> dict[int, Tensor]:
        """By block, the mixture of states that its columns read."""
        states, jumps = layered.states, opened("jumping")
        last: list[Tensor] = []
        shares: dict[int, list[Gate]] = {}
        for depth, weight in layered.weights.items():
            # Of a single layer, and where the output is no head, there is nothing to choose.
            if depth == 1 or not jumps:
                last.append(weight * states[depth - 1])
                continue
            if "last" in jumps:
                last.append(weight * jumps["last"] * states[depth - 1])
            if "max" in jumps:
                last.append(weight * jumps["max"] * torch.stack(list(states[:depth])).amax(dim=0))
            if "concat" in jumps:
                for layer in range(1, depth + 1):
                    shares.setdefault(layer, []).append(weight * jumps["concat"])
        blocks = {0: total(last)} if last else {}
        return blocks | {layer: total(share) * states[layer - 1] for layer, share in sorted(shares.items())}

    def _pools(self, opened: Open) -> dict[str, Gate]:
        readouts = opened("readout")
        shares = {name: [gate for each, gate in readouts.items() if name in READOUTS[str(each)]] for name in POOLS}
        return {name: total(gates) for name, gates in shares.items() if gates}

    def _edges(self, layered: Layered, width: Width) -> tuple[list[Tensor], list[Tensor]]:
        """An edge's features where no layer has edge states, else its states, for its head; and their columns."""
        features: list[Gate] = []
        states: list[Tensor] = []
        for depth, weight in layered.weights.items():
            without: Tensor | float = 1.0
            for gate in layered.updating[:depth]:
                without = without if gate is None else without * (1 - cast(Tensor, gate))
            if isinstance(without, Tensor):
                features.append(weight * without)
            elif without:
                features.append(weight)
            edges = layered.edges[depth - 1]
            if edges is not None and any(gate is not None for gate in layered.updating[:depth]):
                states.append(weight * (1 - without) * edges)
        rest, columns = [], []
        if features and layered.edge_attr is not None:
            rest.append(total(features) * layered.edge_attr)
            columns.append(self._feature_columns())
        if states:
            rest.append(total(states))
            columns.append(self._state_columns(width))
        return rest, columns

    # Weights.

    def _columns(self, copies: Sequence[str], blocks: Sequence[int], width: Width) -> list[Tensor]:
        """For each copy of the states, the columns that read its blocks."""
        count = len(self.copies)
        weight = self._first.weight[:, : count * self.blocks * self.channels]
        weight = weight.unflatten(1, (count, self.blocks, self.channels))
        return [
            torch.cat([width.cut(weight[:, self.copies.index(copy), block], 1) for block in blocks], dim=1)
            for copy in copies
        ]

    def _rest(self) -> Tensor:
        return self._first.weight[:, len(self.copies) * self.blocks * self.channels :]

    def _feature_columns(self) -> Tensor:
        return self._rest()[:, : self.edge_channels]

    def _state_columns(self, width: Width) -> Tensor:
        return width.cut(self._rest()[:, self.edge_channels :], 1)

    def weights(self, options: NetworkOptions, width: Width) -> dict[str, Tensor]:
        """The weights that a network's head takes over, under its names."""
        blocks = list(range(1, len(options.messages) + 1)) if options.jumping == "concat" else [0]
        copies = READOUTS[options.readout] if self.level == "graph" else self.copies
        columns = self._columns(copies, blocks, width)
        if self.level == "edge":
            columns.append(
                self._state_columns(width) if with_edge_states(options.messages) else self._feature_columns()
            )
        elif self.level == "graph" and options.graph_features == "joined":
            columns.append(self._rest())
        name = "output.weight" if self.level == "node" else "output.0.weight"
        return {**self.head.state_dict(), name: torch.cat(columns, dim=1)}
