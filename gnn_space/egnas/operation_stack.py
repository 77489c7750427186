"""The weights of several operations of one name, stacked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from gnn_space.egnas.plan import Step

_EPSILON = 1e-5
_MOMENTUM = 0.1


class OperationStack(nn.Module):
    """Parameters and buffers of operations of one name: each is one tensor `[num_operations, ...]`.

    Args:
        operations: whose weights are copied.
    """

    keeps_running_statistics = True
    """As `automl_plugins.supernets.supernet.Supernet` says: each operation ends with a normalisation."""

    def __init__(self, operations: Mapping[Step, nn.Module]) -> None:
        super().__init__()
        self._rows = {step: row for row, step in enumerate(operations)}
        parameters, buffers = torch.func.stack_module_state(list(operations.values()))
        # Dots would stand for submodules.
        self._attributes = {name: name.replace(".", "_") for name in (*parameters, *buffers)}
        for name, parameter in parameters.items():
            self.register_parameter(self._attributes[name], nn.Parameter(parameter.detach()))
        for name, buffer in buffers.items():
            self.register_buffer(self._attributes[name], buffer)

    def state_of(self, step: Step) -> dict[str, Tensor]:
        """Views of what the `state_dict` of one operation would be."""
        row = self._rows[step]
        return {name: getattr(self, attribute).detach()[row] for name, attribute in self._attributes.items()}

    def select(self, steps: Sequence[Step]) -> dict[str, Tensor]:
        """The weights of some operations, by their names in one of them."""
        rows = [self._rows[step] for step in steps]
        weights = {name: cast(Tensor, getattr(self, attribute)) for name, attribute in self._attributes.items()}
        first, end = rows[0], rows[-1] + 1
        if rows == list(range(first, end)):
            return {name: weight[first:end] for name, weight in weights.items()}
        index = torch.tensor(rows, device=next(iter(weights.values())).device)
        return {name: weight.index_select(0, index) for name, weight in weights.items()}

    def normalise(self, steps: Sequence[Step], results: Tensor, gates: Sequence[Tensor]) -> Tensor:
        """The sum of the operations' results, each after batch normalisation and times its gate.

        As in `gnn_space.frame.batch_norm`, a single row is normalised by the running statistics.

        Args:
            steps: the operations.
            results: `[num_steps, num_rows, channels]`.
            gates: a scalar for each of them.
        """
        by_batch = self.training and results.size(1) > 1
        mean, variance, count = (
            cast(Tensor, getattr(self, f"norm_module_{name}"))
            for name in ("running_mean", "running_var", "num_batches_tracked")
        )
        total: Tensor | None = None
        for step, rows, gate in zip(steps, results.unbind(), gates, strict=True):
            row = self._rows[step]
            # The gate takes the place of the weights that the normalisation does not have. Not expanded:
            # torch's backward pass on a CPU reads weights without their stride.
            weight = gate.repeat(rows.size(1))
            part = functional.batch_norm(rows, mean[row], variance[row], weight, None, by_batch, _MOMENTUM, _EPSILON)
            total = part if total is None else total.add_(part)
            if by_batch:
                count[row] += 1
        return cast(Tensor, total)
