"""How a network is trained to predict real values of pixels."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins import Task


class PixelRegression(pl.LightningModule):
    """Mean squared error over pixels.

    Args:
        network: image `[batch, in_channels, height, width]` -> `[batch, out_channels, height, width]`.
        task: of level `pixel`, target `regression`.
        learning_rate: Adam's.
    """

    monitor = "val_loss"
    direction = "minimize"

    def __init__(self, network: nn.Module, task: Task, learning_rate: float = 1e-2) -> None:
        super().__init__()
        if (task.level, task.target) != ("pixel", "regression"):
            raise ValueError(f"PixelRegression trains pixel regression, not {task.level} {task.target}")
        self.network = network
        self.learning_rate = learning_rate

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image)

    def _loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        image, target = batch
        return functional.mse_loss(self(image), target)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        return self._loss(batch)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        self.log("val_loss", self._loss(batch))

    def test_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        self.log("test_loss", self._loss(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)
