"""The operations of `gnn_space.egnas.extended` of one name, computed side by side before their normalisation.

Each takes the stacked weights, nodes `[count, num_nodes, node_channels + 1]` and edges `[count, num_edges,
edge_channels + 1]` in homogeneous coordinates, and the graph; it gives `[count, num_nodes | num_edges, channels]`.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from gnn_space.egnas.extended import EPSILON
from gnn_space.egnas.graph_index import GraphIndex
from gnn_space.egnas.operations import SLOPE
from gnn_space.egnas.updates import Weights, linear_map

_SMALLEST = 1e-16
"""PyG adds it to the sum of a softmax."""


def gated_edges(weights: Weights, nodes: Tensor, edges: Tensor, graph: GraphIndex) -> Tensor:
    """`GatedEdges` before their normalisation, which are the scores of `GatedNodes` as well."""
    ends = graph.of_targets(nodes @ linear_map(weights, "target")) + graph.of_sources(
        nodes @ linear_map(weights, "source")
    )
    return ends.baddbmm(edges, linear_map(weights, "edge"))


def gated_nodes(weights: Weights, nodes: Tensor, edges: Tensor, graph: GraphIndex) -> Tensor:
    """`GatedNodes` before their normalisation."""
    gates = gated_edges(weights, nodes, edges, graph).sigmoid()
    received = graph.sum(gates * graph.of_sources(nodes @ linear_map(weights, "neighbour")))
    return nodes @ linear_map(weights, "own") + received / (graph.sum(gates) + EPSILON)


def gine_nodes(weights: Weights, nodes: Tensor, edges: Tensor, graph: GraphIndex) -> Tensor:
    """`GINENodes` before their normalisation."""
    states = nodes[:, :, :-1]
    received = graph.sum(graph.of_sources(states).baddbmm(edges, linear_map(weights, "edge")).relu())
    summed = (1 + weights["epsilon"].unsqueeze(2)) * states + received
    hidden = summed @ weights["hidden.weight"].mT + weights["hidden.bias"].unsqueeze(1)
    return hidden.relu() @ weights["output.weight"].mT + weights["output.bias"].unsqueeze(1)


def attention_nodes(weights: Weights, nodes: Tensor, edges: Tensor, graph: GraphIndex) -> Tensor:
    """`AttentionNodes` before their normalisation."""
    sent = graph.of_sources(nodes @ linear_map(weights, "source"))
    hidden = graph.of_targets(nodes @ linear_map(weights, "target")) + sent
    hidden = hidden.baddbmm(edges[:, :, :-1], weights["edge.weight"].mT)
    scores = functional.leaky_relu(hidden, SLOPE) @ weights["score.weight"].mT
    # The largest score leaves the softmax as it is, and needs no gradient.
    raised = (scores - graph.of_targets(graph.max(scores.detach()))).exp()
    received = graph.sum(raised * sent) / (graph.sum(raised) + _SMALLEST)
    return nodes @ linear_map(weights, "own") + received
