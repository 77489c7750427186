"""Generated images whose target is a smooth function of each pixel's channels."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from automl_plugins import Task


class WavesData(pl.LightningDataModule):
    """Images `[3, 8, 8]` of noise; a pixel's target is the sine of the sum of its channels.

    Args:
        images: how many, over training, validation and test (2 : 1 : 1).
        batch_size: images of a batch.
        seed: of the noise.
    """

    def __init__(self, images: int = 32, batch_size: int = 8, seed: int = 0) -> None:
        super().__init__()
        self.images = images
        self.batch_size = batch_size
        self.seed = seed

    @property
    def task(self) -> Task:
        return Task("pixel", "regression", in_channels=3, out_channels=1)

    def setup(self, stage: str | None = None) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        image = torch.rand(self.images, 3, 8, 8, generator=generator)
        target = image.sum(dim=1, keepdim=True).mul(2).sin()
        half, quarter = self.images // 2, self.images // 4
        self.parts = [
            TensorDataset(image[start:end], target[start:end])
            for start, end in ((0, half), (half, half + quarter), (half + quarter, self.images))
        ]

    def _loader(self, part: int) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(self.parts[part], batch_size=self.batch_size)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self._loader(0)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self._loader(1)

    def test_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self._loader(2)
