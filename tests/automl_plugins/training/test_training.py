from __future__ import annotations

import logging
import math
import os
import random
import signal
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from perceptron_space.data import WavesData
from perceptron_space.module import PixelRegression
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from torch import nn

from automl_plugins import Task
from automl_plugins.errors import Terminated
from automl_plugins.system.interruption import terminated_in_order
from automl_plugins.training import fit as training
from automl_plugins.training.fit import check_trainer_options, seeded, train

CPU = {"accelerator": "cpu", "max_epochs": 3}


def trained(seed: int, **options: Any) -> tuple[training.TrainingResult, PixelRegression]:
    with seeded(seed):
        module = PixelRegression(nn.Conv2d(3, 1, 1), WavesData().task)
        return train(module, WavesData(), "val_loss", "minimize", {**CPU, **options}), module


class Scripted(PixelRegression):
    """Validates with given values, and counts its epochs in a weight."""

    def __init__(self, *values: float) -> None:
        super().__init__(nn.Conv2d(3, 1, 1), WavesData().task)
        self.values = values
        self.epochs = nn.Parameter(torch.zeros(()), requires_grad=False)

    def validation_step(self, batch: Any, batch_index: int) -> None:
        self.log("val_loss", self.values[self.current_epoch])

    def on_train_epoch_start(self) -> None:
        self.epochs += 1


@pytest.mark.parametrize(
    ("judged_by", "direction", "score", "epoch"),
    [
        ("last", "minimize", 2.0, 2),
        ("last", "maximize", 2.0, 2),
        ("best", "minimize", 1.0, 1),
        ("best", "maximize", 3.0, 0),
    ],
)
def test_the_last_validation_counts_or_the_best(judged_by: Any, direction: Any, score: float, epoch: int) -> None:
    result = train(Scripted(3.0, 1.0, 2.0), WavesData(), "val_loss", direction, CPU, judged_by=judged_by)
    assert (result.score, result.best_epoch) == (score, epoch)
    assert result.steps == 3 * 2  # 16 training images in batches of 8
    assert result.seconds > 0
    assert result.cpu_seconds > 0


@pytest.mark.parametrize(
    ("judged_by", "keep", "epochs"), [("best", True, 2.0), ("best", False, 3.0), ("last", True, 3.0)]
)
def test_a_training_ends_with_the_judged_weights_where_asked(judged_by: Any, keep: bool, epochs: float) -> None:
    module = Scripted(3.0, 1.0, 2.0)
    train(module, WavesData(), "val_loss", "minimize", CPU, keep_weights=keep, judged_by=judged_by)
    assert module.epochs == epochs


def test_weights_that_were_trained_after_the_last_validation_are_not_kept() -> None:
    module = Scripted(3.0, 1.0, 2.0)
    every_second = {**CPU, "check_val_every_n_epoch": 2}
    result = train(module, WavesData(), "val_loss", "minimize", every_second, keep_weights=True)
    assert (result.score, result.best_epoch) == (1.0, 1)
    assert module.epochs == 2.0


@pytest.mark.parametrize(("judged_by", "epoch"), [("last", 2), ("best", 0)])
def test_a_training_that_is_stopped_early_is_judged_where_it_stopped(judged_by: Any, epoch: int) -> None:
    stop = pl.callbacks.EarlyStopping("val_loss", patience=2)
    module = Scripted(1.0, 2.0, 3.0, 0.5)
    options = {**CPU, "max_epochs": 4, "callbacks": [stop]}
    result = train(module, WavesData(), "val_loss", "minimize", options, judged_by=judged_by)
    assert (result.score, result.best_epoch) == (module.values[epoch], epoch)


def test_a_time_limit_is_an_end_like_another() -> None:
    module = Scripted(*[1.0, 2.0] * 500)
    options = {"accelerator": "cpu", "max_epochs": 1000, "max_time": {"seconds": 1}}
    result = train(module, WavesData(), "val_loss", "minimize", options)
    assert 0 <= result.best_epoch < 999
    assert result.best_epoch == int(module.epochs) - 1
    assert result.score == module.values[result.best_epoch]


@pytest.mark.parametrize("judged_by", ["last", "best"])
def test_averaged_weights_that_were_validated_are_those_that_are_kept(judged_by: Any) -> None:
    averaging = pl.callbacks.EMAWeightAveraging(decay=0.5)
    with seeded(0):
        module = PixelRegression(nn.Conv2d(3, 1, 1), WavesData().task)
        options = {**CPU, "callbacks": [averaging]}
        result = train(module, WavesData(), "val_loss", "minimize", options, keep_weights=True, judged_by=judged_by)
    (again,) = pl.Trainer(**training.LEAN, accelerator="cpu").validate(module, WavesData(), verbose=False)
    assert again["val_loss"] == pytest.approx(result.score, rel=1e-6)


def test_a_validation_that_is_not_finite_is_never_the_best() -> None:
    result = train(Scripted(math.nan, 2.0, -math.inf), WavesData(), "val_loss", "minimize", CPU, judged_by="best")
    assert (result.score, result.best_epoch) == (2.0, 1)


@pytest.mark.parametrize("last", [math.nan, math.inf])
def test_a_last_validation_that_is_not_finite_leaves_nothing_to_judge_by(last: float) -> None:
    result = train(Scripted(1.0, 2.0, last), WavesData(), "val_loss", "minimize", CPU, keep_weights=True)
    assert math.isnan(result.score)
    assert result.best_epoch == -1


def test_a_training_without_a_finite_validation_has_no_best_epoch() -> None:
    result = train(Scripted(math.nan, math.nan, math.nan), WavesData(), "val_loss", "minimize", CPU)
    assert math.isnan(result.score)
    assert result.best_epoch == -1


class Spoilt(Scripted):
    """Validates well, but no longer computes numbers from an epoch on."""

    def __init__(self, what: str, epoch: int) -> None:
        super().__init__(3.0, 1.0, 2.0)
        self.what, self.epoch = what, epoch

    def training_step(self, batch: Any, batch_index: int) -> torch.Tensor:
        loss = super().training_step(batch, batch_index)
        # A loss that is nan spoils the weights too, unless whoever wrote the step skips it.
        return loss * math.nan if self.what == "loss" and self.current_epoch >= self.epoch else loss

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        if self.what == "loss":
            optimizer.zero_grad()

    def validation_step(self, batch: Any, batch_index: int) -> None:
        if self.what == "outputs" and self.current_epoch >= self.epoch:
            batch = [part * math.nan for part in batch]
        if self.what == "one output" and self.current_epoch >= self.epoch:
            batch[0][0, :, 0, 0] = math.nan
        self.network(batch[0])
        super().validation_step(batch, batch_index)

    def on_train_epoch_end(self) -> None:
        if self.what == "weights" and self.current_epoch >= self.epoch:
            self.network.bias.data[0] = math.inf


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("epoch", [0, 2])
@pytest.mark.parametrize("what", ["weights", "outputs", "one output", "loss"])
def test_a_training_that_ends_without_numbers_has_diverged_however_well_it_began(
    what: str, epoch: int, keep: bool
) -> None:
    result = train(Spoilt(what, epoch), WavesData(), "val_loss", "minimize", CPU, keep_weights=keep)
    assert math.isnan(result.score)
    assert result.best_epoch == -1


@pytest.mark.parametrize("judged_by", ["last", "best"])
def test_a_training_that_cannot_recover_ends_with_the_validation_that_sees_it(judged_by: Any) -> None:
    class Lost(Spoilt):
        def training_step(self, batch: Any, batch_index: int) -> torch.Tensor:
            return self.network(batch[0] * math.nan).sum()

    whole, lost, spoilt = (
        train(module, WavesData(), "val_loss", "minimize", CPU, judged_by=judged_by)
        for module in (Spoilt("", 9), Lost("", 9), Spoilt("weights", 0))
    )
    assert whole.steps == 3 * lost.steps
    assert math.isnan(lost.score)
    assert spoilt.steps == 2 * lost.steps, "spoilt after its first validation"


def test_a_training_that_recovers_has_not_diverged() -> None:
    class Recovers(Spoilt):
        def validation_step(self, batch: Any, batch_index: int) -> None:
            self.what = "outputs" if self.current_epoch == 1 else ""
            super().validation_step(batch, batch_index)

    result = train(Recovers("outputs", 1), WavesData(), "val_loss", "minimize", CPU)
    assert (result.score, result.best_epoch) == (2.0, 2)  # not 1.0, which was of nan


@pytest.mark.parametrize(("how", "error"), [(KeyboardInterrupt, KeyboardInterrupt), (SystemExit, RuntimeError)])
def test_ctrl_c_is_heard_and_an_exit_is_an_error(how: type[BaseException], error: type[BaseException]) -> None:
    class Stops(Scripted):
        def on_train_start(self) -> None:
            raise how

    with pytest.raises(error):
        train(Stops(1.0), WavesData(), "val_loss", "minimize", CPU)


def test_sigterm_is_heard_in_the_midst_of_a_training() -> None:
    class Stops(Scripted):
        def on_train_start(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Terminated), terminated_in_order():
        train(Stops(1.0), WavesData(), "val_loss", "minimize", CPU)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_the_same_seed_gives_the_same_result_to_the_bit() -> None:
    (first, one), (second, other), (third, _) = trained(5), trained(5), trained(6)
    assert first.score == second.score != third.score
    for parameter, equal in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(parameter, equal)


@pytest.mark.parametrize("before", [None, "17"])
def test_global_random_states_and_variables_are_as_before(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.delenv(name, raising=False)
    if before is not None:
        monkeypatch.setenv("PL_GLOBAL_SEED", before)
    for generator in (random.seed, np.random.seed, torch.manual_seed):
        generator(3)
    expected = random.random(), np.random.random(), torch.rand(())  # noqa: NPY002
    for generator in (random.seed, np.random.seed, torch.manual_seed):
        generator(3)
    trained(5)
    assert (random.random(), np.random.random(), torch.rand(())) == expected  # noqa: NPY002
    assert os.environ.get("PL_GLOBAL_SEED") == before
    assert "PL_SEED_WORKERS" not in os.environ


def test_states_come_back_after_an_error_too() -> None:
    torch.manual_seed(3)
    expected = torch.rand(())
    torch.manual_seed(3)
    with pytest.raises(ZeroDivisionError), seeded(5):
        _ = torch.rand(()) / (1 // 0)
    assert torch.rand(()) == expected


def test_loggers_have_their_levels_back() -> None:
    logger = logging.getLogger("pytorch_lightning")
    before = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        trained(5)
        assert logger.level == logging.DEBUG
    finally:
        logger.setLevel(before)


def test_an_unknown_metric_is_named_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="'val_los' was not logged; did you mean 'val_loss'"):
        train(PixelRegression(nn.Conv2d(3, 1, 1), WavesData().task), WavesData(), "val_los", "minimize", CPU)


class Counting(pl.Callback):
    def __init__(self) -> None:
        self.fits = 0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.fits += 1
        assert self.fits == 1, "a callback saw an earlier training"


def test_the_users_callbacks_start_each_training_afresh() -> None:
    for callbacks in ([Counting()], Counting()):
        options = {"callbacks": callbacks}
        assert trained(5, **options)[0].score == trained(5, **options)[0].score


def test_test_metrics_come_by_name() -> None:
    _, module = trained(5)
    metrics = training.test(module, WavesData(), CPU)
    assert metrics.keys() == {"test_loss"}
    assert metrics == training.test(module, WavesData(), CPU)


def test_an_unknown_trainer_argument_is_named_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"trainer.max_epoch is no argument .* did you mean 'max_epochs'"):
        check_trainer_options({"max_epoch": 3})


@pytest.mark.parametrize(
    "options",
    [
        {"strategy": "ddp"},
        {"strategy": "ddp_find_unused_parameters_true"},
        {"strategy": "fsdp"},
        {"strategy": "deepspeed_stage_2"},
        {"strategy": DDPStrategy()},
        {"devices": 2},
        {"devices": [0, 1], "strategy": "auto"},
        {"num_nodes": 2},
    ],
)
def test_what_starts_the_script_again_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"starts the whole script again on every rank.*'ddp_spawn' or 'ddp_fork'"):
        check_trainer_options(options)


@pytest.mark.parametrize("devices", ["auto", -1, "-1"])
def test_all_devices_of_a_machine_are_one_or_several(devices: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    check_trainer_options({"devices": devices})
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_trainer_options({"devices": devices, "accelerator": "cpu"})
    check_trainer_options({"devices": devices, "strategy": "ddp_spawn"})
    for accelerator in ("auto", "gpu", "cuda"):
        with pytest.raises(ValueError, match=r"trainer.devices=.* starts the whole script again on every rank"):
            check_trainer_options({"devices": devices, "accelerator": accelerator})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strategy": "ddp_spawn", "devices": 2},
        {"strategy": "ddp_fork_find_unused_parameters_true", "devices": 2},
        {"strategy": DDPStrategy(start_method="fork"), "devices": 2},
        {"strategy": SingleDeviceStrategy()},
        {"devices": "1"},
        {"devices": [1]},
    ],
)
def test_what_starts_processes_for_the_training_alone_is_served(options: dict[str, Any]) -> None:
    check_trainer_options(options)


def other_distribution(kind: str) -> Any:
    base = type(kind, (), {"__module__": "lightning.pytorch.core"})
    return type("Theirs", (base,), {"__module__": "project"})()


def test_things_of_the_other_lightning_are_refused_with_what_to_do() -> None:
    module = PixelRegression(nn.Conv2d(3, 1, 1), Task("pixel", "regression", 3, 1))
    with pytest.raises(TypeError, match=r"Theirs is built on `lightning.pytorch`.*AUTOML_PLUGINS_LIGHTNING=lightning"):
        train(module, other_distribution("LightningDataModule"), "val_loss", "minimize", CPU)
    with pytest.raises(TypeError, match="Theirs is built on"):
        train(other_distribution("LightningModule"), WavesData(), "val_loss", "minimize", CPU)
