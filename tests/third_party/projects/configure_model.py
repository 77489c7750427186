"""An image classifier whose network is made in configure_model, as the documentation of Lightning has it."""

import pytorch_lightning as pl
import torch
import torchvision
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset, random_split


class Classifier(pl.LightningModule):
    def __init__(self, num_classes: int = 3, lr: float = 1e-3):
        super().__init__()
        self.save_hyperparameters()
        self.model = None

    def configure_model(self):
        if self.model is not None:
            return
        self.model = torchvision.models.squeezenet1_1(num_classes=self.hparams.num_classes)

    def training_step(self, batch, batch_idx):
        images, labels = batch
        return torch.nn.functional.cross_entropy(self.model(images), labels, label_smoothing=0.1)

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        self.log("val_acc", (self.model(images).argmax(1) == labels).float().mean(), prog_bar=True)

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1)}


class Colours(pl.LightningDataModule):
    def __init__(self, batch_size: int = 4):
        super().__init__()
        self.batch_size = batch_size

    def setup(self, stage: str):
        labels = torch.arange(24) % 3
        images = torch.rand(24, 3, 32, 32)
        images[torch.arange(24), labels] += 0.5
        generator = torch.Generator().manual_seed(0)
        self.train, self.val = random_split(TensorDataset(images, labels), [16, 8], generator=generator)

    def train_dataloader(self):
        return DataLoader(self.train, batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.val, batch_size=self.batch_size)


def main():
    pl.seed_everything(42)
    checkpoint = ModelCheckpoint(dirpath="checkpoints", monitor="val_acc", mode="max", save_weights_only=True)
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, callbacks=[checkpoint], enable_progress_bar=False
    )
    model, data = Classifier(), Colours()
    trainer.fit(model, datamodule=data)
    best = Classifier.load_from_checkpoint(checkpoint.best_model_path)
    return model, best, trainer.validate(best, datamodule=data, verbose=False)


if __name__ == "__main__":
    main()
