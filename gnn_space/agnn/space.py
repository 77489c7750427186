"""AGNN's macro search space: six action classes in every layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

from torch import Tensor, nn

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.calls import CallReader
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.operation import Operation
from automl_plugins.spaces.task import Level, Task
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.system.argument_types import check_types
from gnn_space.agnn.network import AGNNNetwork
from gnn_space.agnn.sizes import CLASSES, AGNNSizes, LayerOptions
from gnn_space.agnn.supernet import AGNNSupernet
from gnn_space.calls import GraphReader
from gnn_space.frame import drops_much, has_wide_features
from gnn_space.operations import ACTIVATIONS, AGGREGATIONS, ATTENTIONS, COMBINES

HIDDEN_CHANNELS = (4, 8, 16, 32, 64, 128, 256)
HEADS = (1, 2, 4, 6, 8, 16)
_REFERENCES = {
    "gcn": LayerOptions(64, "gcn", 1, "sum", "identity", "relu"),
    "gat": LayerOptions(8, "gat", 8, "sum", "identity", "elu"),
}

NODE_DROPOUT = 0.3
"""The rate of dropout where none is given and `gnn_space.frame.drops_much` says so."""

MOST_LAYERS = 200
"""A mistyped number must not end in millions of choices."""


class AGNNSpace(SupernetSpace):
    """The space of Auto-GNN (Zhou, Song, Huang and Hu, Frontiers in Big Data 2022, section 3.1).

    Each layer has six independent choices: hidden channels of a head, attention function,
    attention heads, aggregation, combine function and activation, 14,112 combinations in all. See
    `gnn_space.operations.AttentionLayer` for what they compute and how edge features enter.

    Departures from the paper: the last layer is searched like the others, heads
    concatenated, and a linear map from it gives the outputs, so that all of its choices count on every task.

    Additions to the paper, so that random draws learn: rows of wide features are scaled (`gnn_space.frame.scale_rows`),
    states are normalised before an activation, as GraphNAS's code, which shares the space, has a batch normalisation in
    every layer, and dropout is 0.3 where both have 0.6, which layers of four or eight channels do not survive in a
    short training. The channels of each node are normalised: chosen by validation on Cora and on generated bags of
    words of 500 columns; but of nodes with narrow features each channel over the batch, as in GNN+'s "+" points: chosen
    by validation on CLUSTER, where the median random network has twice the accuracy for it.
    On graph level, which the paper has not, sums over nodes are counted by `gnn_space.frame.counted_sum`, and neither
    it nor edge level has dropout, as the hand-made networks there: chosen by validation on ESOL; nor have nodes whose
    features are narrow, by that on CLUSTER. `layer_norm=False,
    dropout=0.6` is the paper's, but for the scale of wide features.

    The supernet's layers are as wide as the widest option: see `gnn_space.agnn.supernet.AGNNSupernet` for
    what options share. With soft gates a layer of the paper's options computes 16 heads of 256 channels for
    every edge; where that is too much, offer fewer.

    Args:
        layers: number of layers.
        hidden_channels: what a head's hidden channels are chosen from.
        heads: what the number of attention heads is chosen from.
        skip_connections: add every layer's input (through a linear map where widths differ) to
            its output, from the second layer on, as the paper does for its inductive task.
        layer_norm: normalise the channels of each node before each activation (`gnn_space.frame.RowNorm`).
        batch_norm: normalise each channel over the batch there instead; None: on node level where features are narrow
            (`gnn_space.frame.has_wide_features` says no) and `layer_norm` is on.
        dropout: rate for the inputs of each layer and for attention coefficients while training; None: 0.3 on node
            level where features are wide (`gnn_space.frame.drops_much`), 0 elsewhere. `constant` attention has no
            coefficients to drop.
        node_embedding: channels that categorical node features are embedded in.
        edge_embedding: channels that categorical edge features are embedded in.
        max_parameters: networks with more trainable parameters are refused before they are built.

    Raises:
        ValueError: fewer than one layer, channel or head, or a dropout rate outside [0, 1).
    """

    name: ClassVar[str] = "agnn"
    version: ClassVar[int] = 2
    levels: ClassVar[frozenset[Level]] = frozenset(("node", "edge", "graph"))
    call_reader: ClassVar[CallReader | None] = GraphReader()

    def __init__(
        self,
        layers: int = 2,
        hidden_channels: tuple[int, ...] = HIDDEN_CHANNELS,
        heads: tuple[int, ...] = HEADS,
        skip_connections: bool = False,
        layer_norm: bool = True,
        batch_norm: bool | None = None,
        dropout: float | None = None,
        node_embedding: int = 64,
        edge_embedding: int = 16,
        max_parameters: int | None = None,
    ) -> None:
        check_types(AGNNSpace.__init__, locals())
        for argument, value in (
            ("layers", layers),
            *(("hidden_channels", option) for option in hidden_channels),
            *(("heads", option) for option in heads),
        ):
            if value < 1:
                raise ValueError(f"{argument} is at least 1; got {value}")
        if layers > MOST_LAYERS:
            raise ValueError(f"layers is at most {MOST_LAYERS}; got {layers}")
        rate = NODE_DROPOUT if dropout is None else dropout
        self.sizes = AGNNSizes(skip_connections, layer_norm, bool(batch_norm), rate, node_embedding, edge_embedding)
        self.layers = layers
        self.hidden_channels = tuple(hidden_channels)
        self.heads = tuple(heads)
        self.skip_connections = skip_connections
        self.layer_norm = layer_norm
        self.batch_norm = batch_norm
        self.dropout = dropout
        self.node_embedding = node_embedding
        self.edge_embedding = edge_embedding
        options: dict[str, tuple[Value, ...]] = {
            "hidden_channels": self.hidden_channels,
            "attention": ATTENTIONS,
            "heads": self.heads,
            "aggregation": AGGREGATIONS,
            "combine": COMBINES,
            "activation": tuple(ACTIVATIONS),
        }
        choices = [Choice(f"layer{layer}.{kind}", options[kind]) for layer in range(layers) for kind in CLASSES]
        super().__init__(choices, max_parameters)

    def build(self, architecture: Architecture, task: Task) -> AGNNNetwork:
        layers = [
            LayerOptions(**{kind: cast(Any, architecture[f"layer{layer}.{kind}"]) for kind in CLASSES})
            for layer in range(self.layers)
        ]
        return AGNNNetwork(layers, task, self._sizes_for(task))

    def _sizes_for(self, task: Task) -> AGNNSizes:
        dropout, batch_norm = self.dropout, self.batch_norm
        if dropout is None:
            dropout = NODE_DROPOUT if drops_much(task) else 0.0
        if batch_norm is None:
            batch_norm = self.layer_norm and task.level == "node" and not has_wide_features(task)
        return replace(self.sizes, dropout=dropout, batch_norm=batch_norm)

    def references(self, task: Task) -> dict[str, Architecture]:
        """GCN (64 channels) and GAT (eight heads of eight), each layer of them, where the space has their widths."""
        return {
            name: self.architecture(
                dict(zip((choice.name for choice in self.whole.choices), layer * self.layers, strict=True))
            )
            for name, layer in _REFERENCES.items()
            if layer.hidden_channels in self.hidden_channels and layer.heads in self.heads
        }

    def build_supernet(self, task: Task) -> AGNNSupernet:
        return self.build_partial_supernet(task, 1)

    def build_partial_supernet(self, task: Task, partial_channels: int) -> AGNNSupernet:
        return AGNNSupernet(self.gate_choices, task, self._sizes_for(task), partial_channels)

    def shared_weights(self, network: nn.Module, architecture: Architecture) -> Mapping[str, Mapping[str, Tensor]]:
        """Weights that homogeneous layers share (Zhou et al. 2022), see `automl_plugins.studies.sharing`.

        Layers are homogeneous that stand at the same place and have the same attention and combine function,
        activation, heads, channels and shapes of all their weights; the aggregation may differ. Normalisation and
        skip connections are never shared. An addition to the paper: the linear map behind the last layer is
        shared where that layer is, and embeddings of categorical features always are.
        """
        whole = cast(AGNNNetwork, network)
        layers = {"encoder": whole.encoder.state_dict()}
        key = ""
        for position, layer in enumerate(whole.layers):
            kinds = ("attention", "combine", "activation", "heads", "hidden_channels")
            key = f"layer{position} " + " ".join(str(architecture[f"layer{position}.{kind}"]) for kind in kinds)
            layers[key] = layer.state_dict()
        layers[f"output after {key}"] = whole.head.state_dict()
        return layers

    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        operations = [Operation("input", "input")]
        for layer in range(self.layers):
            prefix, previous = f"layer{layer}.", operations[-1].name
            heads, hidden = architecture[prefix + "heads"], architecture[prefix + "hidden_channels"]
            steps = (
                ("transform", f"linear to {heads} x {hidden}", ("hidden_channels", "heads")),
                ("attention", f"{architecture[prefix + 'attention']} attention", ("attention",)),
                ("aggregation", f"{architecture[prefix + 'aggregation']} aggregation", ("aggregation",)),
                ("combine", f"{architecture[prefix + 'combine']} combine", ("combine",)),
                ("activation", f"{architecture[prefix + 'activation']} activation", ("activation",)),
            )
            for step, label, choices in steps:
                source = (operations[-1].name,)
                operations.append(Operation(prefix + step, label, source, tuple(prefix + choice for choice in choices)))
            if self.skip_connections and layer > 0:
                operations.append(Operation(prefix + "skip", "skip connection", (operations[-1].name, previous)))
        operations.append(Operation("output", "output", (operations[-1].name,)))
        return operations
