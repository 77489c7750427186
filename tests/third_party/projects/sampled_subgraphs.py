"""Nodes of one large graph in the manner of GraphSAGE: each batch is a sampled subgraph, its seeds come first."""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader
from torch_geometric.data import Data
from torch_geometric.nn import SAGEConv
from torch_geometric.utils import k_hop_subgraph


class NeighbourLoader(DataLoader):
    """All neighbours of some seeds, the seeds first."""

    def __init__(self, data, input_nodes, hops, **kwargs):
        self.data, self.hops = data, hops
        super().__init__(input_nodes.tolist(), collate_fn=self.sample, **kwargs)

    def sample(self, seeds):
        seeds = torch.tensor(seeds)
        nodes, _, _, _ = k_hop_subgraph(seeds, self.hops, self.data.edge_index)
        nodes = torch.cat([seeds, nodes[~torch.isin(nodes, seeds)]])
        sub = self.data.subgraph(nodes)  # sorted by number
        order = torch.argsort(nodes)
        place = torch.empty_like(order)
        place[torch.arange(len(order))] = order
        return Data(
            x=self.data.x[nodes],
            y=self.data.y[nodes],
            edge_index=place[sub.edge_index],
            batch_size=len(seeds),
            n_id=nodes,
        )


class SAGE(torch.nn.Module):
    def __init__(self, inputs, hidden, outputs):
        super().__init__()
        self.convs = torch.nn.ModuleList([SAGEConv(inputs, hidden), SAGEConv(hidden, outputs)])

    def forward(self, x, edge_index):
        x = self.convs[0](x, edge_index).relu()
        return self.convs[1](F.dropout(x, p=0.5, training=self.training), edge_index)


class Model(pl.LightningModule):
    def __init__(self, inputs=6, hidden=8, outputs=3):
        super().__init__()
        self.save_hyperparameters()
        self.gnn = SAGE(inputs, hidden, outputs)

    def forward(self, x, edge_index):
        return self.gnn(x, edge_index)

    def step(self, batch):
        y_hat = self(batch.x, batch.edge_index)[: batch.batch_size]
        return y_hat, batch.y[: batch.batch_size]

    def training_step(self, batch, batch_idx):
        y_hat, y = self.step(batch)
        loss = F.cross_entropy(y_hat, y)
        self.log("train_loss", loss, batch_size=batch.batch_size)
        return loss

    def validation_step(self, batch, batch_idx):
        y_hat, y = self.step(batch)
        self.log("val_acc", (y_hat.argmax(dim=-1) == y).float().mean(), batch_size=batch.batch_size)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def main():
    pl.seed_everything(12345)
    n = 90
    y = torch.arange(n) % 3
    near = (torch.rand(n, n) < torch.where(y[:, None] == y[None], 0.15, 0.01)).triu(1)
    edge_index = (near | near.T).nonzero().T
    data = Data(x=torch.randn(n, 6) + F.one_hot(y, 6), edge_index=edge_index, y=y)
    order = torch.randperm(n)
    train = NeighbourLoader(data, order[:60], 2, batch_size=20, shuffle=True)
    val = NeighbourLoader(data, order[60:], 2, batch_size=20)
    checkpoint = ModelCheckpoint(dirpath="checkpoints", monitor="val_acc", mode="max")
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, callbacks=[checkpoint], enable_progress_bar=False
    )
    model = Model()
    trainer.fit(model, train, val)
    best = Model.load_from_checkpoint(checkpoint.best_model_path)
    return model, best, trainer.validate(best, val, verbose=False)


if __name__ == "__main__":
    main()
