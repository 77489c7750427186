"""Binary segmentation with segmentation-models-pytorch: batches are dictionaries, the loss is Dice."""

import pytorch_lightning as pl
import segmentation_models_pytorch as smp
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, Dataset


class Circles(Dataset):
    def __init__(self, n, seed):
        self.n, self.seed = n, seed

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        gen = torch.Generator().manual_seed(self.seed + i)
        image = torch.rand(3, 32, 32, generator=gen)
        mask = ((image.sum(0) > 1.5)[None]).float()
        return {"image": image, "mask": mask, "filename": f"{i}.png"}


class SegModel(pl.LightningModule):
    def __init__(self, arch, encoder_name, in_channels, out_classes, **kwargs):
        super().__init__()
        self.save_hyperparameters()
        self.model = smp.create_model(
            arch,
            encoder_name=encoder_name,
            encoder_weights=None,
            in_channels=in_channels,
            classes=out_classes,
            **kwargs,
        )
        self.register_buffer("std", torch.tensor([0.25, 0.25, 0.25]).view(1, 3, 1, 1))
        self.register_buffer("mean", torch.tensor([0.5, 0.5, 0.5]).view(1, 3, 1, 1))
        self.loss_fn = smp.losses.DiceLoss(smp.losses.BINARY_MODE, from_logits=True)
        self.outputs = []

    def forward(self, image):
        return self.model((image - self.mean) / self.std)

    def shared_step(self, batch, stage):
        image, mask = batch["image"], batch["mask"]
        assert image.ndim == 4
        h, w = image.shape[2:]
        assert h % 32 == w % 32 == 0
        logits_mask = self.forward(image)
        assert mask.shape == logits_mask.shape
        loss = self.loss_fn(logits_mask, mask)
        pred_mask = (logits_mask.sigmoid() > 0.5).float()
        tp, fp, fn, tn = smp.metrics.get_stats(pred_mask.long(), mask.long(), mode="binary")
        return {"loss": loss, "tp": tp, "fp": fp, "fn": fn, "tn": tn}

    def training_step(self, batch, batch_idx):
        return self.shared_step(batch, "train")

    def validation_step(self, batch, batch_idx):
        out = self.shared_step(batch, "valid")
        self.outputs.append(out)
        return out

    def on_validation_epoch_end(self):
        tp, fp, fn, tn = (torch.cat([out[name] for out in self.outputs]) for name in ("tp", "fp", "fn", "tn"))
        self.log("valid_iou", smp.metrics.iou_score(tp, fp, fn, tn, reduction="micro"))
        self.outputs.clear()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-4)


def main():
    pl.seed_everything(0)
    train_loader = DataLoader(Circles(8, 0), batch_size=4, shuffle=True)
    valid_loader = DataLoader(Circles(4, 100), batch_size=4)
    model = SegModel("Unet", "mobilenet_v2", in_channels=3, out_classes=1)
    checkpoint = ModelCheckpoint(dirpath="checkpoints", monitor="valid_iou", mode="max")
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, callbacks=[checkpoint], enable_progress_bar=False
    )
    trainer.fit(model, train_dataloaders=train_loader, val_dataloaders=valid_loader)
    best = SegModel.load_from_checkpoint(checkpoint.best_model_path)
    return model, best, trainer.validate(best, dataloaders=valid_loader, verbose=False)


if __name__ == "__main__":
    main()
