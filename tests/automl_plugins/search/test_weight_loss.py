"""The loss of the weights is the strategy's where it gives one, whatever the Trainer does around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytorch_lightning as pl
import torch
from search_project import LitUser, UserData, differing, state
from test_compatibility import half
from test_ranks import Collect, InOrder, LitPlain, two
from torch import Tensor
from torch.nn import functional

from automl_plugins.search import ArchitectureSearch, SearchStep
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.strategies import DARTS, SingleLevel


def paths(step: SearchStep, count: int = 3) -> list[Mapping[str, Architecture]]:
    """The same ones in all parts of a step."""
    if "paths" not in step.shared:
        drawn = [{name: each.sample(step.generator) for name, each in step.searchables.items()} for _ in range(count)]
        step.shared["paths"] = drawn
    found: list[Mapping[str, Architecture]] = step.shared["paths"]
    return found


class Fair(SingleLevel):
    """Several paths in each step of the weights (the shape of FairNAS, Chu et al. 2021)."""

    def weight_loss(self, step: SearchStep) -> Tensor:
        return step.mean_loss(paths(step))

    def single_path(self, progress: float) -> bool:
        return True


class Plain(Fair):
    """The same, with the graphs of all paths at once."""

    def weight_loss(self, step: SearchStep) -> Tensor:
        losses = [step.loss_of(each, step.training_batch) for each in paths(step)]
        return torch.stack(losses).mean()


@pytest.fixture(params=["float32", "scaled 16 bit", "accumulated", "clipped"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    given: dict[str, dict[str, Any]] = {
        "float32": {},
        "scaled 16 bit": {"plugins": [half()]},
        "accumulated": {"accumulate_grad_batches": 2},
        "clipped": {"gradient_clip_val": 0.1},
    }
    return given[request.param]


def test_several_paths_in_the_memory_of_one_are_those_in_the_memory_of_several(
    trainer: Callable[..., pl.Trainer], options: dict[str, Any]
) -> None:
    ends = []
    for strategy in (Fair(), Plain()):
        pl.seed_everything(1, verbose=False)
        module = LitPlain()
        trainer(ArchitectureSearch(strategy, learning_rate=0.1), **options).fit(module, datamodule=InOrder(4))
        ends.append(module.state_dict())
    assert differing(LitPlain().state_dict(), ends[0]), "something was learned"
    tolerance = {"rtol": 1e-2, "atol": 1e-3} if "plugins" in options else {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(*ends, **tolerance)


def test_a_step_with_several_paths_trains_them_with_the_mean_of_their_gradients(
    trainer: Callable[..., pl.Trainer],
) -> None:
    drawn: list[Any] = []

    class Recording(Fair):
        def weight_loss(self, step: SearchStep) -> Tensor:
            drawn.append((step.training_batch, paths(step)))
            return super().weight_loss(step)

    module, by_hand = LitPlain(), LitPlain()
    search = ArchitectureSearch(Recording(), learning_rate=0.0, weight_decay=0.0)
    trainer(search, max_epochs=1).fit(module, datamodule=InOrder(4))
    optimizer = by_hand.configure_optimizers()
    for (image, target), several in drawn:
        optimizer.zero_grad()
        for each in several:
            with by_hand.net.hold(each["net"]):
                (functional.mse_loss(by_hand.net(image), target) / len(several)).backward()
        optimizer.step()
    torch.testing.assert_close(state(module.net.supernet), state(by_hand.net.supernet))


def test_two_processes_train_several_paths_as_one_does_with_the_doubled_batch(
    trainer: Callable[..., pl.Trainer],
) -> None:
    ends = []
    for batch_size, given in ((4, {}), (2, two(find_unused_parameters=True))):
        module = LitPlain()
        search = ArchitectureSearch(Fair(), learning_rate=0.1)
        trainer(search, **given).fit(module, datamodule=InOrder(batch_size))
        ends.append(state(module))
    assert differing(state(LitPlain()), ends[0]), "something was learned"
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-4, atol=1e-5)


class Distilled(DARTS):
    """The user's own loss, and the distance to what a teacher gives (which is here a constant)."""

    def weight_loss(self, step: SearchStep) -> Tensor:
        image, _ = step.training_batch
        return step.training_loss() + (step.module(image) - 1).square().mean()


class Relabelled(SingleLevel):
    """Targets that the data do not have (the shape of RLNAS, Zhang et al. 2021)."""

    def weight_loss(self, step: SearchStep) -> Tensor:
        image, target = step.training_batch
        return step.loss((image, torch.full_like(target, 5.0)))


def logged(make: Callable[..., pl.Trainer], strategy: DARTS, **given: Any) -> tuple[LitUser, dict[str, float], Any]:
    module = LitUser()
    run = make(ArchitectureSearch(strategy, learning_rate=0.0, weight_decay=0.0), **given)
    pl.seed_everything(1, verbose=False)
    run.fit(module, datamodule=UserData())
    return module, {name: float(value) for name, value in run.callback_metrics.items()}, run


@pytest.mark.parametrize("strategy", [Distilled(), Relabelled()], ids=repr)
def test_the_weights_lower_the_strategys_loss_and_the_users_step_is_seen_as_ever(
    trainer: Callable[..., pl.Trainer], strategy: DARTS
) -> None:
    plain, before, _ = logged(trainer, SingleLevel() if isinstance(strategy, Relabelled) else DARTS())
    module, after, _ = logged(trainer, strategy)
    assert differing(state(plain), state(module)), "another loss"
    assert before.keys() == after.keys(), "the same is logged"
    assert before["seen"] == after["seen"], "the user's step is run once for each batch"
    assert "training_step" not in vars(module)


def test_the_users_own_step_counts_where_the_strategy_gives_no_loss(trainer: Callable[..., pl.Trainer]) -> None:
    class Silent(DARTS):
        def weight_loss(self, step: SearchStep) -> None:
            assert step.training_batch is not None

    ends = [logged(trainer, strategy) for strategy in (DARTS(), Silent())]
    assert differing(*(state(module) for module, *_ in ends)) == []
    assert ends[0][1] == ends[1][1]


class HalfFrozen(DARTS):
    """Weights that learn in the second half of the search alone."""

    def trains_weights(self, progress: float) -> bool:
        return progress >= 0.5


class WhenWeights(pl.Callback):
    """After which steps the weights were other ones, to the last bit."""

    def __init__(self) -> None:
        self.moved: list[bool] = []
        self.last: dict[str, Tensor] = {}

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        self.last = {name: weight.detach().clone() for name, weight in module.named_parameters()}

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        now = dict(module.named_parameters())
        names = [name for name in now if "logits" not in name]
        self.moved.append(any(not torch.equal(self.last[name], now[name]) for name in names))


class Adam(LitUser):
    """Momentum, and a decay that would move weights whose gradient is 0."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.1, weight_decay=0.5)


@pytest.mark.parametrize("options", ["float32", "scaled 16 bit", "clipped"], indirect=True)
def test_frozen_weights_stay_to_the_last_bit_while_logits_learn(
    trainer: Callable[..., pl.Trainer], options: dict[str, Any]
) -> None:
    module, watch = Adam(), WhenWeights()
    before = module.net.logits.detach().clone()
    trainer(ArchitectureSearch(HalfFrozen(), learning_rate=0.1), watch, **options).fit(module, datamodule=UserData())
    assert watch.moved == [False] * 2 + [True] * 2
    assert not torch.equal(before, module.net.logits)


class Redrawn(DARTS):
    """Logits that learn with weights drawn anew in each step (the shape of Colombo and Gao 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[Tensor] = []

    def trains_weights(self, progress: float) -> bool:
        return False

    def architecture_loss(self, step: SearchStep) -> Tensor:
        weight = step.module.net.supernet.output.weight
        self.drawn.append(torch.randn(weight.shape, generator=step.generator))
        with torch.no_grad():
            weight.copy_(self.drawn[-1])
        return step.search_loss()


def test_weights_may_be_drawn_anew_in_each_step(trainer: Callable[..., pl.Trainer]) -> None:
    strategy, module = Redrawn(), Adam()
    before = module.net.logits.detach().clone()
    trainer(ArchitectureSearch(strategy, learning_rate=0.1)).fit(module, datamodule=UserData())
    assert len(strategy.drawn) == 4
    assert not torch.equal(strategy.drawn[0], strategy.drawn[1])
    assert torch.equal(module.net.supernet.output.weight, strategy.drawn[-1])
    assert not torch.equal(before, module.net.logits)


def test_frozen_weights_stay_on_two_processes(trainer: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    class Frozen(DARTS):
        def trains_weights(self, progress: float) -> bool:
            return False

    module = LitPlain()
    search = ArchitectureSearch(Frozen(), learning_rate=0.1, search_data="training")
    trainer(search, Collect(tmp_path), **two()).fit(module, datamodule=InOrder(2))
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert differing(first, second) == []
    untrained = LitPlain().net.state_dict()
    assert [name for name in differing(first, untrained) if name != "_extra_state"] == ["logits"]


class LitManual(LitUser):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def architecture_loss(self, batch: Any) -> Tensor:
        return functional.mse_loss(self(batch[0]), batch[1])


@pytest.mark.parametrize("strategy", [Fair(), Distilled(), HalfFrozen()], ids=lambda each: type(each).__name__)
def test_manual_optimization_is_refused_by_name(trainer: Callable[..., pl.Trainer], strategy: DARTS) -> None:
    complaint = f"{type(strategy).__name__} gives the loss of the weights .*, and LitManual optimizes manually"
    with pytest.raises(ValueError, match=complaint):
        trainer(ArchitectureSearch(strategy)).fit(LitManual(), datamodule=UserData())


@pytest.mark.filterwarnings("ignore:`training_step` returned")  # which Lightning says once in a process
def test_a_step_of_the_user_without_a_loss_is_skipped(trainer: Callable[..., pl.Trainer]) -> None:
    class LitSkipping(LitUser):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch, batch_idx) if batch_idx else None

    watch = WhenWeights()
    run = trainer(ArchitectureSearch(Distilled(), learning_rate=0.1), watch)
    run.fit(LitSkipping(), datamodule=UserData())
    assert watch.moved == [False, True] * 2


@pytest.mark.parametrize("loss", [torch.tensor(1.0), "1", 1.0])
def test_a_loss_of_the_weights_without_a_gradient_is_refused(trainer: Callable[..., pl.Trainer], loss: Any) -> None:
    class Constant(DARTS):
        def weight_loss(self, step: SearchStep) -> Any:
            return loss

    with pytest.raises(TypeError, match=r"weight_loss of Constant gives .*, which is no tensor with a gradient"):
        trainer(ArchitectureSearch(Constant())).fit(LitUser(), datamodule=UserData())


def test_a_module_gets_its_own_step_back_after_an_error(trainer: Callable[..., pl.Trainer]) -> None:
    class Failing(DARTS):
        uses_search_data: ClassVar[bool] = False

        def architecture_loss(self, step: SearchStep) -> Tensor:
            return step.training_loss()

        def weight_loss(self, step: SearchStep) -> Tensor:
            raise RuntimeError("of the strategy")

    module = LitUser()
    own = partial(LitUser.training_step, module)
    vars(module)["training_step"] = own
    with pytest.raises(RuntimeError, match="of the strategy"):
        trainer(ArchitectureSearch(Failing())).fit(module, datamodule=UserData())
    assert vars(module)["training_step"] is own


def test_the_mean_loss_of_no_path_is_an_error(trainer: Callable[..., pl.Trainer]) -> None:
    class Empty(SingleLevel):
        def weight_loss(self, step: SearchStep) -> Tensor:
            return step.mean_loss([])

    with pytest.raises(ValueError, match="the mean loss of no path was asked for"):
        trainer(ArchitectureSearch(Empty())).fit(LitUser(), datamodule=UserData())
