"""A fork of a Hydra template: objects are made by `_target_`, and the network is compiled in setup where asked for."""

import importlib
from functools import partial

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanMetric, MinMetric

CONFIG = {
    "seed": 36,
    "model": {
        "_target_": "LitModule",
        "net": {"_target_": "SimpleUNet", "in_channels": 1, "base": 4},
        "optimizer": {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 1e-3},
        "scheduler": {"_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau", "_partial_": True, "patience": 1},
        "compile": True,
    },
    "callbacks": [
        {
            "_target_": "pytorch_lightning.callbacks.ModelCheckpoint",
            "dirpath": "checkpoints",
            "monitor": "val/loss",
            "save_last": True,
        }
    ],
    "trainer": {
        "_target_": "pytorch_lightning.Trainer",
        "max_epochs": 1,
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
    },
}


def instantiate(config, **more):
    if isinstance(config, list):
        return [instantiate(each) for each in config]
    if not isinstance(config, dict) or "_target_" not in config:
        return config
    options = {key: instantiate(value) for key, value in config.items() if not key.startswith("_")}
    module, _, name = config["_target_"].rpartition(".")
    target = getattr(importlib.import_module(module), name) if module else globals()[name]
    return partial(target, **options, **more) if config.get("_partial_") else target(**options, **more)


class SimpleUNet(nn.Module):
    def __init__(self, in_channels, base):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(in_channels, base, 3, padding=1), nn.ReLU())
        self.up = nn.Sequential(nn.Conv2d(base, 1, 3, padding=1), nn.Sigmoid())

    def forward(self, x):
        return self.up(self.down(x))


class LitModule(pl.LightningModule):
    def __init__(self, net, optimizer, scheduler, compile):
        super().__init__()
        self.save_hyperparameters(logger=False, ignore=["net", "optimizer", "scheduler"])
        self.net, self.optimizer, self.scheduler = net, optimizer, scheduler
        self.criterion = nn.BCELoss()
        self.train_loss, self.val_loss, self.val_loss_best = MeanMetric(), MeanMetric(), MinMetric()

    def on_train_start(self):
        self.val_loss.reset()
        self.val_loss_best.reset()

    def model_step(self, batch):
        x, y = batch
        return self.criterion(self.net(x), y)

    def training_step(self, batch, batch_idx):
        loss = self.model_step(batch)
        self.train_loss(loss)
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.val_loss(self.model_step(batch))
        self.log("val/loss", self.val_loss, on_step=False, on_epoch=True)

    def on_validation_epoch_end(self):
        self.val_loss_best(self.val_loss.compute())
        self.log("val/loss_best", self.val_loss_best.compute(), sync_dist=True)

    def setup(self, stage):
        if self.hparams.compile and stage == "fit":
            self.net = torch.compile(self.net, backend="eager")

    def configure_optimizers(self):
        optimizer = self.optimizer(params=self.trainer.model.parameters())
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.scheduler(optimizer=optimizer), "monitor": "val/loss"},
        }


def main():
    cfg = CONFIG
    pl.seed_everything(cfg["seed"], workers=True)
    images = torch.rand(16, 1, 32, 32)
    loader = partial(DataLoader, TensorDataset(images, (images > 0.5).float()), batch_size=4)
    model = instantiate(cfg["model"])
    trainer = instantiate(cfg["trainer"], callbacks=instantiate(cfg["callbacks"]))
    trainer.fit(model=model, train_dataloaders=loader(shuffle=True), val_dataloaders=loader())
    scores = trainer.validate(model=model, dataloaders=loader(), ckpt_path=trainer.checkpoint_callback.last_model_path)
    parts = {key: instantiate(cfg["model"][key]) for key in ("net", "optimizer", "scheduler")}
    parts["net"] = torch.compile(parts["net"], backend="eager")
    again = LitModule.load_from_checkpoint(trainer.checkpoint_callback.last_model_path, **parts)
    return model, again, scores


if __name__ == "__main__":
    main()
