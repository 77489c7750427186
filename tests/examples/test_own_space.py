"""The example's space keeps the contract; a third party's test file looks like this."""

from __future__ import annotations

import torch
from own_space import VectorCellSpace
from torch import Tensor, nn

from automl_plugins import Task
from automl_plugins.testing import SupernetContract


class TestVectorCellSpace(SupernetContract):
    is_additive = True

    def space(self) -> VectorCellSpace:
        return VectorCellSpace(channels=4)

    def tasks(self) -> list[Task]:
        return [Task("node", "classes", in_channels=3, out_channels=2)]

    def loss(self, network: nn.Module, task: Task) -> Tensor:
        return network(torch.randn(5, task.in_channels)).square().mean()
