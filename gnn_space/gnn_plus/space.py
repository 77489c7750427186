"""`GNNPlusSpace`: what people build graph networks of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, cast

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.calls import CallReader
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.operation import Operation
from automl_plugins.spaces.task import Level, Task
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.system.argument_types import check_types
from gnn_space.calls import GraphReader
from gnn_space.frame import READOUTS, has_wide_features
from gnn_space.gnn_plus.messages import MESSAGES
from gnn_space.gnn_plus.network import GNNPlusNetwork
from gnn_space.gnn_plus.points import reference_values
from gnn_space.gnn_plus.sizes import (
    ACTIVATIONS,
    GRAPH_FEATURES,
    INPUTS,
    JUMPS,
    NORMS,
    OUTPUTS,
    POSITIONS,
    SCALINGS,
    GNNPlusSizes,
    NetworkOptions,
)
from gnn_space.gnn_plus.supernet import GNNPlusSupernet

MOST_LAYERS = 50
"""A mistyped number must not end in many choices."""

_ONLY: Mapping[str, tuple[Callable[[Task], bool], Value]] = {
    "scaling": (has_wide_features, "none"),
    "readout": (lambda task: task.level == "graph", "mean"),
    "graph_features": (lambda task: task.level == "graph" and task.graph_channels > 0, "none"),
    "positional": (lambda task: task.level == "graph", "none"),
    "output": (lambda task: task.level == "node", "linear"),
    "propagation": (lambda task: task.level == "node", 0),
}
"""Choices that mean something on some tasks only, and the option that is offered elsewhere."""

FEW_DROPPED = 0.2
"""The most dropout that is offered on graph level, and where node features are narrow.

The published networks of data sets with many graphs have at most as much, one of 42 has .3 (Luo et al. 2025, tables 8
to 13), those of one large graph .5 to .7. Of nine random networks in 60 epochs on ESOL, the four with .5 or .6 end with
a validation RMSE of 1.10 to 1.85, the others with .54 to 1.06. Of narrow features, see `gnn_space.frame.drops_much`.
"""


class GNNPlusSpace(SupernetSpace):
    r"""Networks that people make by hand, and what lies between them.

    Luo, Shi and Wu (ICML 2025, and NeurIPS 2024 for nodes) show that six techniques lift classic graph networks to
    graph transformers: edge features, normalisation, dropout, residual connections, feed-forward blocks and positional
    encodings. Here each is a choice; `references` names the networks that are points of the space.

    Of a network: `depth`; `channels` of all heads together; `input`, what the first layer reads: the `features`
    themselves, or a `linear` map of them; `scaling`: wide real-valued features as they are, or scaled by `rows`
    (`gnn_space.frame.scale_rows`); `norm` (`none`, `batch`, `layer`: over a node's channels), `residual`,
    `feed_forward` (see `gnn_space.gnn_plus.network.FeedForward`) and `activation`, the same in all layers; `dropout`
    of what every layer and the head read, and of attention coefficients; `positional` encodings that are added to the
    mapped input; `output`: a `linear` head on node states, or the last layer's `message`, which gives the outputs
    itself, as in Kipf's networks; `jumping`: the states that the head reads; `readout` of a graph; `graph_features`: a
    graph's own features (`graph_attr`) `joined` to the readout, or not read; and `propagation` of the outputs in so
    many steps, each with the `teleport` back to them (APPNP). A layer computes

    .. math::
        h \leftarrow \mathrm{FF}\big(h + \mathrm{act}(\mathrm{norm}(\mathrm{message}(\mathrm{dropout}(h))))\big),

    with one of `MESSAGES` each. All of them but `none` read edge features; `gated` updates states of the edges, which
    begin as a map of their features (a learned constant where there are none) and are the edge's own at the head of an
    edge level; `dmpnn`, offered on graph level, sends these from edge to edge. `gcn`, `sage` and `pna` add a linear map
    of edge features to neighbours' states.

    Options that cannot read a task's edge features or mean nothing on its level are not offered by `within`.
    Laplacian encodings are what a data module appends to its features.

    Row-normalised bags of words are small: maps begin by Glorot's rule and biases at zero, so that nothing drowns them.
    Their scale is a choice, not a rule, because the networks made by hand read them as they are, and stay points. Of
    eight random networks on generated bags of words of 500 and 8,000 columns the worst has a validation accuracy of .89
    and .86 with scaled rows, .27 and .54 without; the medians are alike, and GCN is better without.

    Args:
        depths: what the number of layers is chosen from.
        channels: what the width of node states is chosen from; multiples of `heads`.
        messages: what each layer's message is chosen from.
        norms: of `none`, `batch`, `layer`.
        dropouts: what the rate of dropout is chosen from; on graph level, and where node features are
            narrow, those up to `FEW_DROPPED`, if any.
        propagations: numbers of steps that the outputs may be propagated; 0: not at all.
        teleports: what the teleport probability is chosen from.
        heads: of the attentions `gat` and `gatv2`; one where they give the outputs.
        walk_length: steps of the walks in the encoding `random-walk`.
        node_embedding: channels that categorical node features are embedded in.
        edge_embedding: channels that categorical edge features are embedded in.
        max_parameters: networks with more trainable parameters are refused before they are built.
        checkpointing: the supernet computes messages again in the backward pass: less memory, more time.

    Raises:
        ValueError: a number out of range, an unknown message or normalisation, or channels that heads do not divide.
    """

    name: ClassVar[str] = "gnn-plus"
    version: ClassVar[int] = 2
    levels: ClassVar[frozenset[Level]] = frozenset(("node", "edge", "graph"))
    call_reader: ClassVar[CallReader | None] = GraphReader()

    def __init__(
        self,
        depths: tuple[int, ...] = (1, 2, 3, 4),
        channels: tuple[int, ...] = (32, 64, 128),
        messages: tuple[str, ...] = tuple(MESSAGES),
        norms: tuple[str, ...] = NORMS,
        dropouts: tuple[float, ...] = (0.0, 0.2, 0.5, 0.6),
        propagations: tuple[int, ...] = (0, 3, 10),
        teleports: tuple[float, ...] = (0.1, 0.3),
        heads: int = 8,
        walk_length: int = 16,
        node_embedding: int = 64,
        edge_embedding: int = 16,
        max_parameters: int | None = None,
        checkpointing: bool = False,
    ) -> None:
        check_types(GNNPlusSpace.__init__, locals())
        self.checkpointing = checkpointing
        self.sizes = GNNPlusSizes(heads, node_embedding, edge_embedding, walk_length)
        _check(depths, channels, messages, norms, dropouts, propagations, teleports, heads)
        self.depths, self.channels = tuple(depths), tuple(channels)
        self.messages, self.norms, self.dropouts = tuple(messages), tuple(norms), tuple(dropouts)
        self.propagations, self.teleports = tuple(propagations), tuple(teleports)
        self.heads, self.walk_length = heads, walk_length
        self.node_embedding, self.edge_embedding = node_embedding, edge_embedding
        super().__init__(self._made_choices(), max_parameters)

    def _made_choices(self) -> list[Choice]:
        several = tuple(depth for depth in self.depths if depth > 1)
        choices = [
            Choice("depth", self.depths),
            Choice("channels", self.channels),
            Choice("input", INPUTS),
            Choice("scaling", SCALINGS),
            Choice("positional", POSITIONS, {"input": ("linear",)}),
            Choice("norm", self.norms),
            Choice("residual", (False, True)),
            Choice("feed_forward", (False, True)),
            Choice("activation", ACTIVATIONS),
            Choice("dropout", self.dropouts),
        ]
        if several:
            choices.append(Choice("output", OUTPUTS, {"depth": several}))
            choices.append(Choice("jumping", JUMPS, {"output": ("linear",)}))
        choices.append(Choice("readout", tuple(READOUTS)))
        choices.append(Choice("graph_features", GRAPH_FEATURES))
        choices.append(Choice("propagation", self.propagations))
        steps = tuple(each for each in self.propagations if each)
        if steps:
            choices.append(Choice("teleport", self.teleports, {"propagation": steps}))
        for layer in range(max(self.depths)):
            deep = tuple(depth for depth in self.depths if depth > layer)
            always = len(deep) == len(self.depths)
            choices.append(Choice(f"layer{layer}.message", self.messages, {} if always else {"depth": deep}))
        return choices

    def options_for(self, choice: Choice, task: Task) -> Sequence[Value]:
        if choice.name in _ONLY:
            means_something, option = _ONLY[choice.name]
            if not means_something(task) and option in choice.options:
                return (option,)
        if choice.name == "dropout" and (task.level == "graph" or not has_wide_features(task)):
            return [each for each in cast("Sequence[float]", choice.options) if each <= FEW_DROPPED] or choice.options
        if choice.kind == "message":
            left_out = {"none"} if task.edge_channels else set()
            left_out |= set() if task.level == "graph" else {"dmpnn"}
            return [each for each in choice.options if each not in left_out] or choice.options
        return choice.options

    def references(self, task: Task) -> dict[str, Architecture]:
        """GCN, GAT, GraphSAGE, GIN (with edge features, GINE), APPNP and GatedGCN, and three of GNN+.

        The first six compute what the networks of `gnn_space.references` do, with the same weights. Left out are
        those that need an option that this space was not given, and APPNP where it is not on node level, or where
        edges have features, which it cannot read.
        """
        options = {choice.name: choice.options for choice in self.whole.choices}
        return {
            name: self.whole.architecture(values)
            for name, values in reference_values(task).items()
            if all(value in options.get(choice, ()) for choice, value in values.items())
        }

    def _options(self, architecture: Architecture) -> NetworkOptions:
        messages = tuple(str(architecture[f"layer{layer}.message"]) for layer in range(int(architecture["depth"] or 0)))
        own = {name: architecture[name] for name in NetworkOptions.__dataclass_fields__ if name in architecture}
        return NetworkOptions(messages=messages, **cast("dict[str, Any]", own))

    def build(self, architecture: Architecture, task: Task) -> GNNPlusNetwork:
        return GNNPlusNetwork(self._options(architecture), task, self.sizes)

    def build_supernet(self, task: Task) -> GNNPlusSupernet:
        return self.build_partial_supernet(task, 1)

    def build_partial_supernet(self, task: Task, partial_channels: int) -> GNNPlusSupernet:
        return GNNPlusSupernet(self.gate_choices, task, self.sizes, self.checkpointing, partial_channels)

    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        options = self._options(architecture)
        scaled = "" if options.scaling == "none" else f", scaled by {options.scaling}"
        operations = [Operation("features", f"features{scaled}", (), ("scaling",))]
        if options.input == "linear":
            operations.append(Operation("input", "linear map", ("features",), ("input",)))
            if options.positional != "none":
                operations.append(
                    Operation("positional", f"{options.positional} positions", ("input",), ("positional",))
                )
        reads, ends = operations[-1].name, []
        for layer, message in enumerate(options.messages):
            prefix = f"layer{layer}."
            gives_outputs = options.output == "message" and layer == len(options.messages) - 1
            made = [Operation(prefix + "message", f"{message} message", (reads,), (prefix + "message",))]
            if not gives_outputs:
                made += _after_message(options, prefix, None if reads == "features" else reads)
            operations += made
            reads = made[-1].name
            ends.append(reads)
        operations += _head(options, ends, "teleport" in architecture)
        settled = {name for operation in operations for name in operation.choices}
        # Choices that settle no operation of their own are the output's, where all of the network has come together.
        rest = tuple(name for name in architecture if name not in settled)
        last = operations[-1]
        return [*operations[:-1], Operation(last.name, last.label, last.inputs, (*last.choices, *rest))]


def _after_message(options: NetworkOptions, prefix: str, residual: str | None) -> list[Operation]:
    normal = "" if options.norm == "none" else f"{options.norm} norm, "
    made = [
        Operation(prefix + "activation", f"{normal}{options.activation}", (prefix + "message",), ("norm", "activation"))
    ]
    if options.residual and residual is not None:
        made.append(Operation(prefix + "residual", "residual", (made[-1].name, residual), ("residual",)))
    if options.feed_forward:
        made.append(Operation(prefix + "feed_forward", "feed-forward block", (made[-1].name,), ("feed_forward",)))
    return made


def _head(options: NetworkOptions, ends: Sequence[str], is_propagated: bool) -> list[Operation]:
    made = []
    reads = tuple(ends[-1:] if options.jumping == "last" else ends)
    if options.output == "linear":
        label = "head" if options.jumping == "last" else f"head of the {options.jumping} of all layers"
        label += "" if options.graph_features == "none" else ", and of the graph's own features"
        settles = ("graph_features", *(("jumping", "output") if len(ends) > 1 else ()))
        made.append(Operation("head", label, reads, settles))
        reads = ("head",)
    if is_propagated:
        label = f"{options.propagation} steps of propagation, teleport {options.teleport}"
        made.append(Operation("propagation", label, reads, ("propagation", "teleport")))
        reads = ("propagation",)
    made.append(Operation("output", "output", reads))
    return made


def _check(
    depths: Sequence[int],
    channels: Sequence[int],
    messages: Sequence[str],
    norms: Sequence[str],
    dropouts: Sequence[float],
    propagations: Sequence[int],
    teleports: Sequence[float],
    heads: int,
) -> None:
    for argument, values, known in (("messages", messages, tuple(MESSAGES)), ("norms", norms, NORMS)):
        for value in values:
            if value not in known:
                raise ValueError(f"{argument} are of {', '.join(known)}; got {value!r}")
    for argument, numbers, least, most in (
        ("depths", depths, 1, MOST_LAYERS),
        ("propagations", propagations, 0, 1_000),
        ("channels", channels, heads, 1_000_000),
    ):
        for number in numbers:
            if not least <= number <= most:
                raise ValueError(f"{argument} are from {least} to {most:,}; got {number}")
    for argument, rates in (("dropouts", dropouts), ("teleports", teleports)):
        for rate in rates:
            if not 0 <= rate < 1:
                raise ValueError(f"{argument} are at least 0 and less than 1; got {rate}")
    for width in channels:
        if width % heads:
            raise ValueError(f"channels are multiples of heads={heads}; got {width}")
