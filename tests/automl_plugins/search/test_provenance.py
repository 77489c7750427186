"""A checkpoint of another search is refused by name; what is harmless is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from search_project import LitUser, UserData, loader, samples
from torch import nn
from torch.utils.data import DataLoader

from automl_plugins.errors import FormatError
from automl_plugins.search import ArchitectureSearch
from automl_plugins.search.provenance import OtherSearchError
from gnn_space import AGNNSpace
from gnn_space.data import ClusterData
from gnn_space.modules import NodeClassification


class Data(UserData):
    def __init__(self, count: int = 16, seed: int = 1, batch_size: int = 4, workers: int = 0) -> None:
        super().__init__()
        self.count, self.seed, self.batch_size, self.workers = count, seed, batch_size, workers

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(samples(self.count, self.seed), self.batch_size, shuffle=True, num_workers=self.workers)


class LitSlow(LitUser):
    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-2)


class LitDropped(LitUser):
    def __init__(self) -> None:
        super().__init__()
        self.stem[2] = nn.Dropout(0.5)


def fit(make: Callable[..., pl.Trainer], path: Path | None = None, **given: Any) -> pl.Trainer:
    search = ArchitectureSearch(**{"learning_rate": 0.1, **given.pop("search", {})})
    module, data = given.pop("module", LitUser), given.pop("data", Data)
    trainer = make(search, **{"max_epochs": 1, **given})
    trainer.fit(module(), datamodule=data(), ckpt_path=path)
    return trainer


@pytest.fixture
def checkpoint(trainer: Callable[..., pl.Trainer], tmp_path: Path) -> Path:
    path = tmp_path / "first.ckpt"
    fit(trainer).save_checkpoint(path)
    torch.load(path, weights_only=True)
    return path


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"data": lambda: Data(batch_size=2)}, "training data: batches of 4 then, batches of 2 now"),
        ({"data": lambda: Data(seed=7)}, "as many training samples, but others"),
        ({"data": lambda: Data(count=12)}, "8 training samples then, 6 now"),
        ({"search": {"seed": 3}}, "search.seed was 0, and is 3"),
        ({"search": {"strategy": "gdas"}}, "search.strategy.*DARTS.*GDAS"),
        ({"search": {"learning_rate": 0.2}}, "search.learning_rate was 0.1, and is 0.2"),
        ({"search": {"search_fraction": 0.25}}, "search.search_fraction was 0.5, and is 0.25"),
        ({"search": {"search_data": "validation"}}, "search.search_data was False, and is 'validation'"),
        ({"search": {"warmup_epochs": 1}}, "search.warmup_epochs was 0, and is 1"),
        ({"module": LitSlow}, "optimizers.0.lr was 0.1, and is 0.01"),
        ({"module": LitDropped}, "dropout.stem.2 was 0.2, and is 0.5"),
        ({"accumulate_grad_batches": 2}, "accumulate_grad_batches was 1, and is 2"),
    ],
)
def test_a_checkpoint_of_another_search_is_refused_by_name(
    trainer: Callable[..., pl.Trainer], checkpoint: Path, given: dict[str, Any], reason: str
) -> None:
    with pytest.raises(OtherSearchError, match=rf"the checkpoint is of another search: .*{reason}.*begin anew"):
        fit(trainer, checkpoint, **{"max_epochs": 3, **given})


def test_a_checkpoint_of_another_version_names_the_one_that_reads_it(
    trainer: Callable[..., pl.Trainer], checkpoint: Path
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    (state,) = (each for name, each in content["callbacks"].items() if "ArchitectureSearch" in name)
    for name in ("format", "version"):
        del state[name]
    torch.save(content, checkpoint)
    with pytest.raises(FormatError, match=r"checkpoint of a search was written by automl-plugins 0\.1.*plugins<0\.2"):
        fit(trainer, checkpoint, max_epochs=3)


def test_what_is_harmless_is_gone_on_with(trainer: Callable[..., pl.Trainer], checkpoint: Path) -> None:
    harmless = {"max_epochs": 2, "enable_progress_bar": True, "log_every_n_steps": 1}
    assert fit(trainer, checkpoint, **harmless).current_epoch == 2
    assert fit(trainer, checkpoint, max_epochs=2, search={"path": checkpoint.with_suffix(".json")}).current_epoch == 2


def test_a_rate_of_the_module_and_a_dropout_of_the_space_are_settings_too(
    trainer: Callable[..., pl.Trainer], tmp_path: Path
) -> None:
    def run(path: Path | None = None, rate: float = 0.01, dropout: float = 0.0) -> pl.Trainer:
        data = ClusterData(4, 2, 2, batch_size=2)
        space = AGNNSpace(layers=1, hidden_channels=(4,), heads=(1,), dropout=dropout)
        module = NodeClassification(space.searchable(data.task), data.task, learning_rate=rate)
        run = trainer(ArchitectureSearch(), max_epochs=1 if path is None else 2)
        run.fit(module, datamodule=data, ckpt_path=path)
        return run

    path = tmp_path / "first.ckpt"
    run().save_checkpoint(path)
    with pytest.raises(OtherSearchError, match=r"optimizers.0.lr was 0\.01, and is 0\.02|learning_rate was"):
        run(path, rate=0.02)
    with pytest.raises(OtherSearchError, match=r"dropout was 0\.0, and is 0\.5"):
        run(path, dropout=0.5)
    assert run(path).current_epoch == 2


def test_the_search_data_are_compared_too(trainer: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    path = tmp_path / "first.ckpt"
    fit(trainer, search={"search_data": loader(8, seed=3)}).save_checkpoint(path)
    with pytest.raises(OtherSearchError, match="search data: as many training samples, but others"):
        fit(trainer, path, max_epochs=2, search={"search_data": loader(8, seed=4)})
