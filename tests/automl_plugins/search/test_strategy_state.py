"""What a strategy remembers, how it begins, and what a step gives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytorch_lightning as pl
import torch
from search_project import LitUser, UserData, loader
from test_ranks import Collect, InOrder, LitPlain, two
from test_resume import Keep, LitResumable, Resumable, check_resumes, undrawn
from torch import Tensor

from automl_plugins.search import ArchitectureSearch, SearchStep
from automl_plugins.strategies import DARTS, SingleLevel


class Remembering(DARTS):
    """REINFORCE with a baseline, a distance to the initial weights, and an option that is closed at first."""

    def begin(self, step: SearchStep) -> None:
        self.baseline, self.seen = 0.0, 0
        self.initial = {
            name: [weight.detach().clone() for weight in each.weight_parameters()]
            for name, each in step.searchables.items()
        }
        for searchable in step.searchables.values():
            searchable.close("activation", "relu")
            with torch.no_grad():
                searchable.logits.normal_(generator=step.generator)

    def architecture_loss(self, step: SearchStep) -> Tensor:
        self.seen += 1
        loss = step.search_loss()
        reward = step.average(float(loss.detach()))
        self.baseline += 0.5 * (reward - self.baseline)
        noise = torch.rand((), generator=step.generator)
        distances = [
            (weight.detach() - first).square().sum()
            for name, each in step.searchables.items()
            for weight, first in zip(each.weight_parameters(), self.initial[name], strict=True)
        ]
        return loss * (reward - self.baseline + noise + torch.stack(distances).sum())

    def state_dict(self) -> dict[str, Any]:
        return {"baseline": self.baseline, "seen": self.seen, "initial": self.initial}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.baseline, self.seen, self.initial = state["baseline"], state["seen"], state["initial"]


def test_a_search_whose_strategy_remembers_goes_on_to_the_last_bit(
    trainer: Callable[..., pl.Trainer], tmp_path: Path
) -> None:
    check_resumes(
        trainer,
        tmp_path,
        LitResumable,
        {"train_dataloaders": Resumable, "val_dataloaders": undrawn},
        ("batch", "validation", "epoch"),
        {"strategy": Remembering(), "learning_rate": 0.1, "search_data": loader(12, seed=3)},
    )


def test_a_strategy_begins_once_and_not_again_where_a_search_goes_on(
    trainer: Callable[..., pl.Trainer], tmp_path: Path
) -> None:
    begun: list[tuple[int, float, bool]] = []

    class Counting(DARTS):
        def begin(self, step: SearchStep) -> None:
            untrained = all(
                torch.equal(*pair) for pair in zip(LitUser().parameters(), step.module.parameters(), strict=True)
            )
            begun.append((step.number, step.progress, untrained))

    keep = Keep(tmp_path, ("epoch",))
    trainer(ArchitectureSearch(Counting()), keep).fit(LitUser(), datamodule=UserData())
    assert begun == [(0, 0.0, True)]
    trainer(ArchitectureSearch(Counting()), max_epochs=3).fit(LitUser(), datamodule=UserData(), ckpt_path=keep.paths[0])
    assert len(begun) == 1


def test_what_a_strategy_does_at_the_beginning_is_what_the_search_begins_with(
    trainer: Callable[..., pl.Trainer],
) -> None:
    module = LitUser()
    trainer(ArchitectureSearch(Remembering(), learning_rate=0.0, weight_decay=0.0)).fit(module, datamodule=UserData())
    assert module.net.architecture()["activation"] == "tanh", "closed"
    assert module.net.logits.detach().abs().max() > 0.1, "drawn"


def test_another_fit_with_the_same_strategy_is_the_same(trainer: Callable[..., pl.Trainer]) -> None:
    strategy, ends = Remembering(), []
    for _ in range(2):
        pl.seed_everything(1, verbose=False)
        module = LitUser()
        trainer(ArchitectureSearch(strategy, learning_rate=0.1)).fit(module, datamodule=UserData())
        ends.append(module.net.logits.detach().clone())
    assert torch.equal(*ends)


class Asking(SingleLevel):
    """Looks at all that a step gives."""

    uses_search_data: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[SearchStep] = []
        self.ends: list[SearchStep] = []
        self.with_weights: list[SearchStep] = []

    def architecture_loss(self, step: SearchStep) -> Tensor:
        self.steps.append(step)
        step.shared["draw"] = torch.rand((), generator=step.generator)
        assert step.search_batch is step.search_batch, "drawn once"
        with torch.no_grad():
            path = {name: each.sample(step.generator) for name, each in step.searchables.items()}
            step.shared["loss"] = step.loss_of(path, step.training_batch)
            step.shared["path"] = path
            assert not torch.equal(step.shared["loss"], step.training_loss())
        return step.training_loss() + step.search_loss()

    def weight_loss(self, step: SearchStep) -> None:
        self.with_weights.append(step)
        assert step.search_batch is self.steps[-1].search_batch, "one for both parts of a step"

    def end_epoch(self, step: SearchStep) -> None:
        self.ends.append(step)
        with pytest.raises(RuntimeError, match="there is no training batch before the first step and between epochs"):
            step.training_loss()
        assert step.evaluate() == step.evaluate()
        assert step.loss(step.search_batch).ndim == 0


def test_a_step_knows_where_it_is_and_shares_what_is_drawn(trainer: Callable[..., pl.Trainer]) -> None:
    strategy, module = Asking(), LitUser()
    search = ArchitectureSearch(strategy, learning_rate=0.1, search_data=loader(8, seed=3))
    trainer(search, accumulate_grad_batches=2).fit(module, datamodule=UserData())
    assert [(step.epoch, step.number, step.progress) for step in strategy.steps] == [
        (0, 0, 0.0),
        (0, 1, 0.25),
        (1, 2, 0.5),
        (1, 3, 0.75),
    ]
    assert [(step.epoch, step.number, step.progress) for step in strategy.ends] == [(0, 2, 0.5), (1, 4, 1.0)]
    assert all(step.module is module for step in strategy.steps)
    assert len(strategy.with_weights) == 8, "once for each accumulated batch"
    for place, step in enumerate(strategy.with_weights):
        assert step.shared is strategy.steps[place // 2].shared
        assert (step.training_batch is strategy.steps[place // 2].training_batch) == (place % 2 == 0)
    assert len({float(step.shared["draw"]) for step in strategy.steps}) == 4


def test_a_search_batch_that_nobody_asks_for_is_not_drawn(trainer: Callable[..., pl.Trainer]) -> None:
    class Frugal(Asking):
        def architecture_loss(self, step: SearchStep) -> Tensor:
            return step.search_loss() if step.number % 2 else step.training_loss()

        def weight_loss(self, step: SearchStep) -> None:
            pass

        def end_epoch(self, step: SearchStep) -> None:
            pass

    search = ArchitectureSearch(Frugal(), search_data=loader(16, seed=3))
    trainer(search, max_epochs=1).fit(LitUser(), datamodule=UserData())
    assert search.run is not None
    assert search.run.maker.batches is not None
    assert search.run.maker.batches.state_dict()["position"] == 2, "of four steps"


class Apart(SingleLevel):
    """A number of each process's own."""

    def __init__(self, averages: bool) -> None:
        super().__init__()
        self.averages = averages
        self.mean = 0.0

    def architecture_loss(self, step: SearchStep) -> Tensor:
        loss = step.training_loss()
        self.mean += step.average(loss.item()) if self.averages else loss.item()
        return loss * self.mean if self.averages else loss

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self.mean}


def test_what_is_averaged_over_ranks_agrees(trainer: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    search = ArchitectureSearch(Apart(averages=True), learning_rate=0.1)
    trainer(search, Collect(tmp_path), **two()).fit(LitPlain(), datamodule=InOrder(2))
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert torch.equal(first["logits"], second["logits"])


class Longer(Apart):
    """Remembers more on one process than on the other."""

    def state_dict(self) -> dict[str, Any]:
        return {"several": [0.0] * (1 + self.rank)}

    def begin(self, step: SearchStep) -> None:
        self.rank = step.module.global_rank


@pytest.mark.parametrize("kind", [Apart, Longer])
def test_what_differs_between_ranks_is_an_error(trainer: Callable[..., pl.Trainer], kind: type[Apart]) -> None:
    complaint = rf"what {kind.__name__} remembers differs between the processes.*step\.average"
    with pytest.raises(Exception, match=complaint):
        trainer(ArchitectureSearch(kind(averages=False)), **two()).fit(LitPlain(), datamodule=InOrder(2))


class Phases(DARTS):
    """Single paths in the first half, mixtures in the second (the shape of RADARS)."""

    def single_path(self, progress: float) -> bool:
        return progress < 0.5

    def weight_gates(self, searchable: Any, step: SearchStep) -> Any:
        return searchable.sample(step.generator) if self.single_path(step.progress) else None


def test_validation_follows_a_strategy_from_single_paths_to_mixtures(trainer: Callable[..., pl.Trainer]) -> None:
    seen: list[bool] = []

    class LitWatched(LitUser):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            gates = self.net.gates().matrix
            seen.append(bool(((gates == 0) | (gates == 1)).all()))

    run = trainer(ArchitectureSearch(Phases()), num_sanity_val_steps=0, limit_val_batches=1)
    run.fit(LitWatched(), datamodule=UserData())
    assert seen == [True, False]


def test_a_strategy_that_runs_single_paths_at_times_needs_a_setting_of_ddp(trainer: Callable[..., pl.Trainer]) -> None:
    with pytest.raises(Exception, match="strategy='ddp_find_unused_parameters_true'"):
        trainer(ArchitectureSearch(Phases()), **two()).fit(LitUser(), datamodule=UserData())


def test_a_strategy_is_shown_with_its_arguments_and_not_with_what_it_remembers() -> None:
    strategy = Apart(averages=True)
    strategy.mean = 3.0
    assert repr(strategy) == "Apart(averages=True)"
