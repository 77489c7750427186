"""All registered estimators, and predictors as such, keep the contract that third parties' are proven by."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from automl_plugins import Architecture, Project, Task, registry
from automl_plugins.estimators import Context, Estimator, make_estimator
from automl_plugins.estimators.predictors.ridge import RidgePredictor
from automl_plugins.testing import EstimatorContract
from gnn_space import EGNASSpace
from gnn_space.data import EdgeCommunityData
from seg_space import AutoDeepLabSpace

LEAN: dict[str, Any] = {"accelerator": "cpu", "max_epochs": 1}
EGNAS = EGNASSpace(cells=1, nodes=1, node_channels=4, edge_channels=2)


class Images(pl.LightningDataModule):
    """The brightest channel of each pixel."""

    task = Task("pixel", "classes", in_channels=3, out_channels=3)

    def train_dataloader(self) -> DataLoader[Any]:
        images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(images, images.argmax(dim=1)), 2)

    val_dataloader = train_dataloader


PROJECTS: dict[str, Callable[[], Project]] = {
    "EGNAS": cache(lambda: Project(EGNAS, EdgeCommunityData(4, 4, 4, batch_size=4), trainer=LEAN)),
    "AutoDeepLab": cache(
        lambda: Project(AutoDeepLabSpace(layers=2, blocks=1, filters=2, stem=(4, 4)), Images(), trainer=LEAN)
    ),
}


@cache
def trained(name: str) -> nn.Module:
    project = PROJECTS[name]()
    torch.manual_seed(0)
    searchable = project.space.searchable(project.task)
    project.train(searchable, 1)
    return searchable


class Contract(EstimatorContract):
    name: str
    on: str

    @property
    def judges_modules(self) -> bool:
        return self.name not in ("freeflow", "inherited", "random")

    def estimator(self) -> Estimator:
        arguments: dict[str, Callable[[], dict[str, Any]]] = {
            "inherited": lambda: {"searchable": trained(self.on), "batches": 1},
            "ranks": lambda: {"estimators": ["naswot", "macs"]},
            "ghn": lambda: {"steps": 1, "meta_batch": 1, "architectures": 2, "batches": 1},
        }
        config = {"class_path": self.name, "init_args": arguments.get(self.name, dict)()}
        return make_estimator(config, self.context().space)

    def context(self) -> Context:
        return Context.of(PROJECTS[self.on]())

    def architectures(self) -> list[Architecture]:
        # Where edges keep their learned constant, outputs are the same whatever the graph is: jacov cannot judge them.
        return [each for each in super().architectures() if not reads_nothing(each)]


def reads_nothing(architecture: Architecture) -> bool:
    operations = {value for name, value in architecture.items() if name.endswith(".edge_operation")}
    return operations == {"identity"}


for _name in registry.names("estimators"):
    for _on in PROJECTS:
        _label = f"Test{_name.title().replace('-', '')}On{_on}"
        globals()[_label] = type(_label, (Contract,), {"name": _name, "on": _on, "__module__": __name__})


class TestPredictor(EstimatorContract):
    judges_modules = False

    def estimator(self) -> Estimator:
        predictor = RidgePredictor(EGNAS)
        architectures = self.architectures()
        predictor.fit(architectures, range(len(architectures)))
        return predictor

    def context(self) -> Context:
        return Context(EGNAS, Task("node", "classes", in_channels=4, out_channels=3))
