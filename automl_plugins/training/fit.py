"""One training through Lightning, without what a short one does not use."""

from __future__ import annotations

import copy
import inspect
import logging
import math
import os
import random
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from automl_plugins.spaces.task import Task
from automl_plugins.system.interruption import interrupts_as_such
from automl_plugins.system.nearest import did_you_mean
from automl_plugins.training.best_validation import BestValidation, Direction, JudgedBy
from automl_plugins.training.fingerprint import splits_of
from automl_plugins.training.lightning import check_distribution, pl

ModuleFactory = Callable[[nn.Module, Task], pl.LightningModule]
"""The maker of a LightningModule, of a network and its task; most often a LightningModule class itself."""

LEAN: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "devices": 1,
}
"""Trainer arguments of a training that keeps nothing but its validation score."""

_SEED_VARIABLES = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training.

    Args:
        score: the value of the monitored validation metric that the training is judged by, of its last validation
            unless the best was asked for; nan: the training diverged, however well it began.
        best_epoch: the epoch of that value, from 0; -1: none, since it diverged.
        steps: optimizer steps taken.
        seconds: wall time of the whole fit.
        cpu_seconds: processor time in it, of this process and of those that it started for the training.
    """

    score: float
    best_epoch: int
    steps: int
    seconds: float
    cpu_seconds: float


def check_trainer_options(options: Mapping[str, Any]) -> None:
    """Refuse Trainer arguments that do not exist, or that a training here cannot serve.

    Raises:
        ValueError: an unknown argument, or a strategy that starts the whole script again on every rank.
    """
    valid = set(inspect.signature(pl.Trainer.__init__).parameters) - {"self"}
    for name in options:
        if name not in valid:
            raise ValueError(f"trainer.{name} is no argument of Lightning's Trainer; {did_you_mean(name, valid)}")
    reason = _relaunches(options)
    if reason is not None:
        raise ValueError(
            f"{reason} starts the whole script again on every rank, each with a search of its own; use the strategy "
            "'ddp_spawn' or 'ddp_fork', which start processes for the training alone"
        )


def _relaunches(options: Mapping[str, Any]) -> str | None:
    """The argument with which Lightning would start this script again, once for each device."""
    strategy, devices = options.get("strategy", "auto"), options.get("devices", 1)
    if isinstance(strategy, str):
        method = "popen" if strategy.startswith(("ddp", "fsdp", "deepspeed")) else ""
        if any(name in strategy for name in ("spawn", "fork", "notebook")):
            method = strategy
    else:
        parallel = isinstance(strategy, pl.strategies.ParallelStrategy)
        method = getattr(strategy, "_start_method", "popen") if parallel else ""
    if method == "popen":
        return f"trainer.strategy={strategy!r}"
    if strategy != "auto":
        return None
    if options.get("num_nodes", 1) != 1:
        return f"trainer.num_nodes={options['num_nodes']!r}"
    if str(devices) in ("auto", "-1"):
        # As many as the machine has.
        several = options.get("accelerator", "auto") != "cpu" and torch.cuda.device_count() > 1
    else:
        several = str(devices) not in ("0", "1") and not (isinstance(devices, list) and len(devices) == 1)
    return f"trainer.devices={devices!r} without a strategy" if several else None


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's generators inside, and give them their states back afterwards."""
    variables = {name: os.environ.get(name) for name in _SEED_VARIABLES}
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - to give it back
    with torch.random.fork_rng():
        try:
            pl.seed_everything(seed, workers=True, verbose=False)
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002 - to give it back
            for name, value in variables.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning from announcing devices, stops and advice at every one of thousands of trainings."""
    # Both distributions log through these names.
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    with without_advice():
        try:
            for logger in loggers:
                logger.setLevel(logging.WARNING)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def without_advice() -> Iterator[None]:
    """Keep Lightning's warnings about settings that are meant as they are to ourselves."""
    with warnings.catch_warnings():
        for message in _ADVICE:
            warnings.filterwarnings("ignore", message=message)
        yield


_ADVICE = (
    ".*does not have many workers.*",
    ".*The number of training batches.*is smaller than the logging interval.*",
    ".*Trying to infer the `batch_size` from an ambiguous collection.*",
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
    ".*GPU available but not used.*",
    ".*`max_epochs` was not set.*",
)


def train(
    module: pl.LightningModule,
    data: pl.LightningDataModule,
    monitor: str,
    direction: Direction,
    options: Mapping[str, Any],
    callbacks: Sequence[pl.Callback] = (),
    keep_weights: bool = False,
    network: nn.Module | None = None,
    judged_by: JudgedBy = "last",
) -> TrainingResult:
    """Train a module and say how well it validated in the end.

    Seed before the network is built (see `seeded`); nothing here draws a random number of its own.

    Args:
        module: the LightningModule; it ends with the judged weights where `keep_weights` is set, else with its last.
        data: the datamodule.
        monitor: the validation metric that counts.
        direction: whether it is better when lower or higher.
        options: arguments of Lightning's Trainer, over those of `LEAN`.
        callbacks: added to those in `options`.
        keep_weights: end with the weights of the validation that the training is judged by.
        network: the part of the module that gives nan where it has diverged; the module's own submodules where left
            out.
        judged_by: the `last` validation, or the `best` one, see `BestValidation`.

    Raises:
        TypeError: the module or the datamodule belongs to the other Lightning distribution.
        ValueError: the monitored metric is never logged.
        RuntimeError: the training called `sys.exit`.
        KeyboardInterrupt: Ctrl-C, or SIGTERM.
    """
    check_distribution(module)
    check_distribution(data)
    best = BestValidation(monitor, direction, keep_weights, network, judged_by)
    # Callbacks and loggers remember what they saw; each training has its own.
    own = copy.deepcopy(dict(options))
    # Judged weights are put back last, after callbacks that change weights at the end, such as averaging ones.
    every = [*listed(own.pop("callbacks", None)), *callbacks, best]
    wall, cpu = time.perf_counter(), cpu_seconds()
    with quiet_lightning(), interrupts_as_such():
        trainer = pl.Trainer(**{**LEAN, **own}, callbacks=every)
        trainer.fit(module, datamodule=data)
    if best.validations == 0:
        raise ValueError(
            f"the training ended after {best.steps} steps without a validation, so it has no score; train for "
            "longer, or validate more often (trainer.check_val_every_n_epoch, val_check_interval, limit_val_batches)"
        )
    score, epoch = (math.nan, -1) if best.diverged else (best.score, best.best_epoch)
    return TrainingResult(score, epoch, best.steps, time.perf_counter() - wall, cpu_seconds() - cpu)


def cpu_seconds() -> float:
    """The processor time of this process so far, and of those that it has started and waited for."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def evaluate(
    module: pl.LightningModule, data: pl.LightningDataModule, options: Mapping[str, Any], stage: str
) -> dict[str, float]:
    """The metrics that a module's `validation_step` or `test_step` logs, by their names; on one device.

    Args:
        module: trained.
        data: the datamodule.
        options: arguments of Lightning's Trainer; device, precision and a limit of validation batches count.
        stage: `validate` or `test`.
    """
    counting = ("accelerator", "precision", *(("limit_val_batches",) if stage == "validate" else ()))
    kept = {name: value for name, value in options.items() if name in counting}
    if isinstance(options.get("devices"), list):
        # Which device, not how many: several would count samples twice, and start this script again.
        kept["devices"] = options["devices"][:1]
    with quiet_lightning(), interrupts_as_such():
        trainer = pl.Trainer(**{**LEAN, **kept})
        # One mapping for each loader; Lightning numbers the names of several.
        several = getattr(trainer, stage)(module, datamodule=data, verbose=False)
    return {name: value for metrics in several for name, value in metrics.items()}


def test(module: pl.LightningModule, data: pl.LightningDataModule, options: Mapping[str, Any]) -> dict[str, float]:
    """The test metrics of a trained module, see `evaluate`; without test data there are none."""
    return evaluate(module, data, options, "test") if "test" in splits_of(data) else {}


def device_of(options: Mapping[str, Any]) -> torch.device:
    """The device that a training runs on; the first of several.

    Args:
        options: arguments of Lightning's Trainer.
    """
    place = {name: options[name] for name in ("accelerator",) if name in options}
    devices = options.get("devices")
    if isinstance(devices, list):
        place["devices"] = devices[:1]
    with quiet_lightning():
        device: torch.device = pl.Trainer(**{**LEAN, **place}).strategy.root_device
    return device


def listed(callbacks: Any) -> list[Any]:
    """The callbacks of a Trainer's argument, which may be one, several or none."""
    return [] if callbacks is None else list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]
