"""Two processes search as one would."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from search_project import TASK, LitUser, UserData, differing, loader, samples, state
from test_resume import Keep
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, DistributedSampler

from automl_plugins.search import ArchitectureSearch, ranks

# The user's project was written for one process.
pytestmark = pytest.mark.filterwarnings("ignore:It is recommended to use `self.log")


def test_a_gradient_that_one_rank_has_alone_counts_as_zero_on_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    like = [torch.zeros(2), torch.zeros(1), torch.zeros(1)]
    # The other rank has the second alone.
    others = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0, 6.0, 0.0])
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda flat: flat.add_(others))
    means = ranks.averaged([torch.tensor([4.0, -2.0]), None, None], like, 2)
    assert [each if each is None else each.tolist() for each in means] == [[2.0, -1.0], [3.0], None]


def two(**given: Any) -> dict[str, Any]:
    strategy = pl.strategies.DDPStrategy(start_method="fork", process_group_backend="gloo", **given)
    return {"strategy": strategy, "devices": 2}


class LitPlain(pl.LightningModule):
    """Nothing in it depends on how samples are batched together; nothing is drawn."""

    def __init__(self) -> None:
        super().__init__()
        from perceptron_space.space import PerceptronSpace

        torch.manual_seed(0)
        self.net = PerceptronSpace(4).searchable(TASK)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return functional.mse_loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


class InOrder(pl.LightningDataModule):
    """Training data that are not shuffled; Lightning's own sampler for several processes would."""

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self) -> DataLoader[Any]:
        data = samples(16, 0)
        order = DistributedSampler(data, self.trainer.world_size, self.trainer.global_rank, shuffle=False)
        return DataLoader(data, self.batch_size, sampler=order)


@pytest.mark.parametrize("strategy", ["darts", "single-level", "gdas"])
def test_two_processes_find_what_one_finds_with_the_doubled_batch(
    trainer: Callable[..., pl.Trainer], strategy: str
) -> None:
    ends = []
    for batch_size, options in ((4, {}), (2, two(find_unused_parameters=strategy == "gdas"))):
        module = LitPlain()
        data = loader(12, seed=3, batch_size=batch_size) if strategy != "single-level" else None
        search = ArchitectureSearch(strategy, search_data=data, learning_rate=0.1)
        trainer(search, **options).fit(module, datamodule=InOrder(batch_size))
        ends.append(state(module))
    assert differing(state(LitPlain()), ends[0]), "something was learned"
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-4, atol=1e-5)


class Collect(pl.Callback):
    """What the other process ends with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_end(self, trainer: pl.Trainer, module: LitUser) -> None:
        torch.save(module.net.state_dict(), self.folder / f"{trainer.global_rank}.pt")


@pytest.mark.parametrize("strategy", ["snas", "random"])
def test_both_processes_end_with_the_same(trainer: Callable[..., pl.Trainer], tmp_path: Path, strategy: str) -> None:
    options = two(find_unused_parameters=strategy == "random")

    class Perturb(pl.Callback):
        def setup(self, trainer: pl.Trainer, module: LitUser, stage: str) -> None:
            with torch.no_grad():  # as when each process were to draw its own beginnings
                module.net.logits += trainer.global_rank

    module = LitUser()
    search = ArchitectureSearch(strategy, learning_rate=0.1)
    trainer(Perturb(), search, Collect(tmp_path), **options).fit(module, datamodule=UserData())
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert differing(first, second) == []


def test_logits_that_drift_apart_are_an_error(trainer: Callable[..., pl.Trainer]) -> None:
    class Drift(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, module: LitUser, *_: Any) -> None:
            if trainer.global_rank == 1:
                module.net.logits.data[0, 0] += 1e-6

    with pytest.raises(Exception, match="the architecture logits differ between the processes"):
        trainer(ArchitectureSearch(), Drift(), **two()).fit(LitUser(), datamodule=UserData())


@pytest.mark.parametrize("strategy", ["gdas", "random"])
def test_single_paths_need_a_setting_of_ddp(trainer: Callable[..., pl.Trainer], strategy: str) -> None:
    with pytest.raises(Exception, match="strategy='ddp_find_unused_parameters_true'"):
        trainer(ArchitectureSearch(strategy), **two()).fit(LitUser(), datamodule=UserData())
    with pytest.raises(Exception, match="static_graph=True forbids"):
        trainer(ArchitectureSearch(strategy), **two(static_graph=True)).fit(LitUser(), datamodule=UserData())


class LitDropout(LitPlain):
    """Each process draws noise of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.2)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return functional.mse_loss(self.net(self.dropout(batch[0])), batch[1])


def test_two_processes_go_on_from_a_checkpoint(trainer: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    def run(*callbacks: pl.Callback, path: Path | None = None) -> dict[str, Tensor]:
        pl.seed_everything(1, verbose=False)
        module = LitDropout()
        search = ArchitectureSearch("gdas", learning_rate=0.1)
        fit = trainer(search, *callbacks, max_epochs=3, **two(find_unused_parameters=True))
        fit.fit(module, datamodule=Shuffled(), ckpt_path=path)
        return state(module)

    expected = run(Keep(tmp_path, ("epoch",)))
    paths = sorted(tmp_path.glob("*.ckpt"))
    assert len(paths) == 3
    for path in paths[:2]:
        assert differing(run(path=path), expected) == [], path.name


class Shuffled(pl.LightningDataModule):
    def train_dataloader(self) -> Any:
        return loader(16, seed=1, batch_size=2, shuffle=True)


def test_a_search_goes_on_on_another_number_of_processes_but_says_so(
    trainer: Callable[..., pl.Trainer], tmp_path: Path
) -> None:
    keep = Keep(tmp_path, ("epoch",))
    trainer(ArchitectureSearch(), keep, **two()).fit(LitPlain(), datamodule=Shuffled())
    (path, *_) = sorted(tmp_path.glob("*.ckpt"))
    with pytest.warns(UserWarning, match=r"the search was on 2 process\(es\) and goes on on 1"):
        trainer(ArchitectureSearch()).fit(LitPlain(), datamodule=Shuffled(), ckpt_path=path)
