"""Multi-class segmentation as in smp's notebooks: after fit, the model is saved with its own save_pretrained."""

import pytorch_lightning as pl
import segmentation_models_pytorch as smp
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset


class CamVidModel(pl.LightningModule):
    def __init__(self, arch, encoder_name, in_channels, out_classes, **kwargs):
        super().__init__()
        self.save_hyperparameters()
        self.model = smp.create_model(
            arch,
            encoder_name=encoder_name,
            in_channels=in_channels,
            classes=out_classes,
            encoder_weights=None,
            **kwargs,
        )
        self.number_of_classes = out_classes
        self.loss_fn = smp.losses.DiceLoss(smp.losses.MULTICLASS_MODE, from_logits=True)
        self.validation_step_outputs = []

    def forward(self, image):
        return self.model(image)

    def shared_step(self, batch, stage):
        image, mask = batch
        mask = mask.long()
        logits_mask = self.forward(image).contiguous()
        assert logits_mask.shape[1] == self.number_of_classes
        loss = self.loss_fn(logits_mask, mask)
        pred_mask = logits_mask.softmax(dim=1).argmax(dim=1)
        tp, fp, fn, tn = smp.metrics.get_stats(pred_mask, mask, mode="multiclass", num_classes=self.number_of_classes)
        return {"loss": loss, "tp": tp, "fp": fp, "fn": fn, "tn": tn}

    def training_step(self, batch, batch_idx):
        return self.shared_step(batch, "train")

    def validation_step(self, batch, batch_idx):
        metrics = self.shared_step(batch, "valid")
        self.validation_step_outputs.append(metrics)
        return metrics

    def on_validation_epoch_end(self):
        stats = [torch.cat([x[key] for x in self.validation_step_outputs]) for key in ("tp", "fp", "fn", "tn")]
        self.log("valid_dataset_iou", smp.metrics.iou_score(*stats, reduction="micro"), prog_bar=True)
        self.validation_step_outputs.clear()

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=2e-4)
        scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=10, eta_min=1e-5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step", "frequency": 1}}


def main():
    pl.seed_everything(0)
    image = torch.rand(12, 3, 32, 32)
    dataset = TensorDataset(image, image.argmax(dim=1))
    loader = DataLoader(dataset, batch_size=4, shuffle=True)
    valid_loader = DataLoader(dataset, batch_size=4)
    model = CamVidModel("FPN", "mobilenet_v2", in_channels=3, out_classes=3)
    checkpoint = ModelCheckpoint(dirpath="checkpoints")
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", log_every_n_steps=1, callbacks=[checkpoint], enable_progress_bar=False
    )
    trainer.fit(model, train_dataloaders=loader, val_dataloaders=valid_loader)
    model.model.save_pretrained("saved")
    best = CamVidModel.load_from_checkpoint(checkpoint.best_model_path)
    return model, best, trainer.validate(best, dataloaders=valid_loader, verbose=False)


if __name__ == "__main__":
    main()
