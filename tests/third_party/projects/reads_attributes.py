"""A regression of molecules whose message passing has an output_dim, which the predictor behind it reads."""

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GINEConv, global_mean_pool


class MessagePassing(nn.Module):
    def __init__(self, d_v=5, d_e=2, d_h=8, depth=2):
        super().__init__()
        self.d_h, self.depth = d_h, depth
        self.embed = nn.Linear(d_v, d_h)
        self.convs = nn.ModuleList([GINEConv(nn.Linear(d_h, d_h), edge_dim=d_e) for _ in range(depth)])

    @property
    def output_dim(self):
        return self.d_h

    def forward(self, bmg, V_d=None):
        h = self.embed(bmg.x)
        for conv in self.convs:
            h = conv(h, bmg.edge_index, bmg.edge_attr).relu()
        return h if V_d is None else torch.cat([h, V_d], dim=1)


class MPNN(pl.LightningModule):
    def __init__(self, message_passing=None, warmup_epochs=2):
        super().__init__()
        self.save_hyperparameters(ignore=["message_passing"])
        self.message_passing = message_passing or MessagePassing()
        self.bn = nn.BatchNorm1d(self.message_passing.output_dim)
        self.predictor = nn.Linear(self.message_passing.output_dim, 1)

    def fingerprint(self, bmg, V_d=None):
        h_v = self.message_passing(bmg, V_d)
        if h_v.shape[1] != self.message_passing.output_dim:
            raise ValueError("the message passing gives another width")
        return self.bn(global_mean_pool(h_v, bmg.batch))

    def forward(self, bmg):
        return self.predictor(self.fingerprint(bmg))

    def training_step(self, bmg, batch_idx):
        loss = nn.functional.mse_loss(self(bmg), bmg.y.view(-1, 1))
        self.log("train_loss", loss, batch_size=bmg.num_graphs, on_epoch=True)
        return loss

    def validation_step(self, bmg, batch_idx):
        self.log("val_rmse", nn.functional.mse_loss(self(bmg), bmg.y.view(-1, 1)).sqrt(), batch_size=bmg.num_graphs)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def chain(n):
    here = torch.arange(n - 1)
    edge_index = torch.stack([torch.cat([here, here + 1]), torch.cat([here + 1, here])])
    return Data(x=torch.rand(n, 5), edge_index=edge_index, edge_attr=torch.rand(2 * n - 2, 2), y=torch.tensor(n / 10))


def main():
    torch.manual_seed(7)
    chains = [chain(3 + i % 7) for i in range(40)]
    train, val = DataLoader(chains[:32], batch_size=8, shuffle=True), DataLoader(chains[32:], batch_size=8)
    checkpoint = ModelCheckpoint("checkpoints", "best-{epoch}-{val_rmse:.2f}", "val_rmse", mode="min")
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, callbacks=[checkpoint], enable_progress_bar=False
    )
    mpnn = MPNN()
    trainer.fit(mpnn, train, val)
    best = MPNN.load_from_checkpoint(checkpoint.best_model_path)
    return mpnn, best, trainer.validate(best, val, verbose=False)


if __name__ == "__main__":
    main()
