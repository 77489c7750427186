"""EGNAS's operations of one name, computed side by side before their normalisation.

Linear maps are in homogeneous coordinates: rows end with a one, and the last row of a map `[inputs + 1, outputs]` is
its bias. Maps then compose as matrices do, a bias takes no pass of its own, and a sum over edges counts it as often.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from gnn_space.egnas.graph_index import GraphIndex
from gnn_space.egnas.operations import SLOPE

Weights = Mapping[str, Tensor]
"""Stacked weights `[count, ...]` of operations, by their names in one of them."""


def with_one(rows: Tensor) -> Tensor:
    """Rows `[..., channels]` in homogeneous coordinates."""
    return functional.pad(rows, (0, 1), value=1.0)


def affine(weight: Tensor, bias: Tensor, keeps_one: bool = False) -> Tensor:
    """Linear maps in homogeneous coordinates.

    Args:
        weight: `[count, outputs, inputs]`.
        bias: `[count, outputs]`.
        keeps_one: give the results in homogeneous coordinates, too: one more output.

    Returns:
        `[count, inputs + 1, outputs]`.
    """
    rows = torch.cat([weight, bias.unsqueeze(2)], dim=2)
    if keeps_one:
        one = rows.new_zeros(len(rows), 1, rows.size(2))
        one[:, :, -1] = 1.0
        rows = torch.cat([rows, one], dim=1)
    return rows.mT


def linear_map(weights: Weights, name: str, keeps_one: bool = False) -> Tensor:
    """The maps of a linear layer."""
    return affine(weights[f"{name}.weight"], weights[f"{name}.bias"], keeps_one)


def _outputs(weights: Weights, rows: Tensor) -> Tensor:
    """The last linear maps, of rows that are not in homogeneous coordinates."""
    return torch.baddbmm(weights["output.bias"].unsqueeze(1), rows, weights["output.weight"].mT)


def node_updates(aggregation: str, weights: Weights, nodes: Tensor, edges: Tensor, graph: GraphIndex) -> Tensor:
    """`NodeOperation`s of one aggregation, each with states of its own.

    Args:
        aggregation: the operations' name.
        weights: theirs.
        nodes: `[count, num_nodes, node_channels + 1]`, rectified, in homogeneous coordinates.
        edges: `[count, num_edges, edge_channels + 1]`, in homogeneous coordinates.
        graph: the edges.

    Returns:
        `[count, num_nodes, node_channels]`.
    """
    hidden = functional.leaky_relu_(nodes @ linear_map(weights, "message.0", True), SLOPE)
    modulation = functional.leaky_relu_(edges @ linear_map(weights, "modulation.0", True), SLOPE)
    arguments = (aggregation, weights, hidden, modulation, graph)
    if aggregation == "max" and not weights["output.weight"].requires_grad:
        # A step of the gates keeps less, and maxima are more work than sums.
        return _aggregate(*arguments)
    # Messages are most of the memory, and little of the work: they are computed again in the backward pass.
    return checkpoint(_aggregate, *arguments, use_reentrant=False, preserve_rng_state=False)


def _aggregate(aggregation: str, weights: Weights, hidden: Tensor, modulation: Tensor, graph: GraphIndex) -> Tensor:
    """The updates from the hidden layers of messages and modulations on."""
    inner = linear_map(weights, "modulation.2", True)
    scale = (modulation @ (inner @ linear_map(weights, "scale"))).sigmoid_()
    shift = inner @ linear_map(weights, "shift")
    sent = graph.of_sources(hidden @ linear_map(weights, "message.2"))
    if aggregation == "max":
        received = graph.max((modulation @ shift).addcmul_(scale, sent))
    else:
        # It takes fewer products to map a sum than to sum what was mapped.
        received = graph.sum(scale * sent) + graph.sum(modulation) @ shift
        if aggregation == "mean":
            received = received / graph.in_degree.clamp(min=1).unsqueeze(1)
    return _outputs(weights, received)


def edge_updates(update: str, weights: Weights, nodes: Tensor, edges: Tensor, graph: GraphIndex) -> Tensor:
    """`EdgeOperation`s of one update, each with states of its own.

    Args:
        update: the operations' name.
        weights: theirs.
        nodes: `[count, num_nodes, node_channels + 1]`, in homogeneous coordinates.
        edges: `[count, num_edges, edge_channels]`, rectified.
        graph: the edges.

    Returns:
        `[count, num_edges, edge_channels]`.
    """
    # Of V_i, V_j and V_i - V_j: a term of each end, which is computed on nodes.
    target, source, difference = weights["relation.0.weight"].chunk(3, dim=2)
    of_targets = nodes @ affine(target + difference, weights["relation.0.bias"], True)
    of_sources = nodes @ functional.pad((source - difference).mT, (0, 1, 0, 1))
    relation = graph.of_targets(of_targets).add_(graph.of_sources(of_sources))
    relation = functional.leaky_relu_(relation, SLOPE)
    return _FORMS[update](weights, relation, linear_map(weights, "relation.2", True), edges)


def _concat(weights: Weights, relation: Tensor, inner: Tensor, edges: Tensor) -> Tensor:
    of_relation, of_edges = weights["join.0.weight"].chunk(2, dim=2)
    hidden = edges @ functional.pad(of_edges.mT, (0, 1))
    hidden = hidden.baddbmm_(relation, inner @ affine(of_relation, weights["join.0.bias"], True))
    return functional.leaky_relu_(hidden, SLOPE) @ (linear_map(weights, "join.2", True) @ linear_map(weights, "output"))


def _gru(weights: Weights, relation: Tensor, inner: Tensor, edges: Tensor) -> Tensor:
    input_bias, state_bias = weights["cell.bias_ih"].chunk(3, 1), weights["cell.bias_hh"].chunk(3, 1)
    # Two of the gates add both biases up.
    biases = torch.cat([input_bias[0] + state_bias[0], input_bias[1] + state_bias[1], input_bias[2]], dim=1)
    inputs = (inner @ affine(weights["cell.weight_ih"], biases)).chunk(3, dim=2)
    states = weights["cell.weight_hh"].mT.chunk(3, dim=2)
    reset, update = ((edges @ states[gate]).baddbmm_(relation, inputs[gate]).sigmoid_() for gate in (0, 1))
    candidate = torch.baddbmm(state_bias[2].unsqueeze(1), edges, states[2])
    candidate = (relation @ inputs[2]).addcmul_(reset, candidate).tanh_()
    return _outputs(weights, torch.lerp(candidate, edges, update))


def _film(weights: Weights, relation: Tensor, inner: Tensor, edges: Tensor) -> Tensor:
    scale = (relation @ (inner @ linear_map(weights, "scale"))).sigmoid_()
    shift = inner @ linear_map(weights, "shift", True) @ linear_map(weights, "output")
    return (relation @ shift).baddbmm_(scale * edges, weights["output.weight"].mT)


_FORMS: dict[str, Callable[[Weights, Tensor, Tensor, Tensor], Tensor]] = {"concat": _concat, "gru": _gru, "film": _film}
