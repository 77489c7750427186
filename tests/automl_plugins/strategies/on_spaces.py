"""Small spaces of ours, with a project and data for each, to run the contract of strategies on."""

from __future__ import annotations

from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader as GraphLoader

from automl_plugins import Task, registry
from automl_plugins.decoders.best_sampled import BestSampled
from automl_plugins.strategies import RandomSearch, Strategy
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.testing import StrategyContract
from gnn_space import AGNNSpace, EGNASSpace, GNNPlusSpace
from seg_space import AutoDeepLabSpace

GRAPH = Task("graph", "regression", 3, 1, edge_channels=2)
PIXEL = Task("pixel", "regression", 3, 1)


class LitGraphs(pl.LightningModule):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        output = self.net(batch.x, batch.edge_index, batch.edge_attr, batch.batch, batch.num_graphs)
        return functional.mse_loss(output, batch.y)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.training_step(batch, batch_idx), batch_size=2)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-2)


class LitImages(LitGraphs):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return functional.mse_loss(self.net(batch[0]), batch[1])


class Graphs(pl.LightningDataModule):
    def train_dataloader(self) -> Any:
        generator = torch.Generator().manual_seed(0)
        graphs = []
        for _ in range(8):
            x, edge_attr = torch.randn(4, 3, generator=generator), torch.randn(8, 2, generator=generator)
            edges = torch.randint(4, (2, 8), generator=generator)
            graphs.append(Data(x=x, edge_index=edges, edge_attr=edge_attr, y=x.mean().view(1, 1)))
        return GraphLoader(graphs, batch_size=4)

    val_dataloader = train_dataloader


class Images(pl.LightningDataModule):
    def train_dataloader(self) -> Any:
        image = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(image, image.mean(dim=1, keepdim=True)), batch_size=4)

    val_dataloader = train_dataloader


class OnSpace(StrategyContract):
    """A strategy by its registered name."""

    name: ClassVar[str]

    def strategy(self) -> Strategy:
        made: Strategy = registry.load("strategies", self.name)()
        if isinstance(made, RandomSearch):
            made.decoder = BestSampled(samples=6)
        return made


class OnAGNN(OnSpace):
    def space(self, max_parameters: int | None) -> SupernetSpace:
        return AGNNSpace(
            layers=1, hidden_channels=(2, 4), heads=(1, 2), batch_norm=True, dropout=0.0, max_parameters=max_parameters
        )

    def task(self) -> Task:
        return GRAPH

    def module(self, searchable: Searchable) -> Any:
        return LitGraphs(searchable)

    def data(self) -> Any:
        return Graphs()


class OnEGNAS(OnAGNN):
    def space(self, max_parameters: int | None) -> SupernetSpace:
        return EGNASSpace(cells=1, nodes=2, node_channels=4, edge_channels=3, max_parameters=max_parameters)


class OnGNNPlus(OnAGNN):
    def space(self, max_parameters: int | None) -> SupernetSpace:
        return GNNPlusSpace(
            depths=(1, 2),
            channels=(2, 4),
            messages=("gin", "sage", "gcn"),
            norms=("none", "layer"),
            dropouts=(0.0,),
            propagations=(0,),
            heads=1,
            max_parameters=max_parameters,
        )


class OnAutoDeepLab(OnSpace):
    multi_path: ClassVar[bool] = False

    def space(self, max_parameters: int | None) -> SupernetSpace:
        return AutoDeepLabSpace(
            layers=2, blocks=1, filters=2, stem=(2, 4), multi_path=self.multi_path, max_parameters=max_parameters
        )

    def task(self) -> Task:
        return PIXEL

    def module(self, searchable: Searchable) -> Any:
        return LitImages(searchable)

    def data(self) -> Any:
        return Images()


class OnSeveralPaths(OnAutoDeepLab):
    multi_path: ClassVar[bool] = True
