"""The messages of `GNNPlusSpace`: one class each, with the axes along which a supernet narrows their weights."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn.inits import glorot
from torch_geometric.utils import scatter

from automl_plugins.spaces.choice import Value
from gnn_space.aggregation import aggregate, edge_softmax
from gnn_space.gnn_plus.neighbourhood import Neighbourhood

Axis = Literal["in", "out", "hidden", ""]
"""An axis of a weight: as wide as the input, the output, or node states; an empty name: of its own width."""
Axes = Mapping[str, tuple[Axis, ...]]
Drop = Callable[[Tensor], Tensor]
_SLOPE = 0.2
_EPSILON = 1e-6
_VARIANCE = 1e-5


class Ends(NamedTuple):
    """The sizes of a message.

    Args:
        inputs: channels of what it reads.
        outputs: channels of what it gives.
        hidden: channels of node and edge states.
        edges: channels of encoded edge features; 0: the task has none.
        heads: of an attention function.
    """

    inputs: int
    outputs: int
    hidden: int
    edges: int
    heads: int


class Message(nn.Module, abc.ABC):
    """The states that a node receives from its neighbours and itself.

    Shapes:
        x `[num_nodes, inputs]`, in CSR layout too; edge states `[num_edges, hidden]`, where it `has_edge_states`;
        output `[num_nodes, outputs]`, and new edge states before normalisation, or None.
    """

    axes: ClassVar[Axes]
    """For every weight, the axes along which a supernet narrows it."""
    has_edge_states: ClassVar[bool] = False
    """True where it reads states of the edges, and gives new ones."""

    def __init__(self, ends: Ends) -> None:
        super().__init__()

    @abc.abstractmethod
    def forward(
        self, x: Tensor, graph: Neighbourhood, edges: Tensor | None, drop: Drop
    ) -> tuple[Tensor, Tensor | None]:
        """Called with the states, the graph, edge states and the dropout of attention coefficients."""


def linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """A linear map by Glorot's rule, its bias zero: beside rows of small features, a random one would be all there is.

    A bag of words whose rows add up to one has entries of a twentieth.
    """
    made = nn.Linear(inputs, outputs, bias)
    glorot(made.weight)
    if bias:
        nn.init.zeros_(made.bias)
    return made


def _vector(channels: int, heads: int) -> nn.Parameter:
    vector = torch.empty(1, heads, channels // heads)
    glorot(vector)
    return nn.Parameter(vector.flatten())


class NoMessage(Message):
    """A linear map of a node's own states."""

    axes: ClassVar[Axes] = {"own.weight": ("out", "in"), "own.bias": ("out",)}

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self.own = linear(ends.inputs, ends.outputs)

    def forward(
        self, x: Tensor, graph: Neighbourhood, edges: Tensor | None, drop: Drop
    ) -> tuple[Tensor, Tensor | None]:
        return self.own(x), None


class GCNMessage(Message):
    r"""Graph convolution (Kipf and Welling 2017): :math:`\sum_j (W h_j + U e_{ij}) / \sqrt{d_i d_j} + b`.

    The term of edge features is linear, so that a convolution without them is a point; self-loops have their mean.
    """

    axes: ClassVar[Axes] = {"source.weight": ("out", "in"), "edge.weight": ("out", ""), "bias": ("out",)}

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self.source = linear(ends.inputs, ends.outputs, bias=False)
        self.edge = linear(ends.edges, ends.outputs, bias=False) if ends.edges else None
        self.bias = nn.Parameter(torch.zeros(ends.outputs))

    def forward(
        self, x: Tensor, graph: Neighbourhood, edges: Tensor | None, drop: Drop
    ) -> tuple[Tensor, Tensor | None]:
        received = graph.convolve(self.source(x)) + self.bias
        return received if self.edge is None else received + self.edge(graph.convolved_attr), None


class SAGEMessage(Message):
    r"""GraphSAGE's mean (Hamilton et al. 2017): :math:`V h_i + \mathrm{mean}_j (W h_j + U e_{ij}) + b`."""

    axes: ClassVar[Axes] = {
        "source.weight": ("out", "in"),
        "edge.weight": ("out", ""),
        "own.weight": ("out", "in"),
        "bias": ("out",),
    }

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self.source = linear(ends.inputs, ends.outputs, bias=False)
        self.edge = linear(ends.edges, ends.outputs, bias=False) if ends.edges else None
        self.own = linear(ends.inputs, ends.outputs, bias=False)
        self.bias = nn.Parameter(torch.zeros(ends.outputs))

    def forward(
        self, x: Tensor, graph: Neighbourhood, edges: Tensor | None, drop: Drop
    ) -> tuple[Tensor, Tensor | None]:
        # Mapped before they are averaged: sums commute with linear maps, and features may be wide.
        received = self.own(x) + aggregate(self.source(x), graph.edges, reduce="mean") + self.bias
        return received if self.edge is None else received + self.edge(graph.mean_attr), None


class GINMessage(Message):
    r"""Graph isomorphism (Xu et al. 2019): :math:`\mathrm{MLP}((1 + \epsilon) h_i + \sum_j m_{ij})`.

    :math:`m_{ij} = h_j`, and with edge features :math:`\mathrm{ReLU}(h_j + U e_{ij} + c)` (GINE, Hu et al. 2020).
    """

    axes: ClassVar[Axes] = {
        "first.weight": ("hidden", "in"),
        "first.bias": ("hidden",),
        "second.weight": ("out", "hidden"),
        "second.bias": ("out",),
        "epsilon": ("",),
        "edge.weight": ("in", ""),
        "edge.bias": ("in",),
    }

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self.first = linear(ends.inputs, ends.hidden)
        self.second = linear(ends.hidden, ends.outputs)
        self.epsilon = nn.Parameter(torch.zeros(1))
        self.edge = linear(ends.edges, ends.inputs) if ends.edges else None

    def forward(
        self, x: Tensor, graph: Neighbourhood, edges: Tensor | None, drop: Drop
    ) -> tuple[Tensor, Tensor | None]:
        if self.edge is None:
            mapped = functional.linear(x, self.first.weight)
            hidden = (1 + self.epsilon) * mapped + aggregate(mapped, graph.edges) + self.first.bias
        else:
            x = x.to_dense() if x.layout == torch.sparse_csr else x
            message = functional.relu(x.index_select(0, graph.edges.source) + self.edge(graph.edge_attr))
            received = scatter(message, graph.edges.target, 0, graph.num_nodes, reduce="sum")
            hidden = self.first((1 + self.epsilon) * x + received)
        return self.second(functional.relu(hidden)), None


class GATMessage(Message):
    r"""Graph attention (Velickovic et al. 2018), self-loops included.

    The scores :math:`\mathrm{LeakyReLU}(a^\top W h_j + b^\top W h_i + c^\top U e_{ij})`.
    """

    axes: ClassVar[Axes] = {
        "source.weight": ("out", "in"),
        "from_source": ("out",),
        "from_target": ("out",),
        "edge.weight": ("out", ""),
        "from_edge": ("out",),
        "bias": ("out",),
    }

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self.heads = ends.heads
        self.source = linear(ends.inputs, ends.outputs, bias=False)
        self.from_source = _vector(ends.outputs, ends.heads)
        self.from_target = _vector(ends.outputs, ends.heads)
        self.edge = linear(ends.edges, ends.outputs, bias=False) if ends.edges else None
        self.from_edge = _vector(ends.outputs, ends.heads) if ends.edges else None
        self.bias = nn.Parameter(torch.zeros(ends.outputs))

    def forward(
        self, x: Tensor, graph: Neighbourhood, edges: Tensor | None, drop: Drop
    ) -> tuple[Tensor, Tensor | None]:
        hidden = self.source(x)
        by_head = hidden.unflatten(1, (self.heads, -1))
        of_source = (hidden * self.from_source).unflatten(1, (self.heads, -1)).sum(-1)
        of_target = (hidden * self.from_target).unflatten(1, (self.heads, -1)).sum(-1)
        score = of_source.index_select(0, graph.edges.looped.source) + of_target.index_select(
            0, graph.edges.looped.target
        )
        if self.edge is not None and self.from_edge is not None and graph.looped_attr is not None:
            # One number a head: the vector meets the map before the edges do.
            folded = (self.edge.weight * self.from_edge.unsqueeze(1)).unflatten(0, (self.heads, -1)).sum(1)
            score = score + functional.linear(graph.looped_attr, folded)
        return _attended(by_head, functional.leaky_relu(score, _SLOPE), graph, drop) + self.bias, None


class GATv2Message(Message):
    r"""Dynamic attention (Brody et al. 2022): scores :math:`a^\top \mathrm{LeakyReLU}(W h_j + V h_i + U e_{ij})`."""

    axes: ClassVar[Axes] = {
        "source.weight": ("out", "in"),
        "source.bias": ("out",),
        "target.weight": ("out", "in"),
        "target.bias": ("out",),
        "score": ("out",),
        "edge.weight": ("out", ""),
        "bias": ("out",),
    }

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self.heads = ends.heads
        self.source = linear(ends.inputs, ends.outputs)
        self.target = linear(ends.inputs, ends.outputs)
        self.edge = linear(ends.edges, ends.outputs, bias=False) if ends.edges else None
        self.score = _vector(ends.outputs, ends.heads)
        self.bias = nn.Parameter(torch.zeros(ends.outputs))

    def forward(
        self, x: Tensor, graph: Neighbourhood, edges: Tensor | None, drop: Drop
    ) -> tuple[Tensor, Tensor | None]:
        source = self.source(x)
        terms = source.index_select(0, graph.edges.looped.source) + self.target(x).index_select(
            0, graph.edges.looped.target
        )
        if self.edge is not None:
            terms = terms + self.edge(graph.looped_attr)
        score = (functional.leaky_relu(terms, _SLOPE) * self.score).unflatten(1, (self.heads, -1)).sum(-1)
        return _attended(source.unflatten(1, (self.heads, -1)), score, graph, drop) + self.bias, None


def _attended(by_head: Tensor, score: Tensor, graph: Neighbourhood, drop: Drop) -> Tensor:
    edges = graph.edges.looped
    return aggregate(by_head, edges, drop(edge_softmax(score, edges))).flatten(1)


class GatedMessage(Message):
    """GatedGCN's, see `gnn_space.gated_gcn.GatedGCNLayer`: edge states gate, by channel, what arrives along them."""

    has_edge_states: ClassVar[bool] = True
    axes: ClassVar[Axes] = {
        **{f"{name}.weight": ("out", "in") for name in ("target", "source", "own", "neighbour")},
        **{f"{name}.bias": ("out",) for name in ("target", "source", "own", "neighbour", "edge")},
        "edge.weight": ("out", "hidden"),
    }

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self.target, self.source, self.own, self.neighbour = (linear(ends.inputs, ends.outputs) for _ in range(4))
        self.edge = linear(ends.hidden, ends.outputs)

    def forward(
        self, x: Tensor, graph: Neighbourhood, edges: Tensor | None, drop: Drop
    ) -> tuple[Tensor, Tensor | None]:
        source, target = graph.edges.source, graph.edges.target
        updated = self.target(x).index_select(0, target) + self.source(x).index_select(0, source) + self.edge(edges)
        gate = updated.sigmoid()
        message = gate * self.neighbour(x).index_select(0, source)
        total = scatter(gate, target, 0, graph.num_nodes, reduce="sum")
        received = scatter(message, target, 0, graph.num_nodes, reduce="sum") / (total + _EPSILON)
        return self.own(x) + received, updated


class DirectedMessage(Message):
    r"""From edge to edge, never straight back, as in D-MPNN (Yang et al. 2019, equations 4 to 6).

    .. math::
        m_{vw} = V x_v + W \sum_{k \in N(v) \setminus w} h_{kv}, \qquad
        U x_v + A \sum_{k \in N(v)} \mathrm{ReLU}(m_{kv})

    Departures: a layer has node states of its own, which stand where D-MPNN has first edge states; edge states
    are added up from layer to layer, after a normalisation; and layers share no weights.
    """

    has_edge_states: ClassVar[bool] = True
    axes: ClassVar[Axes] = {
        "own.weight": ("out", "in"),
        "own.bias": ("out",),
        "source.weight": ("out", "in"),
        "edge.weight": ("out", "hidden"),
        "received.weight": ("out", "out"),
    }

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self.own = linear(ends.inputs, ends.outputs)
        self.source = linear(ends.inputs, ends.outputs, bias=False)
        self.edge = linear(ends.hidden, ends.outputs, bias=False)
        self.received = linear(ends.outputs, ends.outputs, bias=False)

    def forward(
        self, x: Tensor, graph: Neighbourhood, edges: Tensor | None, drop: Drop
    ) -> tuple[Tensor, Tensor | None]:
        source, target = graph.edges.source, graph.edges.target
        mapped = self.edge(edges)
        back = torch.cat([mapped, mapped.new_zeros(1, mapped.size(1))]).index_select(0, graph.reverse)
        # Nodes add up before they are read along edges: one gathering for both terms.
        begun = self.source(x) + scatter(mapped, target, 0, graph.num_nodes, reduce="sum")
        updated = begun.index_select(0, source) - back
        received = scatter(functional.relu(updated), target, 0, graph.num_nodes, reduce="sum")
        return self.own(x) + self.received(received), updated


class PNAMessage(Message):
    """The mean, maximum, minimum and deviation of neighbours (Corso et al. 2020), without degree scalers.

    Each is mapped and added to a map of the node's own states.
    """

    axes: ClassVar[Axes] = {
        "own.weight": ("out", "in"),
        "own.bias": ("out",),
        "source.weight": ("out", "in"),
        "edge.weight": ("out", ""),
        **{f"{name}.weight": ("out", "out") for name in ("mean", "max", "min", "deviation")},
    }

    def __init__(self, ends: Ends) -> None:
        super().__init__(ends)
        self.own = linear(ends.inputs, ends.outputs)
        self.source = linear(ends.inputs, ends.outputs, bias=False)
        self.edge = linear(ends.edges, ends.outputs, bias=False) if ends.edges else None
        self.mean, self.max, self.min, self.deviation = (
            linear(ends.outputs, ends.outputs, bias=False) for _ in range(4)
        )

    def forward(
        self, x: Tensor, graph: Neighbourhood, edges: Tensor | None, drop: Drop
    ) -> tuple[Tensor, Tensor | None]:
        source = self.source(x)
        if self.edge is None:
            # Two passes give four: squares beside the values, and their negatives.
            mean, square = aggregate(torch.cat([source, source.square()], 1), graph.edges, reduce="mean").chunk(2, 1)
            most, least = aggregate(torch.cat([source, -source], 1), graph.edges, reduce="max").chunk(2, 1)
        else:
            message = source.index_select(0, graph.edges.source) + self.edge(graph.edge_attr)
            target, count = graph.edges.target, graph.num_nodes
            mean, square = scatter(torch.cat([message, message.square()], 1), target, 0, count, "mean").chunk(2, 1)
            most, least = scatter(torch.cat([message, -message], 1), target, 0, count, "max").chunk(2, 1)
        deviation = (functional.relu(square - mean.square()) + _VARIANCE).sqrt()
        received = self.mean(mean) + self.max(most) + self.min(-least) + self.deviation(deviation)
        return self.own(x) + received, None


MESSAGES: Mapping[str, type[Message]] = {
    "gcn": GCNMessage,
    "gat": GATMessage,
    "gatv2": GATv2Message,
    "sage": SAGEMessage,
    "gin": GINMessage,
    "gated": GatedMessage,
    "dmpnn": DirectedMessage,
    "pna": PNAMessage,
    "none": NoMessage,
}
"""The messages by name; all but `none` read edge features, `gated` and `dmpnn` through edge states."""


def with_edge_states(names: Iterable[Value]) -> list[Value]:
    """Those of some messages that read states of the edges and give new ones."""
    return [name for name in names if MESSAGES[str(name)].has_edge_states]


def make_message(name: str, ends: Ends) -> Message:
    """A message by its name, freshly initialised."""
    return MESSAGES[name](ends)
