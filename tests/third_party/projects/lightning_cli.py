"""A project run by LightningCLI, with a task class in the manner of libraries for satellite images."""

import pytorch_lightning as pl
import segmentation_models_pytorch as smp
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningCLI
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class SemanticSegmentationTask(pl.LightningModule):
    def __init__(self, model: str = "unet", in_channels: int = 5, num_classes: int = 4, ignore_index: int = 0):
        super().__init__()
        self.save_hyperparameters()
        self.configure_models()
        self.criterion = nn.CrossEntropyLoss(ignore_index=ignore_index)

    def configure_models(self):
        options = {"encoder_name": "resnet18", "encoder_weights": None, "in_channels": self.hparams["in_channels"]}
        if self.hparams["model"] == "unet":
            self.model = smp.Unet(classes=self.hparams["num_classes"], **options)

    def forward(self, *args, **kwargs):
        return self.model(*args, **kwargs)

    def training_step(self, batch, batch_idx, dataloader_idx=0):
        loss = self.criterion(self(batch["image"]), batch["mask"])
        self.log("train_loss", loss, batch_size=len(batch["mask"]))
        return loss

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        y_hat = self(batch["image"]).argmax(1)
        self.log("val_acc", (y_hat == batch["mask"]).float().mean(), batch_size=len(batch["mask"]))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


class Tiles(pl.LightningDataModule):
    def __init__(self, batch_size: int = 4, tiles: int = 12):
        super().__init__()
        self.batch_size, self.tiles = batch_size, tiles

    def setup(self, stage: str):
        image = torch.rand(self.tiles, 5, 32, 32)
        self.dataset = TensorDataset(image, image[:, :4].argmax(1))

    def collate(self, samples):
        return {"image": torch.stack([i for i, _ in samples]), "mask": torch.stack([m for _, m in samples])}

    def train_dataloader(self):
        return DataLoader(self.dataset, self.batch_size, shuffle=True, collate_fn=self.collate, drop_last=True)

    def val_dataloader(self):
        return DataLoader(self.dataset, self.batch_size, collate_fn=self.collate)


def main():
    defaults = {
        "max_epochs": 1,
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "callbacks": [ModelCheckpoint(dirpath="checkpoints", save_last=True)],
    }
    cli = LightningCLI(
        SemanticSegmentationTask,
        Tiles,
        seed_everything_default=0,
        trainer_defaults=defaults,
        save_config_kwargs={"overwrite": True},
        args=["fit", "--model.num_classes", "4"],
    )
    best = SemanticSegmentationTask.load_from_checkpoint("checkpoints/last.ckpt")
    return cli.model, best, cli.trainer.validate(cli.model, cli.datamodule, ckpt_path="checkpoints/last.ckpt")


if __name__ == "__main__":
    main()
