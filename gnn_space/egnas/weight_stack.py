"""The weights of several operations, stacked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from gnn_space.egnas.plan import Step


class WeightStack(nn.Module):
    """Parameters and buffers of several operations: those of one name are one tensor `[num_operations, ...]`.

    Operations need not have the same names: the tensor of a name has rows for those that have it, in order.

    Args:
        operations: whose weights are copied.
    """

    keeps_running_statistics = True
    """As `automl_plugins.supernets.supernet.Supernet` says: each operation ends with a normalisation."""

    def __init__(self, operations: Mapping[Step, nn.Module]) -> None:
        super().__init__()
        self.rows: dict[str, dict[Step, int]] = {}
        parameters = {name for operation in operations.values() for name, _ in operation.named_parameters()}
        states = {step: operation.state_dict() for step, operation in operations.items()}
        for step, state in states.items():
            for name in state:
                rows = self.rows.setdefault(name, {})
                rows[step] = len(rows)
        for name, rows in self.rows.items():
            tensor = torch.stack([states[step][name] for step in rows])
            if name in parameters:
                self.register_parameter(_attribute(name), nn.Parameter(tensor))
            else:
                self.register_buffer(_attribute(name), tensor)

    def tensor(self, name: str) -> Tensor:
        """The weights of that name, of all operations that have it."""
        tensor: Tensor = getattr(self, _attribute(name))
        return tensor

    def positions(self, name: str, steps: Sequence[Step]) -> list[int]:
        """The rows of those operations, among the given ones, that have weights of that name."""
        rows = self.rows[name]
        return [rows[step] for step in steps if step in rows]

    def select(self, name: str, steps: Sequence[Step]) -> Tensor:
        """The weights of that name, of those operations among the given ones that have it."""
        tensor, positions = self.tensor(name), self.positions(name, steps)
        first, count = positions[0], len(positions)
        if positions != list(range(first, first + count)):
            return tensor.index_select(0, torch.tensor(positions, device=tensor.device))
        # Where all are asked for, there is nothing to copy, and the gradient is the parameter's own.
        return tensor if count == len(tensor) else tensor.narrow(0, first, count)

    def state_of(self, step: Step) -> dict[str, Tensor]:
        """The `state_dict` that one operation would have; the tensors are views."""
        return {name: self.tensor(name).detach()[rows[step]] for name, rows in self.rows.items() if step in rows}


def _attribute(name: str) -> str:
    # Dots would stand for submodules.
    return name.replace(".", "_")
