"""Metric learning's cousin: an encoder of nodes and a head of its own, two networks in one module."""

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import SAGEConv, global_add_pool


class Encoder(nn.Module):
    def __init__(self, inputs, width):
        super().__init__()
        self.first = SAGEConv(inputs, width)
        self.second = SAGEConv(width, width)

    def forward(self, feats, edges):
        return torch.relu(self.second(torch.relu(self.first(feats, edges)), edges))


class Head(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, nodes, graph):
        return self.mlp(global_add_pool(nodes, graph)).squeeze(-1)


class SizeRegressor(pl.LightningModule):
    def __init__(self, width=8, lr=1e-2):
        super().__init__()
        self.save_hyperparameters()
        self.encoder = Encoder(4, width)
        self.head = Head(width)

    def step(self, batch):
        nodes = self.encoder(feats=batch.x, edges=batch.edge_index)
        return nn.functional.mse_loss(self.head(nodes, batch.batch), batch.y)

    def training_step(self, batch, batch_idx):
        return self.step(batch)

    def validation_step(self, batch, batch_idx):
        self.log("val/mse", self.step(batch), batch_size=batch.num_graphs)

    def configure_optimizers(self):
        groups = [
            {"params": self.encoder.parameters(), "lr": self.hparams.lr},
            {"params": self.head.parameters(), "lr": self.hparams.lr * 10},
        ]
        return torch.optim.AdamW(groups)


class Rings(pl.LightningDataModule):
    def setup(self, stage=None):
        sizes = [3 + i % 6 for i in range(40)]
        self.rings = [self.ring(n) for n in sizes]

    def ring(self, n):
        here = torch.arange(n)
        there = (here + 1) % n
        return Data(
            x=torch.randn(n, 4),
            edge_index=torch.stack([torch.cat([here, there]), torch.cat([there, here])]),
            y=torch.tensor([n / 10.0]),
        )

    def train_dataloader(self):
        return DataLoader(self.rings[:32], batch_size=8, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.rings[32:], batch_size=8)


def main():
    pl.seed_everything(1)
    checkpoint = ModelCheckpoint(dirpath="checkpoints", save_last=True)
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, callbacks=[checkpoint], enable_progress_bar=False
    )
    model, data = SizeRegressor(), Rings()
    trainer.fit(model, data)
    again = SizeRegressor.load_from_checkpoint("checkpoints/last.ckpt")
    return model, again, trainer.validate(again, data, verbose=False)


if __name__ == "__main__":
    main()
