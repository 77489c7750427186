"""Averaged weights: the mean of the last steps, with statistics of its own, is what is validated, kept and resumed."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from perceptron_space.data import WavesData
from perceptron_space.module import PixelRegression
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn

from automl_plugins.training.averaging import AveragedWeights
from automl_plugins.training.fit import LEAN, seeded, train

EPOCHS, STEPS = 4, 8  # 16 training images in batches of 8


class Steps(pl.Callback):
    """The weights after each step, and the statistics that validations had."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []
        self.validated: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *others: Any) -> None:
        self.weights.append({name: weight.detach().clone() for name, weight in pl_module.named_parameters()})

    def on_validation_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *others: Any) -> None:
        self.validated.append(copy.deepcopy(pl_module.state_dict()))


def make_module() -> PixelRegression:
    return PixelRegression(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1)), WavesData().task)


def trained(*callbacks: pl.Callback, judged_by: Any = "last", **options: Any) -> tuple[float, PixelRegression]:
    with seeded(0):
        module = make_module()
        given = {"accelerator": "cpu", "max_epochs": EPOCHS, **options}
        result = train(module, WavesData(), "val_loss", "minimize", given, callbacks, True, judged_by=judged_by)
    return result.score, module


def test_the_mean_of_the_last_steps_is_what_is_left() -> None:
    steps = Steps()
    _, module = trained(AveragedWeights(start=0.5), steps)
    assert len(steps.weights) == STEPS
    for name, weight in module.named_parameters():
        mean = torch.stack([each[name] for each in steps.weights[4:]]).mean(dim=0)
        torch.testing.assert_close(weight.detach(), mean)


def test_validations_before_the_mean_are_of_the_weights_as_they_are() -> None:
    steps = Steps()
    trained(AveragedWeights(start=0.5), steps)
    first = steps.validated[0]
    assert all(torch.equal(first[name], weight) for name, weight in steps.weights[1].items())


def test_statistics_are_those_of_the_averaged_network() -> None:
    _, module = trained(AveragedWeights(start=0.5))
    torch.testing.assert_close(module.network[1].running_mean, statistics_of(module, WavesData(), (1,))[1])


@pytest.mark.parametrize("judged_by", ["last", "best"])
def test_what_was_validated_is_kept(judged_by: Any) -> None:
    score, module = trained(AveragedWeights(start=0.25), judged_by=judged_by)
    (again,) = pl.Trainer(**LEAN, accelerator="cpu").validate(module, WavesData(), verbose=False)
    assert again["val_loss"] == pytest.approx(score, rel=1e-6)


def test_the_training_itself_is_the_same_as_without() -> None:
    with_mean, without = Steps(), Steps()
    trained(AveragedWeights(start=0.25), with_mean)
    trained(without)
    for one, other in zip(with_mean.weights, without.weights, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("epochs", [1, 3])  # before the mean begins, and after
def test_a_training_that_goes_on_ends_as_one_that_was_not_stopped(epochs: int, tmp_path: Path) -> None:
    def fit(stop: int | None, checkpoint: Path | None) -> PixelRegression:
        with seeded(0):
            module = make_module()
            stops = [StopAfter(stop)] if stop is not None else []
            trainer = pl.Trainer(
                **LEAN, accelerator="cpu", max_epochs=EPOCHS, callbacks=[AveragedWeights(start=0.5), *stops]
            )
            trainer.fit(module, datamodule=WavesData(), ckpt_path=checkpoint, weights_only=True)
            if stop is not None:
                trainer.save_checkpoint(tmp_path / "last.ckpt")
        return module

    class StopAfter(pl.Callback):
        def __init__(self, epochs: int) -> None:
            self.epochs = epochs

        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            trainer.should_stop = trainer.current_epoch + 1 >= self.epochs
            if trainer.should_stop:
                trainer.save_checkpoint(tmp_path / "stopped.ckpt")

    whole = fit(None, None).state_dict()
    fit(epochs, None)
    again = fit(None, tmp_path / "stopped.ckpt").state_dict()
    for name, tensor in whole.items():
        torch.testing.assert_close(again[name], tensor, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("arguments", [{"start": 1.0}, {"start": -0.1}, {"batches": 0}])
def test_numbers_out_of_range_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least"):
        AveragedWeights(**arguments)


class Frozen(PixelRegression):
    """Its normalisation is in evaluation mode in the first epochs."""

    def __init__(self, epochs: int) -> None:
        parts = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
        super().__init__(nn.Sequential(*parts, nn.Conv2d(4, 1, 1)), WavesData().task)
        self.epochs = epochs

    def on_train_epoch_start(self) -> None:
        self.network[1].train(self.current_epoch >= self.epochs)


@pytest.mark.parametrize("epochs", [EPOCHS, 2])
def test_statistics_that_training_leaves_alone_stay(epochs: int) -> None:
    with seeded(0):
        module = Frozen(epochs)
    before = module.network[1].running_mean.clone()
    pl.Trainer(**LEAN, accelerator="cpu", max_epochs=EPOCHS, callbacks=[AveragedWeights(start=0.25)]).fit(
        module, WavesData()
    )
    means = statistics_of(module, WavesData(), (1, 3))
    kept = module.network[1].running_mean
    torch.testing.assert_close(kept, before if epochs == EPOCHS else means[1])
    torch.testing.assert_close(module.network[3].running_mean, means[3])


def statistics_of(module: PixelRegression, data: WavesData, places: Sequence[int]) -> dict[int, Tensor]:
    """The mean over training batches of what normalisations are given; those before them use their own statistics."""
    data.setup("fit")
    batches = [batch["image"] if isinstance(batch, dict) else batch[0] for batch in data.train_dataloader()]
    network, found = copy.deepcopy(module.network).cpu().eval(), {}
    with torch.no_grad():
        for place in places:
            found[place] = torch.stack([network[:place](images).mean(dim=(0, 2, 3)) for images in batches]).mean(dim=0)
    return found


class Alike(pl.Callback):
    """Raises in every process where the ranks do not end with the same, right statistics and weights."""

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        state = torch.cat([each.flatten().double() for each in pl_module.state_dict().values()])
        if not torch.equal(trainer.strategy.reduce(state.clone(), reduce_op="mean"), state):
            raise RuntimeError("the ranks end with other weights or statistics")
        means = statistics_of(pl_module, WavesData(), (1,))
        if not torch.allclose(pl_module.network[1].running_mean, means[1], atol=1e-6):
            raise RuntimeError(f"statistics {pl_module.network[1].running_mean} and not {means[1]}")


@pytest.mark.filterwarnings("ignore:It is recommended to use .*sync_dist")
@pytest.mark.parametrize("has_datamodule", [True, False])
def test_two_processes_end_with_the_same_mean_and_its_statistics(has_datamodule: bool) -> None:
    with seeded(0):
        module = make_module()
    data = WavesData()
    data.setup("fit")
    loaders = {"train_dataloaders": data.train_dataloader(), "val_dataloaders": data.val_dataloader()}
    strategy = DDPStrategy(start_method="fork", process_group_backend="gloo")
    options = {**LEAN, "accelerator": "cpu", "devices": 2, "strategy": strategy, "max_epochs": 2}
    pl.Trainer(**options, callbacks=[AveragedWeights(start=0.5), Alike()]).fit(
        module, **({"datamodule": data} if has_datamodule else loaders)
    )


def test_a_training_without_a_known_end_is_refused() -> None:
    with pytest.raises(ValueError, match="known end"):
        trained(AveragedWeights(), max_epochs=-1, max_time={"seconds": 5})


def test_a_supernet_is_refused() -> None:
    module = make_module()
    module.network[1].keeps_running_statistics = True
    with pytest.raises(ValueError, match="leave AveragedWeights out of a search"):
        pl.Trainer(**LEAN, accelerator="cpu", max_epochs=1, callbacks=[AveragedWeights()]).fit(module, WavesData())
