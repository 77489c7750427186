"""A search that would not fit into memory is refused before its first step, and says what would fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from search_project import LitUser, UserData, differing, state
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from automl_plugins import Task
from automl_plugins.search import ArchitectureSearch
from gnn_space import EGNASSpace
from gnn_space.data import ClusterData
from gnn_space.modules import NodeClassification
from seg_space import AutoDeepLabSpace

TASK = Task("pixel", "classes", in_channels=3, out_channels=3)
MEBIBYTE = 2**20


class LitPixels(pl.LightningModule):
    def __init__(self, checkpointing: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        sizes: dict[str, Any] = {"layers": 2, "blocks": 1, "filters": 2, "stem": (4, 4), "head": "aspp"}
        space = AutoDeepLabSpace(**sizes, checkpointing=checkpointing)
        self.net = space.searchable(TASK)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


class Images(pl.LightningDataModule):
    def train_dataloader(self) -> DataLoader[Any]:
        images = torch.rand(16, 3, 96, 128, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(images, images.argmax(dim=1)), 8)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_images_that_do_not_fit(trainer: Callable[..., pl.Trainer], checkpointing: bool) -> None:
    module = LitPixels(checkpointing)
    before = state(module)
    search = ArchitectureSearch(learning_rate=0.1, memory_limit=6 * MEBIBYTE)
    complaint = (
        r"a step of the search takes about \d+ MiB and memory_limit is 6 MiB; \d+ MiB do not depend on the batch; "
        r"what would fit: a batch of [2-7] instead of 8, or images of \d\d x \d\d instead of 96 x 128, or "
        r"0\.\d\d times the channels \(filters\)" + ("$" if checkpointing else r", or perhaps checkpointing=True")
    )
    run = trainer(search)
    with pytest.raises(ValueError, match=complaint):
        run.fit(module, datamodule=Images())
    assert run.global_step == search.steps == 0
    assert differing(state(module), before) == []
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_what_is_said_to_fit_fits(trainer: Callable[..., pl.Trainer]) -> None:
    search = ArchitectureSearch(learning_rate=0.1, memory_limit=8 * MEBIBYTE)
    with pytest.raises(ValueError, match="what would fit") as refused:
        trainer(search).fit(LitPixels(), datamodule=Images())
    said = str(refused.value)
    batch = int(said.split("a batch of ")[1].split()[0])
    height, width = (int(each) for each in said.split("images of ")[1].split(" instead")[0].split(" x "))
    for size in ((batch, 96, 128), (8, height, width)):
        images = torch.rand(size[0], 3, *size[1:])
        data = DataLoader(TensorDataset(images, images.argmax(dim=1)), size[0])
        search = ArchitectureSearch("single-level", learning_rate=0.1, memory_limit=8 * MEBIBYTE)
        trainer(search, max_epochs=1).fit(LitPixels(), data)
        assert search.steps == 1


def test_graphs_that_do_not_fit(trainer: Callable[..., pl.Trainer]) -> None:
    data = ClusterData(16, 2, 2, batch_size=8)
    space = EGNASSpace(cells=1, nodes=1, node_channels=4, edge_channels=2)
    module = NodeClassification(space.searchable(data.task), data.task)
    search = ArchitectureSearch(memory_limit=4 * MEBIBYTE)
    with pytest.raises(
        ValueError, match=r"a batch of \d instead of 8, or 0\.\d\d times .*, or perhaps checkpointing=True"
    ):
        trainer(search).fit(module, datamodule=data)


@pytest.mark.parametrize("strategy", ["darts", "gdas", "random"])
def test_a_search_that_fits_is_the_one_without_a_limit(trainer: Callable[..., pl.Trainer], strategy: str) -> None:
    ends = []
    for limit in (None, 2**30):
        pl.seed_everything(1, verbose=False)
        module = LitUser()
        trainer(ArchitectureSearch(strategy, learning_rate=0.1, memory_limit=limit)).fit(module, datamodule=UserData())
        ends.append(state(module))
    assert differing(*ends) == []


def test_weights_that_do_not_fit_by_themselves(trainer: Callable[..., pl.Trainer]) -> None:
    class LitLarge(LitUser):
        def __init__(self) -> None:
            super().__init__()
            self.large = nn.Linear(500, 500)

    search = ArchitectureSearch(learning_rate=0.1, memory_limit=MEBIBYTE)
    with pytest.raises(ValueError, match=r"do not depend on the batch: take fewer channels"):
        trainer(search).fit(LitLarge(), datamodule=UserData())


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_is_a_number_of_bytes(limit: int) -> None:
    with pytest.raises(ValueError, match=f"memory_limit is a number of bytes, greater than 0; got {limit}"):
        ArchitectureSearch(memory_limit=limit)
