"""A project on top of a small library of training, which makes Lightning's module and Trainer by itself."""

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, Dataset

# What the library has.


class SupervisedTask(pl.LightningModule):
    def __init__(self, backbone, criterion, optimizer="Adam", lr=1e-3):
        super().__init__()
        self.save_hyperparameters(ignore=["backbone", "criterion"])
        self.backbone = backbone or default_backbone()
        self.criterion = criterion or nn.BCEWithLogitsLoss()

    def forward(self, sample):
        return self.backbone(**sample["inputs"])

    def _step(self, sample, stage):
        outputs = self(sample)
        loss = self.criterion(outputs["logits"], sample["target"])
        self.log(f"{stage}_loss", loss, batch_size=len(sample["target"]))
        return {"loss": loss, "outputs": outputs["logits"].detach()}

    def training_step(self, sample, batch_idx):
        return self._step(sample, "train")

    def validation_step(self, sample, batch_idx):
        return self._step(sample, "val")

    def configure_optimizers(self):
        return getattr(torch.optim, self.hparams.optimizer)(self.parameters(), lr=self.hparams.lr)


class Experiment:
    def __init__(self, backbone, train, val, criterion=None, epochs=1):
        self.task = SupervisedTask(backbone, criterion)
        self.loaders = DataLoader(train, batch_size=4, shuffle=True), DataLoader(val, batch_size=4)
        self.checkpoint = ModelCheckpoint(dirpath="checkpoints", monitor="val_loss", save_last=True)
        callbacks = [self.checkpoint, EarlyStopping("val_loss", patience=5)]
        self.trainer = pl.Trainer(
            max_epochs=epochs, accelerator="cpu", logger=False, callbacks=callbacks, enable_progress_bar=False
        )

    def run(self):
        self.trainer.fit(self.task, *self.loaders)
        return self

    def best(self):
        return SupervisedTask.load_from_checkpoint(self.checkpoint.best_model_path, backbone=None, criterion=None)


# What the project has.


class FieldNet(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(4, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, 1, 3, padding=1), nn.Flatten(0, 1)
        )

    def forward(self, pixel_values, month=None):
        return {"logits": self.layers(pixel_values), "month": month}


def default_backbone():
    return FieldNet()


class Fields(Dataset):
    def __init__(self, size):
        self.images = torch.rand(size, 4, 32, 32)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index]
        return {"inputs": {"pixel_values": image, "month": index % 12}, "target": (image.mean(0) > 0.5).float()}


def main():
    pl.seed_everything(3)
    experiment = Experiment(FieldNet(), Fields(12), Fields(8)).run()
    best = experiment.best()
    return experiment.task, best, experiment.trainer.validate(best, experiment.loaders[1], verbose=False)


if __name__ == "__main__":
    main()
