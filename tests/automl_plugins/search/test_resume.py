"""A search that is killed and goes on from a checkpoint ends with the very bits of one that was not killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from search_project import LitUser, UserData, differing, loader, samples, state
from torch import Tensor
from torch.utils.data import DataLoader

from automl_plugins.decoders.best_sampled import BestSampled
from automl_plugins.search import ArchitectureSearch, SearchStep, Strategy
from automl_plugins.strategies import DARTS, RandomSearch
from gnn_space import EGNASSpace
from gnn_space.data import ClusterData
from gnn_space.modules import NodeClassification


class Keep(pl.callbacks.Checkpoint):
    """Keeps a checkpoint of every moment at which Lightning's own callbacks may save one."""

    def __init__(self, folder: Path, moments: tuple[str, ...]) -> None:
        self.folder = folder
        self.moments = moments
        self.paths: list[Path] = []

    def keep(self, trainer: pl.Trainer, moment: str) -> None:
        if moment in self.moments and not trainer.sanity_checking:
            path = self.folder / f"{moment}{len(self.paths)}.ckpt"
            trainer.save_checkpoint(path)
            self.paths.append(path)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.keep(trainer, "batch")

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.keep(trainer, "validation")

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.keep(trainer, "epoch")


class LitResumable(LitUser):
    """Without metrics of an epoch: Lightning keeps none in checkpoints, so an epoch that goes on has lost them."""

    def on_train_epoch_end(self) -> None:
        self.losses.clear()


class Resumable(DataLoader[Any]):
    """A user's stateful loader: it draws from the global generator, and keeps the order of its present pass."""

    def __init__(self) -> None:
        super().__init__(samples(16, 1), batch_size=4)
        self.order: list[int] = []
        self.given = 0
        self.resumed = False

    def __iter__(self) -> Iterator[Any]:
        if not self.resumed:
            self.order, self.given = torch.randperm(16).tolist(), 0
        self.resumed = False
        return self.rest()

    def rest(self) -> Iterator[Any]:
        while self.given < 4:
            self.given += 1
            yield self.dataset[self.order[4 * self.given - 4 : 4 * self.given]]

    def state_dict(self) -> dict[str, Any]:
        return {"order": self.order, "given": self.given}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.order, self.given, self.resumed = state["order"], state["given"], state["given"] < 4


def check_resumes(
    make: Callable[..., pl.Trainer],
    folder: Path,
    module: Callable[[], pl.LightningModule],
    fit: dict[str, Callable[[], Any]],
    moments: tuple[str, ...],
    search: dict[str, Any],
    **given: Any,
) -> None:
    """Fit once, keeping checkpoints; then go on from each and compare the ends."""

    def run(*callbacks: pl.Callback, path: Path | None = None, seed: int = 1) -> dict[str, Tensor]:
        pl.seed_everything(seed, verbose=False)
        fitted = module()
        pl.seed_everything(seed, verbose=False)
        trainer = make(ArchitectureSearch(**search), *callbacks, **given)
        trainer.fit(fitted, **{name: value() for name, value in fit.items()}, ckpt_path=path)
        return state(fitted)

    keep = Keep(folder, moments)
    expected = run(keep)
    assert len(keep.paths) >= 2
    for path in keep.paths:
        # Another seed, as in another process: all randomness comes from the checkpoint.
        assert differing(run(path=path, seed=7), expected) == [], path.name
        torch.load(path, weights_only=True)
    fresh = run(seed=7)
    assert differing(fresh, expected), "the comparison can fail"


@pytest.mark.parametrize("strategy", ["darts", "single-level", "snas", "gdas", "random"])
def test_between_epochs_with_any_shuffled_loader(
    trainer: Callable[..., pl.Trainer], tmp_path: Path, strategy: str
) -> None:
    check_resumes(
        trainer,
        tmp_path,
        LitResumable,
        {"datamodule": UserData},
        ("epoch", "validation"),
        {"strategy": strategy, "learning_rate": 0.1},
        max_epochs=3,
    )


def undrawn() -> DataLoader[Any]:
    """Validation that draws nothing from the global generator: where the checkpoint is of an epoch's last batch,
    Lightning leaves that epoch's validation out when it goes on."""
    return DataLoader(samples(8, 2), 4, generator=torch.Generator())


@pytest.mark.parametrize("limits", [{"max_epochs": 2}, {"max_epochs": -1, "max_steps": 6}])
def test_in_mid_epoch_with_a_stateful_loader(
    trainer: Callable[..., pl.Trainer], tmp_path: Path, limits: dict[str, int]
) -> None:
    check_resumes(
        trainer,
        tmp_path,
        LitResumable,
        {"train_dataloaders": Resumable, "val_dataloaders": undrawn},
        ("batch", "validation"),
        {"strategy": "gdas", "learning_rate": 0.1, "search_data": loader(12, seed=3)},
        **limits,
    )


@pytest.mark.parametrize("strategy", ["darts", RandomSearch(BestSampled(samples=3))], ids=["darts", "random"])
def test_in_mid_epoch_with_our_datamodules(
    trainer: Callable[..., pl.Trainer], tmp_path: Path, strategy: str | Strategy
) -> None:
    def data() -> ClusterData:
        return ClusterData(8, 2, 2, batch_size=2)

    def module() -> NodeClassification:
        space = EGNASSpace(cells=1, nodes=1, node_channels=4, edge_channels=2, dropout=0.1)
        task = data().task
        return NodeClassification(space.searchable(task), task)

    check_resumes(
        trainer,
        tmp_path,
        module,
        {"datamodule": data},
        ("batch", "validation", "epoch"),
        {"strategy": strategy, "learning_rate": 0.1},
    )


def test_what_was_gone_on_with_is_gone_on_with_again(tmp_path: Path, trainer: Callable[..., pl.Trainer]) -> None:
    def run(folder: Path, path: Path | None = None) -> tuple[dict[str, Tensor], list[Path]]:
        folder.mkdir()
        pl.seed_everything(1 if path is None else 7, verbose=False)
        data = ClusterData(8, 2, 2, batch_size=2)
        space = EGNASSpace(cells=1, nodes=1, node_channels=4, edge_channels=2, dropout=0.1)
        module = NodeClassification(space.searchable(data.task, seed=1), data.task)
        if path is None:
            pl.seed_everything(1, verbose=False)
        keep = Keep(folder, ("batch", "validation", "epoch"))
        trainer(ArchitectureSearch("darts", learning_rate=0.1), keep, max_epochs=3).fit(
            module, datamodule=data, ckpt_path=path
        )
        return state(module), keep.paths

    expected, first = run(tmp_path / "unbroken")
    # Of the first epoch: in its middle, its last batch, its validation, its end.
    for moment in first[:4]:
        _, second = run(tmp_path / moment.stem, moment)
        for again in second:
            end, _ = run(tmp_path / f"{moment.stem}-{again.stem}", again)
            assert differing(end, expected) == [], f"{moment.stem}, then {again.stem}"


class EndsOfEpochs(DARTS):
    """Remembers which epochs it was told the end of."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[int] = []

    def end_epoch(self, step: SearchStep) -> None:
        self.told.append(step.epoch)


def test_the_end_of_an_epoch_is_made_up_for_after_a_checkpoint_of_its_last_batch(
    tmp_path: Path, trainer: Callable[..., pl.Trainer]
) -> None:
    def run(*callbacks: pl.Callback, path: Path | None = None) -> list[int]:
        data = ClusterData(8, 2, 2, batch_size=2)
        space = EGNASSpace(cells=1, nodes=1, node_channels=4, edge_channels=2)
        module = NodeClassification(space.searchable(data.task), data.task)
        strategy = EndsOfEpochs()
        trainer(ArchitectureSearch(strategy), *callbacks, max_epochs=3).fit(module, datamodule=data, ckpt_path=path)
        return strategy.told

    keep = Keep(tmp_path, ("batch",))
    assert run(keep) == [0, 1, 2]
    per_epoch = len(keep.paths) // 3
    for number, path in enumerate(keep.paths):
        epoch = number // per_epoch  # in which it was saved
        assert run(path=path) == list(range(epoch, 3)), path.name
