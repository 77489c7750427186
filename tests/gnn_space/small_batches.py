"""Batches small enough to be worked out by hand, and a network that hands its input on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch_geometric.data import Data

from automl_plugins import Task
from automl_plugins.training.data.batches import FixedBatches
from automl_plugins.training.fit import LEAN
from automl_plugins.training.lightning import pl

NO_EDGES = torch.zeros(2, 0, dtype=torch.long)


class Echo(nn.Module):
    """Its input is its output, times a weight that begins at one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        batch: Tensor | None = None,
        num_graphs: int | None = None,
    ) -> Tensor:
        return self.weight * x


class Tiny(pl.LightningDataModule):
    """Batches as they are, for every stage."""

    def __init__(
        self,
        batches: Sequence[Data] | DataLoader[Data],
        task: Task,
        target_statistics: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.batches = batches if isinstance(batches, DataLoader) else FixedBatches(batches)
        self.task = task
        self.target_statistics = target_statistics

    def train_dataloader(self) -> Any:
        return self.batches

    def val_dataloader(self) -> Any:
        return self.batches

    def test_dataloader(self) -> Any:
        return self.batches


def rows(x: list[list[float]], y: Any, **others: Tensor) -> Data:
    """A batch whose outputs, under `Echo`, are the rows of `x`."""
    return Data(x=torch.tensor(x), edge_index=NO_EDGES, y=torch.tensor(y), **others)


def validated(module: pl.LightningModule, batches: Sequence[Data]) -> dict[str, float]:
    (metrics,) = pl.Trainer(**LEAN).validate(module, Tiny(batches, module.task), verbose=False)
    return dict(metrics)


def graph(task: Task, seed: int) -> Data:
    """Two groups of nodes, whose features tell them apart, on a ring; the first group's share varies."""
    generator = torch.Generator().manual_seed(seed)
    num_nodes = 8
    first = int(torch.randint(1, num_nodes, (), generator=generator))
    group = (torch.arange(num_nodes) < first).long()
    x = torch.randn(num_nodes, task.in_channels, generator=generator) + 2.0 * group.unsqueeze(1)
    ring = torch.stack([torch.arange(num_nodes), (torch.arange(num_nodes) + 1) % num_nodes])
    edge_index = torch.cat([ring, ring.flip(0)], dim=1)
    made = Data(x=x, edge_index=edge_index)
    if task.edge_channels:
        made.edge_attr = torch.randn(edge_index.size(1), task.edge_channels, generator=generator)
    share = first / num_nodes
    if task.level == "node":
        made.y = group
    elif task.level == "edge":
        made.y = (group[edge_index[0]] == group[edge_index[1]]).long()
    elif task.target == "classes":
        made.y = torch.tensor([int(share > 0.5)])
    elif task.target == "regression":
        made.y = torch.tensor([[100.0 + 20.0 * share]])
    else:
        made.y = torch.tensor([[float(share > 0.5), float(share > 0.25)][: task.out_channels]])
    return made


def two_processes() -> dict[str, Any]:
    strategy = DDPStrategy(start_method="fork", process_group_backend="gloo")
    return {"accelerator": "cpu", "devices": 2, "strategy": strategy}
