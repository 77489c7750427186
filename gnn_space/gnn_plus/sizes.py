"""Plain data that the networks and supernets of `GNNPlusSpace` are made of."""

from __future__ import annotations

from dataclasses import dataclass

NORMS = ("none", "batch", "layer")
ACTIVATIONS = ("relu", "elu")
INPUTS = ("features", "linear")
SCALINGS = ("none", "rows")
JUMPS = ("last", "concat", "max")
POSITIONS = ("none", "random-walk")
OUTPUTS = ("linear", "message")
GRAPH_FEATURES = ("none", "joined")


@dataclass(frozen=True)
class GNNPlusSizes:
    """Settings that are the same in every network of a space.

    Args:
        heads: of attention functions.
        node_embedding: channels that categorical node features are embedded in.
        edge_embedding: channels that categorical edge features are embedded in.
        walk_length: steps of the random walk that positions are read off.

    Raises:
        ValueError: a number below one.
    """

    heads: int = 8
    node_embedding: int = 64
    edge_embedding: int = 16
    walk_length: int = 16

    def __post_init__(self) -> None:
        for argument in ("heads", "node_embedding", "edge_embedding", "walk_length"):
            if getattr(self, argument) < 1:
                raise ValueError(f"{argument} is at least 1; got {getattr(self, argument)}")


@dataclass(frozen=True)
class NetworkOptions:
    """The options of one network; see `GNNPlusSpace` for what they mean.

    Args:
        channels: of node states, all heads together.
        messages: of each layer, from the first to the last.
        input: what the first layer reads: `features`, or a `linear` map of them.
        norm: after each message, and each feed-forward block.
        residual: whether a layer's input is added to its output.
        feed_forward: whether a perceptron follows each message.
        activation: after each normalisation.
        dropout: rate for what layers and the head read, and for attention coefficients.
        scaling: of wide real-valued features: `none`, or by `rows` (`gnn_space.frame.scale_rows`).
        positional: what is added to the input.
        output: what gives the outputs: a `linear` head, or the last `message` itself (on node level).
        jumping: what the head reads: the `last` states, all of them in `concat`, or their `max`.
        readout: of a graph's nodes.
        graph_features: whether a graph's own features are `joined` to the readout; `none`: they are not read.
        propagation: steps that the outputs are propagated (on node level).
        teleport: the share of the outputs themselves in each of these steps.
    """

    channels: int
    messages: tuple[str, ...]
    input: str
    norm: str
    residual: bool
    feed_forward: bool
    activation: str
    dropout: float
    scaling: str = "none"
    positional: str = "none"
    output: str = "linear"
    jumping: str = "last"
    readout: str = "mean"
    graph_features: str = "none"
    propagation: int = 0
    teleport: float = 0.1
