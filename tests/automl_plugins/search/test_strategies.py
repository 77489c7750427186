"""How logits are learned: what each strategy says, and what a new one can."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import pytest
import pytorch_lightning as pl
import torch
from search_project import LitUser, UserData, loader, samples
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins import registry
from automl_plugins.decoders.best_sampled import BestSampled
from automl_plugins.search import ArchitectureSearch, SearchStep, Strategy
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.strategies import DARTS, GDAS, SNAS, UNAS, DiNTS, RandomSearch, SingleLevel
from automl_plugins.supernets.relaxations import Relaxation, Softmax
from automl_plugins.supernets.searchable import Searchable

NAMES = {
    "darts": DARTS,
    "dints": DiNTS,
    "gdas": GDAS,
    "random": RandomSearch,
    "single-level": SingleLevel,
    "snas": SNAS,
    "unas": UNAS,
}


class LitSpy(LitUser):
    """Remembers the gates and the batch of every step of training, and whether it was the architecture's."""

    def __init__(self) -> None:
        super().__init__()
        # Behind a function, where a step leaves what it did; lists of a module are put back.
        steps: list[tuple[bool, Tensor, Tensor]] = []
        self.steps = lambda: steps

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        if torch.is_grad_enabled():  # in the end what was found is judged
            gates = self.net.gates().matrix.detach().clone()
            self.steps().append((self.net.logits.requires_grad, gates, batch[0]))
        return super().training_step(batch, batch_idx)


def spied(make: Callable[..., pl.Trainer], strategy: Any, **given: Any) -> LitSpy:
    module = LitSpy()
    trainer = make(ArchitectureSearch(strategy, learning_rate=0.1, **given), max_epochs=1)
    trainer.fit(module, datamodule=UserData())
    return module


def test_the_registered_names() -> None:
    assert {name: registry.load("strategies", name) for name in registry.names("strategies") if name in NAMES} == NAMES


@pytest.mark.parametrize("name", ["darts", "gdas"])
def test_two_levels_learn_on_data_of_their_own(trainer: Callable[..., pl.Trainer], name: str) -> None:
    steps = spied(trainer, name).steps()
    assert [is_architecture for is_architecture, *_ in steps] == [True, False] * 2
    pixels = [{float(image.flatten()[0]) for _, _, batch in steps[part::2] for image in batch} for part in (0, 1)]
    assert len(pixels[0]) == len(pixels[1]) == 8
    assert not pixels[0] & pixels[1]


@pytest.mark.parametrize("name", ["single-level", "snas"])
def test_one_level_learns_both_on_the_training_batch(trainer: Callable[..., pl.Trainer], name: str) -> None:
    steps = spied(trainer, name).steps()
    assert len(steps) == 2 * 4, "nothing is held out"
    assert all(torch.equal(first[2], second[2]) for first, second in zip(steps[::2], steps[1::2], strict=True))


def test_snas_shares_a_draw_between_architecture_and_weights_and_gdas_does_not(
    trainer: Callable[..., pl.Trainer],
) -> None:
    module = spied(trainer, "snas", seed=0)
    assert int(module.net.draws) == 4
    module = spied(trainer, "gdas")
    assert int(module.net.draws) == 4, "two in each of two steps"
    gates = [gates for _, gates, _ in module.steps()]
    assert all(((each == 0) | (each == 1)).all() for each in gates), "one path at a time"


def test_the_draws_of_a_step_are_those_of_all_its_batches(trainer: Callable[..., pl.Trainer]) -> None:
    module = LitSpy()
    fit = trainer(ArchitectureSearch("snas", learning_rate=0.0), accumulate_grad_batches=2, max_epochs=1)
    fit.fit(module, datamodule=UserData())
    gates = [gates for is_architecture, gates, _ in module.steps() if not is_architecture]
    assert torch.equal(gates[0], gates[1])
    assert not torch.equal(gates[1], gates[2])


@pytest.mark.parametrize(("strategy", "start", "end"), [(SNAS(), 1.0, 0.03), (GDAS(), 10.0, 0.1)])
def test_temperatures_fall_linearly_after_the_warm_up(strategy: Any, start: float, end: float) -> None:
    relaxation = strategy.relaxation()
    assert relaxation.temperature == start
    for progress in (0.0, 0.25, 1.0):
        strategy.schedule(relaxation, progress)
        assert relaxation.temperature == pytest.approx(start + (end - start) * progress)
    for name in ("start", "end"):
        with pytest.raises(ValueError, match=rf"{name} is a temperature, greater than 0; got 0"):
            type(strategy)(**{name: 0})


@pytest.mark.parametrize("cost", ["params", "macs", "activation_mib"])
def test_snas_finds_a_cheap_architecture_where_its_cost_weighs_much(
    trainer: Callable[..., pl.Trainer], cost: Any
) -> None:
    found = {}
    for weight in (0.0, 1e3):
        module = LitUser()
        strategy = SNAS(cost_weight=weight, cost=cost)
        trainer(ArchitectureSearch(strategy, learning_rate=0.3), max_epochs=3).fit(module, datamodule=UserData())
        found[weight] = module.net.architecture()
    # What is small by each of the figures; the activation costs nothing of its own.
    assert (found[1e3]["depth"], found[1e3]["layer0.width"]) == (1, 2)
    assert found[0.0] != found[1e3]
    (shares,) = strategy.regularizers[0].state_dict().values()
    assert shares.amax(dim=1).sum() == pytest.approx(1.0)


def test_costs_that_there_are_not_are_refused() -> None:
    with pytest.raises(ValueError, match="cost_weight is a number of at least 0; got nan"):
        SNAS(cost_weight=float("nan"))
    with pytest.raises(ValueError, match="figure is one of params, macs, activation_mib, latency_ms; got 'seconds'"):
        SNAS(cost="seconds")


def test_only_weights_learn_during_the_warm_up(trainer: Callable[..., pl.Trainer]) -> None:
    logits: list[Tensor] = []
    temperatures: list[float] = []

    class Watch(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, module: LitUser) -> None:
            logits.append(module.net.logits.detach().clone())
            temperatures.append(module.net.relaxation.temperature)

    module = LitUser()
    before = module.net.logits.detach().clone()
    search = ArchitectureSearch("snas", learning_rate=0.1, warmup_epochs=1)
    trainer(search, Watch()).fit(module, datamodule=UserData())
    assert torch.equal(before, logits[0])
    assert not torch.equal(logits[0], logits[1])
    assert temperatures == [1.0, pytest.approx(1 - 0.97 * 0.75)]


def test_random_search_trains_one_architecture_at_a_time(trainer: Callable[..., pl.Trainer]) -> None:
    module = spied(trainer, RandomSearch(BestSampled(samples=2)), seed=1)
    assert [is_architecture for is_architecture, *_ in module.steps()][:2] == [False, False]
    trained = [gates for _, gates, _ in module.steps()[:2]]
    assert all(((each == 0) | (each == 1)).all() for each in trained)
    again = spied(trainer, RandomSearch(BestSampled(samples=2)), seed=1)
    assert all(torch.equal(first, second[1]) for first, second in zip(trained, again.steps()[:2], strict=True))
    other = spied(trainer, RandomSearch(BestSampled(samples=2)), seed=2)
    assert not all(torch.equal(first, second[1]) for first, second in zip(trained, other.steps()[:2], strict=True))


def test_random_search_finds_the_best_of_what_it_samples_with_the_shared_weights(
    trainer: Callable[..., pl.Trainer],
) -> None:
    module = LitUser()
    module.stem = torch.nn.Sequential()
    strategy = RandomSearch(BestSampled(samples=30, seed=4))
    search = ArchitectureSearch(strategy, search_data=loader(8, seed=5, batch_size=8))
    trainer(search, max_epochs=1).fit(module, datamodule=UserData())
    image, target = (torch.stack(part) for part in zip(*samples(8, 5), strict=True))
    losses: dict[Architecture, float] = {}
    generator = torch.Generator().manual_seed(4)
    for architecture in dict.fromkeys(module.net.space.sample(generator) for _ in range(30)):
        with module.net.hold(architecture), torch.no_grad():
            losses[architecture] = float(functional.mse_loss(module.net(image), target))
    assert len(losses) > 5
    assert module.net.architecture() == min(losses, key=losses.__getitem__)


def test_dints_refuses_a_space_without_independent_connections_before_training(
    trainer: Callable[..., pl.Trainer],
) -> None:
    module = LitSpy()
    with pytest.raises(ValueError, match="the space 'perceptron' has none as it was made"):
        trainer(ArchitectureSearch("dints")).fit(module, datamodule=UserData())
    assert module.steps() == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"memory": 1.5}, "memory is a share of that of all connections, from 0 to 1; got 1.5"),
        ({"topology_weight": -1.0}, "topology_weight is at least 0; got -1.0"),
    ],
)
def test_dints_takes_a_share_and_a_weight(arguments: dict[str, float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        DiNTS(**arguments)


# What later strategies need, each in a few lines.


class BetaDARTS(DARTS):
    """An extra loss that grows with the progress (Ye et al. 2022, equation 12)."""

    def architecture_loss(self, step: SearchStep) -> Tensor:
        decay = torch.stack([each.logits.logsumexp(dim=1).mean() for each in step.searchables.values()]).sum()
        return super().architecture_loss(step) + 50 * step.progress * decay


class Gap(DARTS):
    """Both losses in one (the shape of UNAS, Vahdat et al. 2020, equation 9)."""

    def architecture_loss(self, step: SearchStep) -> Tensor:
        training = step.training_loss()
        return training + (step.search_loss() - training).abs()


class Exponentiated(torch.optim.Optimizer):
    def __init__(self, logits: Sequence[torch.nn.Parameter], lr: float) -> None:
        super().__init__(logits, {"lr": lr})

    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for logits in group["params"]:
                shares = logits.data.softmax(dim=1)
                inner = logits.grad / shares.clamp(min=1e-6)
                logits.data.sub_(group["lr"] * inner.clamp(-10, 10))


class GAEA(SingleLevel):
    """An optimizer of its own (Li et al. 2021)."""

    def optimizer(self, logits: Any, learning_rate: float, **_: Any) -> torch.optim.Optimizer:
        return Exponentiated(logits, learning_rate)


class Perturbed(DARTS):
    """Weights are trained with perturbed gates (SDARTS-RS, Chen and Hsieh 2020, equation 5)."""

    def weight_gates(self, searchable: Searchable, step: SearchStep) -> Mapping[str, Tensor]:
        size = 0.03 + 0.27 * step.progress
        gates = searchable.gates()
        noise = torch.rand(gates.matrix.shape, generator=step.generator) * 2 - 1
        perturbed = torch.where(searchable.mask, gates.matrix.detach() + size * noise, 0.0)
        return type(gates)(gates.choices, perturbed)


class Shrinking(DARTS):
    """Options are closed between epochs, by what the loss is without them (the shape of DARTS-PT and DrNAS)."""

    losses: ClassVar[list[float]] = []

    def end_epoch(self, step: SearchStep) -> None:
        for searchable in step.searchables.values():
            self.losses.append(step.evaluate())
            if step.epoch == 0:
                searchable.close("activation", "relu")
                self.losses.append(step.evaluate())


class Dirichlet(Relaxation):
    """Another relaxation (DrNAS, Chen et al. 2021), with a probability of its own."""

    stochastic: ClassVar[bool] = True

    def __call__(self, logits: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        concentration = functional.elu(logits) + 1
        shares = torch.where(mask, concentration, 0.0)
        return shares / shares.sum(dim=1, keepdim=True)


class DrNAS(DARTS):
    def relaxation(self) -> Relaxation:
        return Dirichlet()


@pytest.mark.parametrize("strategy", [BetaDARTS(), Gap(), GAEA(), Perturbed(), Shrinking(), DrNAS()], ids=repr)
def test_strategies_to_come_fit_the_interface(trainer: Callable[..., pl.Trainer], strategy: Strategy) -> None:
    module = LitUser()
    before = module.net.logits.detach().clone()
    trainer(ArchitectureSearch(strategy, learning_rate=0.01)).fit(module, datamodule=UserData())
    assert module.net.logits.isfinite().all()
    assert not torch.equal(before, module.net.logits)
    module.net.derive()


def test_an_extra_loss_moves_the_logits_as_it_should(trainer: Callable[..., pl.Trainer]) -> None:
    ends = []
    for strategy in (DARTS(), BetaDARTS()):
        module = LitUser()
        trainer(ArchitectureSearch(strategy, learning_rate=0.1), max_epochs=6).fit(module, datamodule=UserData())
        ends.append(module.net.logits.detach().logsumexp(dim=1).mean())
    assert ends[1] < ends[0] - 0.5


def test_an_option_that_was_closed_stays_closed_and_changes_the_loss(trainer: Callable[..., pl.Trainer]) -> None:
    Shrinking.losses.clear()
    module = LitUser()
    trainer(ArchitectureSearch(Shrinking(), learning_rate=0.1)).fit(module, datamodule=UserData())
    assert module.net.architecture()["activation"] == "tanh"
    first, without, *_ = Shrinking.losses
    assert first != without


def test_gates_that_were_asked_for_are_those_that_weights_are_trained_with(trainer: Callable[..., pl.Trainer]) -> None:
    steps = spied(trainer, Perturbed()).steps()
    architecture, weights = steps[0][1], steps[1][1]
    assert 0 < (architecture - weights).abs().max() < 0.31


def test_a_strategy_that_says_it_needs_no_search_data_gets_none(trainer: Callable[..., pl.Trainer]) -> None:
    class Wrong(DARTS):
        uses_search_data: ClassVar[bool] = False

    with pytest.raises(RuntimeError, match="the strategy asks for search data, but says that it uses none"):
        trainer(ArchitectureSearch(Wrong())).fit(LitUser(), datamodule=UserData())


def test_the_users_relaxation_is_replaced_by_the_strategys(trainer: Callable[..., pl.Trainer]) -> None:
    module = LitUser()
    module.net.relaxation = Softmax(temperature=3.0)
    trainer(ArchitectureSearch("gdas")).fit(module, datamodule=UserData())
    assert module.net.relaxation.single_path


class LitWatched(LitUser):
    """Remembers the gates, the mode of a normalisation and its statistics in validation."""

    def __init__(self) -> None:
        super().__init__()
        norm = nn.BatchNorm2d(3)
        self.net.supernet.add_module("norm", norm)
        self.net.supernet.register_forward_pre_hook(lambda _, inputs: (norm(inputs[0]), *inputs[1:]))
        self.seen_gates: list[Tensor] = []
        self.by_batch: list[bool] = []

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.seen_gates.append(self.net.gates().matrix.detach().clone())
        self.by_batch.append(self.net.supernet.norm.training)
        super().validation_step(batch, batch_idx)


@pytest.mark.parametrize(("name", "single_path"), [("darts", False), ("gdas", True), ("random", True)])
def test_validation_sees_what_the_weights_are_trained_for(
    trainer: Callable[..., pl.Trainer], name: str, single_path: bool
) -> None:
    module = LitWatched()
    counts: list[int] = []

    class Counts(pl.Callback):
        def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            counts.append(int(module.net.supernet.norm.num_batches_tracked))

    made = trainer(ArchitectureSearch(name, learning_rate=0.1), Counts(), max_epochs=2, num_sanity_val_steps=0)
    made.fit(module, datamodule=UserData())
    assert module.by_batch == [single_path] * len(module.by_batch)
    assert counts == [2, 4]  # two steps an epoch, on half of the data
    for gates in module.seen_gates:
        assert bool(((gates == 0) | (gates == 1)).all()) == single_path
