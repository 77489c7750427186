"""The learning rate over a training: warm-up, then to zero at the end that this training was given."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from perceptron_space.data import WavesData
from torch import nn

from automl_plugins.search.callback import ArchitectureSearch
from automl_plugins.training.fit import LEAN, seeded
from automl_plugins.training.lightning import pl
from automl_plugins.training.schedule import Schedule, factor
from seg_space import AutoDeepLabSpace, DenseRegression

TASK = WavesData().task
EPOCH = 4  # optimizer steps of one epoch of batches of four


class Rates(pl.Callback):
    """Writes down the learning rate of every batch, and stops after some steps."""

    def __init__(self, stop_after: int = 10**6) -> None:
        self.seen: list[float] = []
        self.stop_after = stop_after

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        trainer.should_stop = trainer.global_step >= self.stop_after


def new(schedule: Any = "cosine") -> DenseRegression:
    with seeded(0):
        return DenseRegression(nn.Conv2d(3, 1, 1), TASK, learning_rate=0.1, schedule=schedule)


def fit(module: pl.LightningModule, stop_after: int = 10**6, ckpt_path: Path | None = None, **options: Any) -> Any:
    rates = Rates(stop_after)
    callbacks = [*options.pop("callbacks", ()), rates]
    trainer = pl.Trainer(**{**LEAN, "accelerator": "cpu", **options}, callbacks=callbacks)
    with seeded(1):
        trainer.fit(module, WavesData(batch_size=4), ckpt_path=ckpt_path)
    return trainer, rates.seen


def planned(steps: int) -> list[float]:
    return [0.1 * factor("cosine", step, steps) for step in range(steps)]


@given(st.integers(1, 5000))
def test_it_rises_to_the_whole_rate_once_and_falls_to_zero(steps: int) -> None:
    parts = [factor("cosine", step, steps) for step in range(steps + 3)]
    top = parts.index(max(parts))
    assert max(parts) == 1.0
    assert parts[0] > 0
    assert parts[: top + 1] == sorted(parts[: top + 1])
    assert parts[top:] == sorted(parts[top:], reverse=True)
    assert top <= steps / 20
    assert parts[steps:] == [0.0] * 3
    assert all(part > 0 for part in parts[:steps])


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"max_epochs": 3}, 3 * EPOCH),
        ({"max_epochs": 50, "max_steps": 6}, 6),
        ({"max_epochs": 10, "limit_train_batches": 2}, 20),
        ({"max_steps": 6, "max_epochs": -1}, 6),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_its_end_is_that_of_the_training(options: dict[str, Any], steps: int) -> None:
    _, seen = fit(new(), **options)
    assert seen == pytest.approx(planned(steps))


def test_of_accumulated_batches_a_step_is_one() -> None:
    _, seen = fit(new(), max_epochs=3, accumulate_grad_batches=2)
    assert seen[::2] == seen[1::2] == pytest.approx(planned(3 * EPOCH // 2))


@pytest.mark.parametrize(
    "options",
    [
        {"max_epochs": -1, "max_time": "00:00:00:30"},
        {"max_epochs": 2, "callbacks": [pl.callbacks.GradientAccumulationScheduler({0: 2, 1: 1})]},
    ],
    ids=["a time limit alone", "an accumulation that changes"],
)
def test_without_a_known_end_it_is_constant(options: dict[str, Any]) -> None:
    _, seen = fit(new(), stop_after=3, **options)
    assert set(seen) == {0.1}


def test_a_loop_without_a_trainer_has_the_optimizer_alone() -> None:
    optimizer = new().configure_optimizers()
    assert isinstance(optimizer, torch.optim.Adam)
    assert optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize("stop_after", [EPOCH, 3 * EPOCH])
def test_a_killed_training_goes_on_to_the_very_bits_of_one_that_was_not(tmp_path: Path, stop_after: int) -> None:
    whole, killed, resumed = new(), new(), new()
    _, rates = fit(whole, max_epochs=6)
    stopped, before = fit(killed, stop_after=stop_after, max_epochs=6)
    stopped.save_checkpoint(tmp_path / "killed.ckpt")
    _, after = fit(resumed, ckpt_path=tmp_path / "killed.ckpt", max_epochs=6)
    assert before + after == rates == planned(6 * EPOCH)
    assert len(after) == 6 * EPOCH - stop_after
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_training_that_goes_on_for_longer_has_the_rates_of_the_longer_one(tmp_path: Path) -> None:
    trainer, _ = fit(new(), max_epochs=1)
    trainer.save_checkpoint(tmp_path / "short.ckpt")
    _, seen = fit(new(), ckpt_path=tmp_path / "short.ckpt", max_epochs=3)
    assert seen == pytest.approx(planned(3 * EPOCH)[EPOCH:])


def test_weights_of_a_supernet_follow_it_and_logits_do_not() -> None:
    with seeded(0):
        space = AutoDeepLabSpace(layers=2, filters=2, blocks=1)
        module = DenseRegression(space.searchable(TASK), TASK, learning_rate=0.1, schedule="cosine")
    search = ArchitectureSearch("single-level", learning_rate=0.02)
    _, seen = fit(module, max_epochs=1, limit_train_batches=2, limit_val_batches=1, callbacks=[search])
    assert seen == pytest.approx(planned(2))


def test_another_shape_is_refused_and_none_is_a_constant_rate() -> None:
    with pytest.raises(ValueError, match="schedule is cosine, poly, constant; got 'linear'"):
        new("linear")
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = Schedule(optimizer, "cosine")
    assert schedule.steps == math.inf
    assert optimizer.param_groups[0]["lr"] == 0.1
