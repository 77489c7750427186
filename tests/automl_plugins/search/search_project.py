"""A project of somebody who has never heard of us."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from perceptron_space.space import PerceptronSpace
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanAbsoluteError, MeanMetric, MeanSquaredError, MetricCollection

from automl_plugins import Task

TASK = Task("pixel", "regression", in_channels=3, out_channels=1)


class LitUser(pl.LightningModule):
    """Momentum, weight decay over all parameters, BatchNorm, dropout, metrics, a list of losses, a schedule."""

    def __init__(self, widest: int = 4, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.stem = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Dropout(0.2))
        self.net = PerceptronSpace(widest).searchable(TASK)
        self.scores = MetricCollection({"mae": MeanAbsoluteError(), "mse": MeanSquaredError()})
        self.mean = MeanMetric()
        self.losses: list[Tensor] = []
        self.kept: dict[str, list[float]] = {"training": []}
        self.seen = 0

    def forward(self, image: Tensor) -> Tensor:
        return self.net(self.stem(image))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        image, target = batch
        output = self(image)
        loss = functional.mse_loss(output, target)
        self.scores.update(output, target)
        self.mean.update(loss.detach())
        self.losses.append(loss.detach())
        self.kept["training"].append(loss.item())
        self.seen += 1
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def on_train_epoch_end(self) -> None:
        self.log_dict(self.scores.compute())
        self.log("mean", self.mean.compute())
        self.log("listed", torch.stack(self.losses).mean())
        self.log("seen", float(self.seen))
        self.log("kept", float(len(self.kept["training"])))
        self.scores.reset()
        self.mean.reset()
        self.losses.clear()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", functional.mse_loss(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)]


def samples(count: int, seed: int) -> TensorDataset:
    image = torch.rand(count, 3, 2, 2, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(image, image.sum(dim=1, keepdim=True).mul(2).sin())


def loader(count: int = 16, seed: int = 0, batch_size: int = 4, shuffle: bool = False) -> DataLoader[Any]:
    return DataLoader(samples(count, seed), batch_size=batch_size, shuffle=shuffle)


class UserData(pl.LightningDataModule):
    """Shuffled training data, drawn from torch's global generator, as most have them."""

    def train_dataloader(self) -> DataLoader[Any]:
        return loader(16, seed=1, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return loader(8, seed=2)


def make_trainer(folder: Path, *callbacks: pl.Callback, **given: Any) -> pl.Trainer:
    defaults: dict[str, Any] = {
        "max_epochs": 2,
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": any(isinstance(each, pl.callbacks.Checkpoint) for each in callbacks),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": folder,
    }
    return pl.Trainer(**{**defaults, **given}, callbacks=list(callbacks))


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def differing(first: dict[str, Tensor], second: dict[str, Tensor]) -> list[str]:
    """The names whose tensors differ in any bit."""
    assert first.keys() == second.keys()
    return [name for name in first if not torch.equal(first[name], second[name])]
