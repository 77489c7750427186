"""Ring or path? A graph classifier in the manner of PyG's examples: the network is called with the whole batch."""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.nn import Linear
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GCNConv, global_mean_pool


class GCN(torch.nn.Module):
    def __init__(self, num_features, hidden, num_classes):
        super().__init__()
        self.conv1 = GCNConv(num_features, hidden)
        self.conv2 = GCNConv(hidden, hidden)
        self.lin = Linear(hidden, num_classes)

    def forward(self, data):
        x, edge_index, batch = data.x, data.edge_index, data.batch
        x = self.conv1(x, edge_index).relu()
        x = F.dropout(x, p=0.5, training=self.training)
        x = self.conv2(x, edge_index)
        x = global_mean_pool(x, batch)
        return F.log_softmax(self.lin(x), dim=1)


class Model(pl.LightningModule):
    def __init__(self, hidden=8):
        super().__init__()
        self.save_hyperparameters()
        self.gnn = GCN(3, hidden, 2)

    def forward(self, data):
        return self.gnn(data)

    def training_step(self, data, batch_idx):
        loss = F.nll_loss(self(data), data.y)
        self.log("train_loss", loss, batch_size=data.num_graphs)
        return loss

    def validation_step(self, data, batch_idx):
        out = self(data)
        self.log("val_loss", F.nll_loss(out, data.y), batch_size=data.num_graphs)
        self.log("val_acc", (out.argmax(dim=-1) == data.y).float().mean(), batch_size=data.num_graphs)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def make_graph(index):
    n = 4 + index % 5
    closed = index % 2
    src = torch.arange(n if closed else n - 1)
    dst = (src + 1) % n
    edge_index = torch.stack([torch.cat([src, dst]), torch.cat([dst, src])])
    return Data(x=torch.randn(n, 3), edge_index=edge_index, y=torch.tensor([closed]))


def main():
    pl.seed_everything(0)
    graphs = [make_graph(i) for i in range(48)]
    train_loader = DataLoader(graphs[:32], batch_size=8, shuffle=True)
    val_loader = DataLoader(graphs[32:], batch_size=8)
    checkpoint = ModelCheckpoint(dirpath="checkpoints", monitor="val_loss")
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, callbacks=[checkpoint], enable_progress_bar=False
    )
    model = Model()
    trainer.fit(model, train_loader, val_loader)
    best = Model.load_from_checkpoint(checkpoint.best_model_path)
    return model, best, trainer.validate(best, val_loader, verbose=False)


if __name__ == "__main__":
    main()
