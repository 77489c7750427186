"""The operations of AGNN's layers: attention functions, combine functions and activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.inits import glorot
from torch_geometric.utils import degree, softmax

from gnn_space.aggregation import REDUCTIONS

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

_COMBINE_CHANNELS = 128


class AttentionLayer(MessagePassing):
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

    `combine` is `identity`, or `mlp`: two linear maps with 128 channels and a ReLU between them.

    Shapes:
        x `[num_nodes, in_channels]`; edge_index `[2, num_edges]` with its self-loops already there;
        edge_attr `[num_edges, edge_channels]` or None; output `[num_nodes, heads * hidden_channels]`.
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
        super().__init__(aggr=aggregation, node_dim=0)
        self.attention = attention
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

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None = None) -> Tensor:
        hidden = self.transform(x).view(-1, self.heads, self.hidden_channels)
        edge = None
        if self.edge_transform is not None:
            edge = self.edge_transform(edge_attr).view(-1, self.heads, self.hidden_channels)
        coefficients = self.coefficients(hidden, edge_index, edge)
        if coefficients is not None:
            coefficients = functional.dropout(coefficients, self.dropout, self.training)
        received = self.propagate(edge_index, x=hidden, edge=edge, coefficients=coefficients)
        return self.combine(received.flatten(1)) + self.bias

    def message(self, x_j: Tensor, edge: Tensor | None, coefficients: Tensor | None) -> Tensor:
        return weighted_message(x_j, edge, coefficients)

    def coefficients(self, hidden: Tensor, edge_index: Tensor, edge: Tensor | None) -> Tensor | None:
        """The attention coefficients, see `attention_coefficients`."""
        vectors = dict(self.named_parameters(recurse=False))
        return attention_coefficients(self.attention, hidden, edge_index, edge, vectors)


def attention_vectors(attention: str, heads: int, hidden_channels: int, has_edges: bool) -> dict[str, nn.Parameter]:
    """The weights of an attention function, freshly initialised, by name; see `AttentionLayer`.

    Returns:
        `target_weight`, `source_weight` and `edge_weight` `[1, heads, hidden_channels]`, `general_weight`
        `[hidden_channels]`, as far as the function has them.
    """
    names: list[str] = []
    if attention not in ("constant", "gcn"):
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


def weighted_message(source: Tensor, edge: Tensor | None, coefficients: Tensor | None) -> Tensor:
    """The messages along edges, weighted by their coefficients, `[num_edges, heads, hidden_channels]`.

    Args:
        source: the states of the edges' sources, `[num_edges, heads, hidden_channels]`.
        edge: mapped edge features, of the same shape; None: the task has none.
        coefficients: `[num_edges, heads]`, or ones in place of either; None: all are one.
    """
    message = source if edge is None else functional.relu(source + edge)
    return message if coefficients is None else message * coefficients.unsqueeze(-1)


def attention_coefficients(
    attention: str, hidden: Tensor, edge_index: Tensor, edge: Tensor | None, vectors: Mapping[str, Tensor]
) -> Tensor | None:
    """The attention coefficients `[num_edges, heads]` (gcn: `[num_edges, 1]`), or None where all are one.

    Args:
        attention: one of `ATTENTIONS`.
        hidden: `[num_nodes, heads, hidden_channels]`.
        edge_index: `[2, num_edges]`.
        edge: mapped edge features `[num_edges, heads, hidden_channels]`; None: the task has none.
        vectors: what the function learns, see `attention_vectors`.
    """
    source, target = edge_index[0], edge_index[1]
    num_nodes = hidden.size(0)
    if attention == "constant":
        return None
    if attention == "gcn":
        inverse_root = degree(target, num_nodes, hidden.dtype).clamp(min=1).rsqrt()
        return (inverse_root.index_select(0, source) * inverse_root.index_select(0, target)).unsqueeze(-1)
    return softmax(_scores(attention, hidden, source, target, edge, vectors), target, num_nodes=num_nodes)


def _scores(
    attention: str, hidden: Tensor, source: Tensor, target: Tensor, edge: Tensor | None, vectors: Mapping[str, Tensor]
) -> Tensor:
    """The scores before the softmax, `[num_edges, heads]`."""
    weighted_target = hidden * vectors["target_weight"]
    if attention == "cos":
        query = (weighted_target * vectors["source_weight"]).index_select(0, target)
        key = hidden.index_select(0, source)
        return (query * (key if edge is None else key + edge)).sum(-1)
    weighted_source = hidden * vectors["source_weight"]
    weighted_edge = None if edge is None else edge * vectors["edge_weight"]
    if attention == "gene-linear":
        terms = weighted_target.index_select(0, target) + weighted_source.index_select(0, source)
        return (terms if weighted_edge is None else terms + weighted_edge).tanh() @ vectors["general_weight"]
    # A head's channels are added up before the gather: one number for an edge instead of all channels.
    as_target, as_source = weighted_target.sum(-1), weighted_source.sum(-1)
    along_edge = 0 if weighted_edge is None else weighted_edge.sum(-1)
    forward = as_target.index_select(0, target) + as_source.index_select(0, source) + along_edge
    if attention == "linear":
        return forward.tanh()
    score = functional.leaky_relu(forward, 0.2)
    if attention == "sym-gat":
        backward = as_target.index_select(0, source) + as_source.index_select(0, target) + along_edge
        score = score + functional.leaky_relu(backward, 0.2)
    return score
