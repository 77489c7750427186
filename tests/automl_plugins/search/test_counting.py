"""What a training step counts, collects or moves counts once, although the architecture's step runs it again."""

from __future__ import annotations

import copy
import itertools
import random
import sys
import time
import types
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from search_project import LitUser, UserData, differing, loader, state
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins.search import ArchitectureSearch
from automl_plugins.search.aside import objects_aside
from gnn_space import EGNASSpace
from gnn_space.data import ClusterData
from gnn_space.modules import NodeClassification


@dataclass
class Meter:
    """An average as many projects have one."""

    count: int = 0
    total: Tensor = field(default_factory=lambda: torch.zeros(1))
    inner: dict[str, list[int]] = field(default_factory=lambda: {"steps": []})

    def update(self, value: Tensor) -> None:
        self.count += 1
        self.total += value
        self.inner["steps"].append(self.count)


class Slotted:
    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class WarmLoss(nn.Module):
    """A loss that counts its own steps, with a plain tensor beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.step = 0
        self.history = torch.zeros(4)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        self.step += 1
        self.history[self.step % 4] += 1
        return functional.mse_loss(output, target)


class Average:
    """A moving average of weights, written behind autograd's back."""

    def __init__(self, module: nn.Module) -> None:
        self.shadow = {name: weight.detach().clone() for name, weight in module.named_parameters()}

    def update(self, module: nn.Module) -> None:
        for name, weight in module.named_parameters():
            self.shadow[name].data.mul_(0.9).add_(weight.data, alpha=0.1)


def numbers() -> Iterator[int]:
    yield from itertools.count()


class LitCounting(pl.LightningModule):
    """Counts in all the ways that we have met."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.loss = WarmLoss()
        self.teacher = copy.deepcopy(nn.Linear(3, 600, bias=False)).requires_grad_(False)
        self.meter, self.pair, self.hidden = Meter(), (Meter(), [Meter()]), [WarmLoss()]
        self.counter, self.queue, self.seen = Counter[str](), deque[int](maxlen=3), {0}
        self.steps = torch.zeros(1, dtype=torch.int64)
        self.large = torch.zeros(2**19)
        self.array = np.zeros(3)
        self.average = Average(self.loss)
        self.generators = (random.Random(0), np.random.default_rng(0), torch.Generator().manual_seed(0))
        self.iterator, self.counted = numbers(), itertools.count()
        self.drawn: list[Any] = []
        self.scaler = torch.amp.GradScaler("cpu")

    def count(self) -> None:
        self.meter.update(torch.ones(1))
        self.pair[0].update(torch.ones(1))
        self.pair[1][0].update(torch.ones(1))
        self.hidden[0](torch.ones(1), torch.ones(1))
        self.counter["steps"] += 1
        self.queue.append(len(self.queue))
        self.seen.add(len(self.seen))
        self.steps += 1
        self.large.data.add_(1)
        self.array += 1
        self.teacher.weight.data.mul_(0.9).add_(0.1)
        self.average.update(self.loss)
        python, numpy, torchs = self.generators
        self.drawn.append(
            (python.random(), numpy.random(), torch.rand((), generator=torchs), next(self.iterator), next(self.counted))
        )
        self.scaler.scale(torch.ones(1))
        self.added = getattr(self, "added", 0) + 1

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.count()
        self.lr_schedulers().step()
        return self.loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "epoch", "frequency": 99}}

    def counts(self) -> list[Any]:
        """All that it has counted, as numbers."""
        meters = [self.meter, self.pair[0], self.pair[1][0]]
        return [
            *([meter.count, meter.total.tolist(), meter.inner] for meter in meters),
            *([loss.step, loss.history.tolist()] for loss in (self.loss, self.hidden[0])),
            [dict(self.counter), list(self.queue), sorted(self.seen), self.steps.tolist(), self.large[0].item()],
            [self.array.tolist(), self.teacher.weight.sum().item(), self.drawn, self.added],
            [shadow.tolist() for shadow in self.average.shadow.values()],
            [self.trainer.optimizers[0].param_groups[0]["lr"], self.lr_schedulers().last_epoch],
        ]


class Hooking(pl.Callback):
    """Counts the passes through a part of the module."""

    def __init__(self) -> None:
        self.passes = 0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        pl_module.loss.register_forward_hook(self.count)

    def count(self, *_: Any) -> None:
        self.passes += 1


def fit(make: Callable[..., pl.Trainer], *callbacks: pl.Callback) -> tuple[LitCounting, Hooking]:
    torch.manual_seed(0)
    module, hooking = LitCounting(LitUser().net), Hooking()
    if not callbacks:
        module.net.logits.requires_grad_(False)
    pl.seed_everything(1, verbose=False)
    make(hooking, *callbacks, max_epochs=2).fit(module, loader(16, seed=1, shuffle=True))
    return module, hooking


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
def test_all_of_it_is_that_of_a_fit_without_a_search(trainer: Callable[..., pl.Trainer]) -> None:
    alone, alone_hooking = fit(trainer)
    search = ArchitectureSearch(learning_rate=0.0, search_data=loader(8, seed=3))
    searched, hooking = fit(trainer, search)
    assert search.steps == 8
    assert searched.meter.count == 8
    assert searched.drawn[-1][-2:] == (7, 7)
    for ours, theirs in zip(searched.counts(), alone.counts(), strict=True):
        assert ours == theirs
    assert hooking.passes == alone_hooking.passes == 8
    assert differing(state(alone), state(searched)) == []


def test_an_object_with_slots_comes_back() -> None:
    module: Any = nn.Module()
    module.slotted = Slotted()
    with objects_aside(module):
        module.slotted.count += 1
    assert module.slotted.count == 0


def test_what_is_logged_to_a_library_directly_is_logged_once(
    trainer: Callable[..., pl.Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[Any] = []
    run = types.SimpleNamespace(log=lines.append)
    wandb = types.SimpleNamespace(log=lines.append, run=run)
    monkeypatch.setitem(sys.modules, "wandb", wandb)

    class LitLogging(LitUser):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            wandb.log({"step": batch_idx})
            wandb.run.log({"step": batch_idx})
            return super().training_step(batch, batch_idx)

    trainer(ArchitectureSearch(search_data=loader(8)), max_epochs=1).fit(LitLogging(), datamodule=UserData())
    assert len(lines) == 8
    assert wandb.log == run.log == lines.append


def test_stopping_is_decided_by_the_users_own_batches(trainer: Callable[..., pl.Trainer]) -> None:
    class LitStopping(LitUser):
        def architecture_loss(self, batch: Any) -> Tensor:
            self.trainer.should_stop = True
            return functional.mse_loss(self(batch[0]), batch[1])

    run = trainer(ArchitectureSearch(search_data=loader(8)), max_epochs=3)
    run.fit(LitStopping(), datamodule=UserData())
    assert run.current_epoch == 3


def test_what_begins_late_is_said_and_from_then_on_put_back() -> None:
    module: Any = nn.Module()
    module.large = torch.zeros(2**19)
    for _ in range(3):
        with objects_aside(module):
            pass
    with pytest.warns(UserWarning, match=r"a tensor of shape \(524288,\) .* began to change"), objects_aside(module):
        module.large += 1
    for _ in range(2):
        with objects_aside(module):
            module.large += 1
    assert torch.equal(module.large, torch.ones(2**19))


def test_it_costs_little_beside_a_step_of_a_real_space() -> None:
    data = ClusterData(2, 2, 2, batch_size=1)
    data.setup()
    module: Any = NodeClassification(EGNASSpace(cells=1, nodes=2).searchable(data.task), data.task)
    batch = next(iter(data.train_dataloader()))

    def least(function: Callable[[], object]) -> float:
        times = []
        for _ in range(3):
            start = time.process_time()
            function()
            times.append(time.process_time() - start)
        return min(times)

    def aside() -> None:
        with objects_aside(module):
            pass

    def step() -> None:
        module.network(batch.x, batch.edge_index, None, batch.batch, batch.num_graphs).square().mean().backward()

    assert least(aside) < 0.1 * least(step)
