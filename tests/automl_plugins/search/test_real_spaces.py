"""What holds of a search holds on the real spaces: resuming, counting, averaging, precision, divergence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from search_project import UserData, differing, state
from test_resume import Keep, LitResumable
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from automl_plugins import Task
from automl_plugins.errors import DivergedError
from automl_plugins.search import ArchitectureSearch
from automl_plugins.supernets.searchable import Searchable
from gnn_space import AGNNSpace, EGNASSpace
from gnn_space.data import ClusterData
from gnn_space.modules import NodeClassification
from seg_space import AutoDeepLabSpace, SemanticSegmentation

Project = Callable[[], tuple[pl.LightningModule, pl.LightningDataModule]]


class Pixels(pl.LightningDataModule):
    task = Task("pixel", "classes", in_channels=3, out_channels=2)

    def _loader(self, seed: int) -> DataLoader[Any]:
        generator = torch.Generator().manual_seed(seed)
        image = torch.rand(4, 3, 16, 16, generator=generator)
        return DataLoader(TensorDataset(image, (image[:, 0] > 0.5).long()), 2)

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader(0)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(1)


def perceptron() -> tuple[pl.LightningModule, pl.LightningDataModule]:
    return LitResumable(), UserData()


def graphs(space: Any) -> tuple[pl.LightningModule, pl.LightningDataModule]:
    data = ClusterData(4, 2, 2, batch_size=1)
    return NodeClassification(space.searchable(data.task), data.task), data


def agnn() -> tuple[pl.LightningModule, pl.LightningDataModule]:
    return graphs(AGNNSpace(layers=1, hidden_channels=(4, 8), heads=(1, 2), dropout=0.1))


def egnas() -> tuple[pl.LightningModule, pl.LightningDataModule]:
    return graphs(EGNASSpace(cells=1, nodes=1, node_channels=4, edge_channels=2, dropout=0.1))


def auto_deeplab() -> tuple[pl.LightningModule, pl.LightningDataModule]:
    space = AutoDeepLabSpace(layers=2, filters=2, blocks=1)
    return SemanticSegmentation(space.searchable(Pixels.task), Pixels.task, schedule="constant"), Pixels()


PROJECTS: list[Project] = [perceptron, agnn, egnas, auto_deeplab]
every_space = pytest.mark.parametrize("project", PROJECTS)


def searchable(module: pl.LightningModule) -> Searchable:
    return next(part for part in module.modules() if isinstance(part, Searchable))


def fit(
    make: Callable[..., pl.Trainer], project: Project, *callbacks: pl.Callback, seed: int = 1, **given: Any
) -> tuple[pl.LightningModule, ArchitectureSearch]:
    path = given.pop("ckpt_path", None)
    search = ArchitectureSearch(**{"learning_rate": 0.1, **given.pop("search", {})})
    pl.seed_everything(1, verbose=False)
    module, data = project()
    pl.seed_everything(seed, verbose=False)
    make(search, *callbacks, **given).fit(module, datamodule=data, ckpt_path=path)
    return module, search


@every_space
def test_a_search_goes_on_to_the_very_bits(
    trainer: Callable[..., pl.Trainer], tmp_path: Path, project: Project
) -> None:
    keep = Keep(tmp_path, ("epoch",))
    expected, _ = fit(trainer, project, keep, search={"strategy": "gdas"})
    resumed, _ = fit(trainer, project, seed=7, search={"strategy": "gdas"}, ckpt_path=keep.paths[0])
    assert differing(state(expected), state(resumed)) == []


@every_space
def test_weights_are_those_of_a_fit_without_a_search(trainer: Callable[..., pl.Trainer], project: Project) -> None:
    module, _ = fit(trainer, project, search={"learning_rate": 0.0}, max_epochs=1)
    pl.seed_everything(1, verbose=False)
    alone, data = project()
    searchable(alone).logits.requires_grad_(False)
    half = ArchitectureSearch(search_data="split").source
    pl.seed_everything(1, verbose=False)
    run = trainer(max_epochs=1)

    class Split(pl.Callback):
        def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
            half.prepare(trainer, pl_module)

    run.callbacks.append(Split())
    run.fit(alone, datamodule=data)
    assert differing(state(alone), state(module)) == []


@every_space
def test_it_lives_with_averages_accumulation_clipping_and_half_precision(
    trainer: Callable[..., pl.Trainer], project: Project
) -> None:
    module, search = fit(
        trainer,
        project,
        pl.callbacks.EMAWeightAveraging(decay=0.5),
        accumulate_grad_batches=2,
        gradient_clip_val=0.5,
        precision="bf16-mixed",
        max_epochs=1,
    )
    assert search.steps > 0
    found = searchable(module)
    assert found.logits.isfinite().all()
    found.space.validate(found.architecture())


@every_space
@pytest.mark.filterwarnings("ignore:a gradient of the architecture logits is not finite")
@pytest.mark.filterwarnings("ignore:Encountered `nan` values in tensor")
def test_what_diverges_finds_nothing(trainer: Callable[..., pl.Trainer], tmp_path: Path, project: Project) -> None:
    class Spoil(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
            with torch.no_grad():
                for weight in searchable(pl_module).weight_parameters():
                    weight.fill_(float("nan"))

    path = tmp_path / "architecture.json"
    with pytest.raises(DivergedError, match="not finite"):
        fit(trainer, project, Spoil(), search={"path": path})
    assert not path.exists()


def test_the_losses_are_those_of_the_users_step(trainer: Callable[..., pl.Trainer]) -> None:
    """A generator and a discriminator, stepped by hand: the searchable is in one of them."""

    class LitAdversarial(LitResumable):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.judge = torch.nn.Conv2d(1, 1, 1)

        def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
            generator, judge = self.optimizers()
            for optimizer, loss in ((judge, self.judged), (generator, self.architecture_loss)):
                optimizer.zero_grad()
                self.manual_backward(loss(batch))
                optimizer.step()

        def judged(self, batch: Any) -> Tensor:
            real, made = self.judge(batch[1]), self.judge(self(batch[0]).detach())
            return functional.softplus(-real).mean() + functional.softplus(made).mean()

        def architecture_loss(self, batch: Any) -> Tensor:
            return functional.softplus(-self.judge(self(batch[0]))).mean()

        def configure_optimizers(self) -> Any:
            parts = ([*self.net.parameters(), *self.stem.parameters()], self.judge.parameters())
            return [torch.optim.Adam(part, lr=1e-2) for part in parts]

    module, search = fit(trainer, lambda: (LitAdversarial(), UserData()), max_epochs=1)
    assert search.steps == 2
    assert module.trainer.global_step == 4, "two optimizers"
