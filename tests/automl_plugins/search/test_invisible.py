"""With the architecture's learning rate at zero, nobody notices that a search is going on."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from search_project import LitUser, UserData, differing, loader, state
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from automl_plugins.search import ArchitectureSearch


class Noisy(Dataset[tuple[Tensor, Tensor]]):
    """Search data with augmentation, drawn from all three global generators."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = torch.rand(3, 2, 2) + np.random.rand() + random.random()  # noqa: NPY002
        return image, image.sum(dim=0, keepdim=True)


class Logged(pl.loggers.logger.DummyLogger):
    """Keeps what is logged, whoever logs it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Any] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        kept = {name: value for name, value in metrics.items() if not name.startswith("search_")}
        self.lines.append((kept, step))

    def add(self, value: float) -> None:
        self.lines.append(value)


class LitTalkative(LitUser):
    """Writes to its logger behind Lightning's back."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        if isinstance(self.logger, Logged):
            self.logger.add(loss.item())
        return loss


def fit(make: Callable[..., pl.Trainer], *callbacks: pl.Callback, **given: Any) -> tuple[LitUser, list[Any], Any]:
    module = LitTalkative()
    if not callbacks:
        module.net.logits.requires_grad_(False)
    logged = Logged()
    trainer = make(*callbacks, logger=logged, log_every_n_steps=1, **given)
    pl.seed_everything(1, verbose=False)
    trainer.fit(module, datamodule=UserData())
    # Lightning counts lines of metrics for itself; a line of ours alone is none of the user's.
    lines = [line for line in logged.lines if not (isinstance(line, tuple) and set(line[0]) <= {"epoch"})]
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if "search" not in name}
    return module, lines, metrics


@pytest.mark.parametrize("accumulate", [1, 3])
def test_weights_buffers_and_every_logged_metric_are_those_of_a_fit_without_it(
    trainer: Callable[..., pl.Trainer], accumulate: int
) -> None:
    alone, alone_lines, alone_metrics = fit(trainer, accumulate_grad_batches=accumulate, gradient_clip_val=0.5)
    search = ArchitectureSearch(learning_rate=0.0, search_data=DataLoader(Noisy(), 3, shuffle=True))
    watched, lines, metrics = fit(trainer, search, accumulate_grad_batches=accumulate, gradient_clip_val=0.5)
    assert search.steps == 2 * -(-4 // accumulate), "the search did run"
    assert differing(state(alone), state(watched)) == []
    assert metrics == alone_metrics
    assert lines == alone_lines


def test_the_step_that_is_not_seen_would_have_been_seen(trainer: Callable[..., pl.Trainer]) -> None:
    class LitTwice(LitTalkative):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            self.training_step(batch, batch_idx)

    module = LitTwice()
    module.net.logits.requires_grad_(False)
    logged = Logged()
    pl.seed_everything(1, verbose=False)
    with_steps = trainer(logger=logged, log_every_n_steps=1)
    with_steps.fit(module, datamodule=UserData())
    alone, lines, metrics = fit(trainer)
    assert any(name.startswith("stem.1.running") for name in differing(state(alone), state(module)))
    assert float(with_steps.callback_metrics["seen"]) == 2 * metrics["seen"]
    assert float(with_steps.callback_metrics["mae"]) != metrics["mae"]
    assert len(logged.lines) > len(lines)


def test_the_search_data_come_in_an_order_of_the_searchs_own(trainer: Callable[..., pl.Trainer]) -> None:
    modules = []
    for shuffle in (False, True):
        module = LitUser()
        pl.seed_everything(1, verbose=False)
        search = ArchitectureSearch(learning_rate=0.1, search_data=loader(8, shuffle=shuffle))
        trainer(search).fit(module, loader(16), loader(8))
        modules.append(state(module))
    assert differing(*modules) == []


def test_the_module_is_an_ordinary_one_afterwards(trainer: Callable[..., pl.Trainer]) -> None:
    module = LitUser()
    data = UserData()
    trainer(ArchitectureSearch()).fit(module, datamodule=data)
    assert module.net.logits.requires_grad
    assert module.net.logits.grad is None
    assert module.net.draws_by_itself
    assert "train_dataloader" not in vars(data)
    assert "log" not in vars(module)
    assert len(data.train_dataloader().dataset) == 16
