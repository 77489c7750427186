"""The operations of AGNN's layers: attention functions, combine functions and activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from torch_geometric.nn.inits import glorot

from gnn_space.aggregation import REDUCTIONS, aggregate, edge_dots, edge_ends, edge_softmax, few_messages, reduced
from gnn_space.attention import attended
from gnn_space.compressed import CompressedEdges, compressed, is_traced
from gnn_space.dropout import dropout
from gnn_space.input_checks import edges_of

ATTENTIONS = ("constant", "gcn", "gat", "sym-gat", "cos", "linear", "gene-linear")
AGGREGATIONS = REDUCTIONS
COMBINES = ("identity", "mlp")
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "linear": nn.Identity,
    "softplus": nn.Softplus,
    "leaky_relu": nn.LeakyReLU,
    "relu6": nn.ReLU6,
    "elu": nn.ELU,
}

_NOT_LEARNED = ("constant", "gcn")
_COMBINE_CHANNELS = 128
_CHUNK = 2**22
"""Elements of `[num_edges, heads, channels]` that `gene-linear` holds at a time: they stay in a core's cache."""


class AttentionLayer(nn.Module):
    r"""Transform, attend, aggregate and combine: one layer of AGNN (Zhou et al. 2022, section 3.1).

    With :math:`h = W x` split into heads, and :math:`u = U e` for edge features :math:`e`, node i receives

    .. math::
        \mathrm{combine}\Big(\mathrm{aggregate}_{j \in N(i) \cup \{i\}}\, \alpha_{ij}\, m_{ij}\Big) + b,
        \qquad m_{ij} = h_j \;\text{ or, with edge features, }\; \mathrm{ReLU}(h_j + u_{ij}).

    The coefficient :math:`\alpha_{ij}` of each attention function, without its terms in
    :math:`u` where edges have no features (`*` multiplies by channel, :math:`\Sigma` adds up a
    head's channels):

    - `constant`: :math:`1`; `gcn`: :math:`1/\sqrt{d_i d_j}`. They are not learned, so edge
      features reach the node through the message alone.
    - `gat`: softmax of :math:`s_{ij} = \mathrm{LeakyReLU}_{0.2}(\Sigma(a_l * h_i + a_r * h_j + a_e * u_{ij}))`.
    - `sym-gat`: softmax of :math:`s_{ij} + s_{ji}`, with the features of edge ij in both.
    - `cos`: softmax of :math:`\Sigma(a_l * h_i * a_r * (h_j + u_{ij}))`.
    - `linear`: softmax of :math:`\tanh(\Sigma(a_l * h_i + a_r * h_j + a_e * u_{ij}))`.
    - `gene-linear`: softmax of :math:`w_g^\top \tanh(a_l * h_i + a_r * h_j + a_e * u_{ij})`.

    The softmax runs over a node's *incoming* edges, self-loop included. (The inherited code of
    GraphNAS and SANE normalises over the outgoing ones, and its `linear` reads :math:`h_j` twice; we
    follow the papers' formulas.) The use of edge features is ours: the paper has none.

    No message is made for an edge where edges have no features, see `aggregate`. All scores but those of `gene-linear`
    are then numbers of an edge and head from the start (those of `cos` are sampled products): `gene-linear` needs the
    tanh of every channel of every edge, which it computes some edges at a time, and again in the backward pass.

    `combine` is `identity`, or `mlp`: two linear maps with 128 channels and a ReLU between them.

    Shapes:
        x `[num_nodes, in_channels]`; edge_index `[2, num_edges]` with its self-loops already there, or its
        `CompressedEdges`; edge_attr `[num_edges, edge_channels]` or None; output
        `[num_nodes, heads * hidden_channels]`.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        heads: int,
        attention: str,
        aggregation: str,
        combine: str,
        edge_channels: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.aggregation = aggregation
        self.heads = heads
        self.hidden_channels = hidden_channels
        self.dropout = dropout
        channels = heads * hidden_channels
        self.transform = nn.Linear(in_channels, channels, bias=False)
        self.edge_transform = nn.Linear(edge_channels, channels, bias=False) if edge_channels else None
        glorot(self.transform.weight)
        for name, vector in attention_vectors(attention, heads, hidden_channels, bool(edge_channels)).items():
            self.register_parameter(name, vector)
        self.combine = combine_perceptron(channels) if combine == "mlp" else nn.Identity()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, edge_index: Tensor | CompressedEdges, edge_attr: Tensor | None = None) -> Tensor:
        edges = edges_of(x, edge_index, self.transform.in_features, None if self.edge_transform is None else edge_attr)
        hidden = self.transform(x).view(-1, self.heads, self.hidden_channels)
        edge = None
        if self.edge_transform is not None:
            edge = self.edge_transform(edge_attr).view(-1, self.heads, self.hidden_channels)
        if edge is None and not few_messages(edges, hidden):
            edges = edges.sorted
        if edge is None and self.attention not in _NOT_LEARNED:
            scores = _scores(self.attention, hidden, edges, None, self._vectors)
            received = attended(hidden, scores, edges, self.dropout, self.training, self.aggregation)
        else:
            coefficients = self.coefficients(hidden, edges, edge)
            if coefficients is not None:
                coefficients = dropout(coefficients, self.dropout, self.training)
            received = received_from(hidden, edges, edge, coefficients)(self.aggregation)
        return self.combine(received.flatten(1)) + self.bias

    @property
    def _vectors(self) -> dict[str, nn.Parameter]:
        return dict(self.named_parameters(recurse=False))

    def coefficients(self, hidden: Tensor, edge_index: Tensor | CompressedEdges, edge: Tensor | None) -> Tensor | None:
        """The attention coefficients, see `attention_coefficients`."""
        edges = compressed(edge_index, hidden.size(0))
        return attention_coefficients(self.attention, hidden, edges, edge, self._vectors)


def attention_vectors(attention: str, heads: int, hidden_channels: int, has_edges: bool) -> dict[str, nn.Parameter]:
    """The weights of an attention function, freshly initialised, by name; see `AttentionLayer`.

    Returns:
        `target_weight`, `source_weight` and `edge_weight` `[1, heads, hidden_channels]`, `general_weight`
        `[hidden_channels]`, as far as the function has them.
    """
    names: list[str] = []
    if attention not in _NOT_LEARNED:
        names = ["target_weight", "source_weight"]
        # `cos` reads the edge inside the source term, so it has no weight of its own for edges.
        if has_edges and attention != "cos":
            names.append("edge_weight")
    vectors = {name: nn.Parameter(torch.empty(1, heads, hidden_channels)) for name in names}
    for vector in vectors.values():
        glorot(vector)
    if attention == "gene-linear":
        vectors["general_weight"] = nn.Parameter(torch.empty(hidden_channels))
        nn.init.uniform_(vectors["general_weight"], -(hidden_channels**-0.5), hidden_channels**-0.5)
    return vectors


def combine_perceptron(channels: int) -> nn.Sequential:
    """The combine function `mlp`."""
    return nn.Sequential(nn.Linear(channels, _COMBINE_CHANNELS), nn.ReLU(), nn.Linear(_COMBINE_CHANNELS, channels))


def received_from(
    hidden: Tensor, edges: CompressedEdges, edge: Tensor | None, coefficients: Tensor | None
) -> Callable[[str], Tensor]:
    """The states that nodes receive under a reduction by its name, `[num_nodes, heads, hidden_channels]`.

    Args:
        hidden: `[num_nodes, heads, hidden_channels]`.
        edges: of the graph.
        edge: mapped edge features `[num_edges, heads, hidden_channels]`, which enter the messages; None: the task has
            none, and no message is made.
        coefficients: `[num_edges, heads]`, `[num_edges, 1]`, or `[1, 1]` for one number; None: all are one.
    """
    if edge is not None:
        message = functional.relu(hidden.index_select(0, edges.source) + edge)
        if coefficients is not None:
            message = message * coefficients.unsqueeze(-1)
        return lambda reduce: reduced(message, edges, reduce)
    if coefficients is not None and coefficients.size(0) != edges.num_edges:
        hidden, coefficients = hidden * coefficients.unsqueeze(-1), None
    return lambda reduce: aggregate(hidden, edges, coefficients, reduce)


def attention_coefficients(
    attention: str, hidden: Tensor, edges: CompressedEdges, edge: Tensor | None, vectors: Mapping[str, Tensor]
) -> Tensor | None:
    """The attention coefficients `[num_edges, heads]` (gcn: `[num_edges, 1]`), or None where all are one.

    Args:
        attention: one of `ATTENTIONS`.
        hidden: `[num_nodes, heads, hidden_channels]`.
        edges: of the graph.
        edge: mapped edge features `[num_edges, heads, hidden_channels]`; None: the task has none.
        vectors: what the function learns, see `attention_vectors`.
    """
    if attention == "constant":
        return None
    if attention == "gcn":
        inverse_root = edges.in_degree.clamp(min=1).to(hidden.dtype).rsqrt()
        return (inverse_root.index_select(0, edges.source) * inverse_root.index_select(0, edges.target)).unsqueeze(-1)
    return edge_softmax(_scores(attention, hidden, edges, edge, vectors), edges)


def _scores(
    attention: str, hidden: Tensor, edges: CompressedEdges, edge: Tensor | None, vectors: Mapping[str, Tensor]
) -> Tensor:
    """The scores before the softmax, `[num_edges, heads]`."""
    weighted_target = hidden * vectors["target_weight"]
    if attention == "cos":
        query = weighted_target * vectors["source_weight"]
        score = edge_dots(query, hidden, edges)
        return score if edge is None else score + (query.index_select(0, edges.target) * edge).sum(-1)
    weighted_source = hidden * vectors["source_weight"]
    weighted_edge = None if edge is None else edge * vectors["edge_weight"]
    if attention == "gene-linear":
        return _general_scores(weighted_target, weighted_source, weighted_edge, vectors["general_weight"], edges)
    # A head's channels are added up before the gather: one number for an edge instead of all channels.
    as_target, as_source = weighted_target.sum(-1), weighted_source.sum(-1)
    along_edge = 0.0 if weighted_edge is None else weighted_edge.sum(-1)
    forward = edge_ends(as_target, as_source, edges) + along_edge
    if attention == "linear":
        return forward.tanh()
    score = functional.leaky_relu(forward, 0.2)
    if attention == "sym-gat":
        backward = edge_ends(as_source, as_target, edges) + along_edge
        score = score + functional.leaky_relu(backward, 0.2)
    return score


def _general_scores(
    of_target: Tensor, of_source: Tensor, of_edge: Tensor | None, vector: Tensor, edges: CompressedEdges
) -> Tensor:
    """The scores of `gene-linear`, some edges at a time, so that what is kept does not grow with the channels."""

    def score(target: Tensor, source: Tensor, edge: Tensor | None) -> Tensor:
        terms = of_target.index_select(0, target) + of_source.index_select(0, source)
        return (terms if edge is None else terms + edge).tanh() @ vector

    if is_traced():
        return score(edges.target, edges.source, of_edge)
    rows = max(_CHUNK // of_target[0:1].numel(), 1) if of_target.numel() else edges.num_edges + 1
    if edges.num_edges <= rows:
        return score(edges.target, edges.source, of_edge)
    parts = []
    for first in range(0, edges.num_edges, rows):
        some = slice(first, first + rows)
        ends = edges.target[some], edges.source[some], None if of_edge is None else of_edge[some]
        parts.append(checkpoint(score, *ends, use_reentrant=False, preserve_rng_state=False))
    return torch.cat(parts)
