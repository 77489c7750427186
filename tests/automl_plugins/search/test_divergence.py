"""A search in which something is not a number any more ends with an error, and what it had found is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from search_project import LitUser, UserData, loader
from test_compatibility import half
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from automl_plugins import Architecture
from automl_plugins.errors import DivergedError
from automl_plugins.search import ArchitectureSearch
from gnn_space import AGNNSpace
from gnn_space.data import ClusterData
from gnn_space.modules import NodeClassification

NAN = float("nan")


class LitDiverging(LitUser):
    """Something of it is not finite after its sixth step, or its eighth, which is the last one of the second epoch."""

    def __init__(self, what: str, value: float = NAN, step: int = 6) -> None:
        super().__init__()
        self.what, self.value, self.step = what, value, step

    def is_now(self, what: str) -> bool:
        return self.what == what and self.trainer.global_step >= self.step

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = functional.mse_loss(self(batch[0]), batch[1])
        return loss + self.value if self.what == "loss" and self.trainer.global_step >= self.step - 1 else loss

    def on_train_batch_end(self, *_: Any) -> None:
        with torch.no_grad():
            if self.is_now("weights"):
                self.stem[0].weight[0] = self.value
            if self.is_now("logits"):
                self.net.logits[0, 0] = self.value

    def on_train_epoch_end(self) -> None:
        """Metrics are not this file's subject."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        if self.is_now("outputs"):
            self.net(batch[0] * self.value)
        error = functional.mse_loss(self(batch[0]), batch[1])
        self.log("val_loss", error + self.value if self.is_now("val_loss") else error)
        self.log("val_iou_of_absent", NAN)


def diverge(
    make: Callable[..., pl.Trainer], module: pl.LightningModule, path: Path, *callbacks: pl.Callback, **given: Any
) -> DivergedError:
    search = ArchitectureSearch(learning_rate=0.1, path=path, search_data=loader(8, seed=3))
    with pytest.raises(DivergedError) as raised:
        make(search, *callbacks, **{"max_epochs": 4, **given}).fit(module, datamodule=UserData())
    return raised.value


@pytest.mark.filterwarnings("ignore:a gradient of the architecture logits is not finite")
@pytest.mark.parametrize("value", [NAN, float("inf")])
@pytest.mark.parametrize(
    ("what", "step", "reason"),
    [
        ("loss", 6, "the training loss is not finite at step 6"),
        ("weights", 6, "the training loss is not finite at step 7"),
        ("weights", 8, "the network's outputs in validation are not finite after step 8"),
        ("outputs", 6, "the network's outputs in validation are not finite after step 8"),
        ("logits", 8, "the network's outputs in validation are not finite after step 8"),
        ("val_loss", 6, "the validation after step 8 gave val_loss="),
    ],
)
def test_what_is_not_finite_ends_the_search_with_what_the_last_epoch_had_found(
    trainer: Callable[..., pl.Trainer], tmp_path: Path, what: str, step: int, reason: str, value: float
) -> None:
    kept: list[tuple[Architecture, Tensor]] = []

    class Watch(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, module: LitUser) -> None:
            kept.append((module.net.architecture(), module.net.logits.detach().clone()))

    module = LitDiverging(what, value, step)
    path = tmp_path / "architecture.json"
    error = diverge(trainer, module, path, Watch())
    assert reason in str(error)
    assert "what the 1 epoch(s) before found is kept" in str(error)
    ((architecture, logits),) = kept
    assert error.kept == {"net": architecture}
    assert Architecture.from_json(path.read_text()) == architecture
    assert torch.equal(module.net.logits, logits)
    assert module.net.logits.requires_grad, "an ordinary module afterwards"


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("weights", r"weights are not finite after step 8: stem.0.weight"),
        ("logits", r"an architecture logit is not finite after step 8"),
    ],
)
def test_without_validation_the_end_of_the_epoch_shows_it(
    trainer: Callable[..., pl.Trainer], tmp_path: Path, what: str, reason: str
) -> None:
    error = diverge(trainer, LitDiverging(what, step=8), tmp_path / "architecture.json", limit_val_batches=0)
    assert reason in str(error)
    assert error.epochs == 1


def test_nothing_is_written_where_nothing_was_found(trainer: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    class LitAtOnce(LitDiverging):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return super().training_step(batch, batch_idx) * NAN

    with pytest.warns(UserWarning, match="gradient of the architecture logits is not finite"):
        error = diverge(trainer, LitAtOnce("nothing"), tmp_path / "architecture.json")
    assert "at step 1; nothing was found before that" in str(error)
    assert error.kept == {}
    assert list(tmp_path.iterdir()) == []


def test_data_that_give_nan_are_noticed_before_the_first_step(
    trainer: Callable[..., pl.Trainer], tmp_path: Path
) -> None:
    class Broken(UserData):
        def val_dataloader(self) -> Any:
            return DataLoader(TensorDataset(torch.full((4, 3, 2, 2), NAN), torch.zeros(4, 1, 2, 2)), 4)

    search = ArchitectureSearch(search_data=loader(8), path=tmp_path / "architecture.json")
    with pytest.raises(DivergedError, match="outputs in validation are not finite before the first step"):
        trainer(search).fit(LitUser(), datamodule=Broken())
    assert search.steps == 0


def test_a_metric_that_is_undefined_beside_others_is_no_divergence(trainer: Callable[..., pl.Trainer]) -> None:
    run = trainer(ArchitectureSearch(search_data=loader(8)))
    run.fit(LitDiverging("nothing"), datamodule=UserData())
    assert run.global_step == 8


def test_a_validation_of_which_nothing_is_left_is_one(trainer: Callable[..., pl.Trainer]) -> None:
    class LitUndefined(LitUser):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_auroc", NAN)

    with pytest.raises(DivergedError, match="the validation after step 4 gave val_auroc=nan"):
        trainer(ArchitectureSearch(search_data=loader(8))).fit(LitUndefined(), datamodule=UserData())


def test_a_single_scaled_loss_may_overflow(trainer: Callable[..., pl.Trainer]) -> None:
    class LitOverflowing(LitDiverging):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            loss = super().training_step(batch, batch_idx)
            return loss * float("inf") if self.trainer.global_step == 2 and batch_idx == 2 else loss

    run = trainer(ArchitectureSearch(search_data=loader(8)), plugins=[half()])
    run.fit(LitOverflowing("nothing"), datamodule=UserData())
    assert run.current_epoch == 2


@pytest.mark.filterwarnings("ignore:a gradient of the architecture logits is not finite")
def test_a_learning_rate_that_is_much_too_high_on_a_real_space(
    trainer: Callable[..., pl.Trainer], tmp_path: Path
) -> None:
    data = ClusterData(6, 2, 2, batch_size=2)
    space = AGNNSpace(layers=1, hidden_channels=(8,), heads=(1,), dropout=0.0)
    module = NodeClassification(space.searchable(data.task), data.task, learning_rate=1e30)
    search = ArchitectureSearch(path=tmp_path / "architecture.json")
    with pytest.raises(DivergedError, match="not finite"):
        trainer(search, max_epochs=3).fit(module, datamodule=data)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:a gradient of the architecture logits is not finite", "ignore:Encountered `nan`")
def test_search_data_that_are_not_finite_end_the_search(trainer: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    images, targets = next(iter(loader(8, seed=3)))
    search = ArchitectureSearch(
        learning_rate=0.1,
        path=tmp_path / "architecture.json",
        search_data=DataLoader(TensorDataset(images * NAN, targets), batch_size=4),
    )
    with pytest.raises(DivergedError, match="no gradient of the architecture logits has been finite"):
        trainer(search, max_epochs=2).fit(LitUser(), datamodule=UserData())
    assert not (tmp_path / "architecture.json").exists()


@pytest.mark.parametrize("strategy", ["random", "gdas"])
def test_a_validation_that_needs_an_architecture_meets_the_same_error(
    trainer: Callable[..., pl.Trainer], strategy: str
) -> None:
    search = ArchitectureSearch(strategy, search_data=loader(8, seed=3))
    with pytest.raises(
        DivergedError, match=r"the search diverged: the logit of .* is nan; nothing was found before that"
    ) as raised:
        trainer(search, max_epochs=3).fit(LitDiverging("logits", step=4), datamodule=UserData())
    assert (raised.value.epochs, raised.value.kept) == (0, {})
    assert raised.value.reason.startswith("the logit of ")
