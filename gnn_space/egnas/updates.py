"""All operations that read one state of a cell, computed together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from gnn_space.egnas.edge_order import EdgeOrder
from gnn_space.egnas.functions import GRU, Relation, block_linear
from gnn_space.egnas.gated_norm import gated_norm
from gnn_space.egnas.messages import Messages
from gnn_space.egnas.operations import SLOPE
from gnn_space.egnas.plan import Step
from gnn_space.egnas.weight_stack import WeightStack


class NodeUpdates(WeightStack):
    """`NodeOperation`s that read the same state.

    First linear maps are one matrix product. The second layer of the modulation is folded
    into the scale and shift that follow. Sums and means map their edges' shifts after summing.
    """

    def forward(
        self, nodes: Tensor, edges: Tensor, order: EdgeOrder, steps: Sequence[Step], gates: Tensor
    ) -> dict[int, Tensor]:
        """What the operations add to later states.

        Args:
            nodes: the state, `[num_nodes, node_channels]`.
            edges: the state, `[num_edges, edge_channels]`.
            order: of the edges.
            steps: the operations that are open.
            gates: theirs, `[num_steps]`.

        Returns:
            For each target, `[num_nodes, node_channels]`.
        """
        maxima = [step for step in steps if step.operation == "max"]
        sums = [step for step in steps if step.operation != "max"]
        hidden = functional.leaky_relu(nodes, SLOPE)
        hidden = _first_layer(hidden, self.select("message.0.weight", steps), self.select("message.0.bias", steps))
        modulation = _first_layer(
            edges, self.select("modulation.0.weight", steps), self.select("modulation.0.bias", steps)
        )
        inner, inner_bias = self.select("modulation.2.weight", steps), self.select("modulation.2.bias", steps)
        scale = _after(self.select("scale.weight", steps), self.select("scale.bias", steps), inner, inner_bias)
        shift, shift_bias = _after(
            self.select("shift.weight", steps), self.select("shift.bias", steps), inner, inner_bias
        )
        products, modulations, most = Messages.apply(
            hidden,
            modulation,
            self.select("message.2.weight", steps),
            self.select("message.2.bias", steps),
            *scale,
            shift[len(sums) :],
            shift_bias[len(sums) :],
            order,
        )
        output, bias = self.select("output.weight", steps), self.select("output.bias", steps)
        results = []
        if sums:
            degree = order.in_degree.to(nodes.dtype).unsqueeze(1)
            shifted = block_linear(modulations, shift[: len(sums)]) + degree * shift_bias[: len(sums)].flatten()
            received = products + shifted
            if any(step.operation == "mean" for step in sums):
                divisors = torch.ones(len(nodes), len(sums), 1, dtype=nodes.dtype, device=nodes.device)
                for position, step in enumerate(sums):
                    if step.operation == "mean":
                        divisors[:, position] = degree.clamp(min=1)
                received = (received.unflatten(1, (len(sums), -1)) / divisors).flatten(1)
            results.append(block_linear(received, output[: len(sums)], bias[: len(sums)]))
        if maxima:
            results.append(block_linear(most, output[len(sums) :], bias[len(sums) :]))
        return gated_norm(self, steps, gates, results, self.training)


class EdgeUpdates(WeightStack):
    """`EdgeOperation`s that read the same state.

    The first layer of the relation is split into terms of nodes, which are computed on nodes and
    gathered. Its second layer is folded into the maps that follow, and so is that of `concat`'s
    perceptron into the output.
    """

    def forward(
        self, nodes: Tensor, edges: Tensor, order: EdgeOrder, steps: Sequence[Step], gates: Tensor
    ) -> dict[int, Tensor]:
        """What the operations add to later states.

        Args:
            nodes: the state, `[num_nodes, node_channels]`.
            edges: the state, `[num_edges, edge_channels]`.
            order: of the edges.
            steps: the operations that are open.
            gates: theirs, `[num_steps]`.

        Returns:
            For each target, `[num_edges, edge_channels]`.
        """
        # V_i, V_j and V_i - V_j: two terms of nodes.
        target, source, difference = self.select("relation.0.weight", steps).chunk(3, dim=2)
        weight = torch.cat([target + difference, source - difference]).flatten(0, 1)
        bias = self.select("relation.0.bias", steps).flatten()
        relation = Relation.apply(functional.linear(nodes, weight, functional.pad(bias, (0, len(bias)))), order)
        rectified = functional.leaky_relu(edges, SLOPE)
        results = []
        counts = [sum(step.operation == name for step in steps) for name in ("concat", "gru", "film")]
        relations = relation.split([count * edges.size(1) for count in counts], dim=1)
        first = 0
        for name, count, rows in zip(("concat", "gru", "film"), counts, relations, strict=True):
            if count:
                own = steps[first : first + count]
                results.append(getattr(self, f"_{name}")(rows, rectified, own))
                first += count
        return gated_norm(self, steps, gates, results, self.training)

    def _concat(self, relation: Tensor, edges: Tensor, steps: Sequence[Step]) -> Tensor:
        of_relation, of_edges = self.select("join.0.weight", steps).chunk(2, dim=2)
        weight, bias = _after(of_relation, self.select("join.0.bias", steps), *self._inner(steps))
        hidden = functional.linear(edges, of_edges.flatten(0, 1), bias.flatten())
        hidden = functional.leaky_relu_(hidden.add_(block_linear(relation, weight)), SLOPE)
        inner = self.select("join.2.weight", steps), self.select("join.2.bias", steps)
        return block_linear(hidden, *_after(*self._output(steps), *inner))

    def _gru(self, relation: Tensor, edges: Tensor, steps: Sequence[Step]) -> Tensor:
        weight, bias = _after(
            self.select("cell.weight_ih", steps), self.select("cell.bias_ih", steps), *self._inner(steps)
        )
        weight_hidden, bias_hidden = self.select("cell.weight_hh", steps), self.select("cell.bias_hh", steps)
        reset, update, of_input = (
            block_linear(relation, *gate) for gate in zip(weight.chunk(3, 1), bias.chunk(3, 1), strict=True)
        )
        of_hidden = (
            functional.linear(edges, weight.flatten(0, 1), bias.flatten())
            for weight, bias in zip(weight_hidden.chunk(3, 1), bias_hidden.chunk(3, 1), strict=True)
        )
        reset, update = reset.add_(next(of_hidden)), update.add_(next(of_hidden))
        return block_linear(GRU.apply(reset, update, of_input, next(of_hidden), edges), *self._output(steps))

    def _film(self, relation: Tensor, edges: Tensor, steps: Sequence[Step]) -> Tensor:
        inner = self._inner(steps)
        scale = block_linear(
            relation, *_after(self.select("scale.weight", steps), self.select("scale.bias", steps), *inner)
        ).sigmoid_()
        output, bias = self._output(steps)
        shift = _after(self.select("shift.weight", steps), self.select("shift.bias", steps), *inner)
        scaled = (scale.unflatten(1, (len(steps), -1)) * edges.unsqueeze(1)).flatten(1)
        return block_linear(scaled, output).add_(block_linear(relation, *_after(output, bias, *shift)))

    def _inner(self, steps: Sequence[Step]) -> tuple[Tensor, Tensor]:
        return self.select("relation.2.weight", steps), self.select("relation.2.bias", steps)

    def _output(self, steps: Sequence[Step]) -> tuple[Tensor, Tensor]:
        return self.select("output.weight", steps), self.select("output.bias", steps)


def _first_layer(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return functional.leaky_relu_(functional.linear(rows, weight.flatten(0, 1), bias.flatten()), SLOPE)


def _after(weight: Tensor, bias: Tensor, inner: Tensor, inner_bias: Tensor) -> tuple[Tensor, Tensor]:
    """One linear map for two, the inner one first; `[num_operations, ...]` each."""
    return weight @ inner, torch.baddbmm(bias.unsqueeze(2), weight, inner_bias.unsqueeze(2)).squeeze(2)
