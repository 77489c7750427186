"""Arguments of Lightning's Trainer with which a training would never end, or would end without a validation."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Mapping
from typing import Any

from automl_plugins.system.arguments import positive
from automl_plugins.training.fit import LEAN, listed, quiet_lightning
from automl_plugins.training.lightning import pl


def check_ranges(options: Mapping[str, Any]) -> None:
    """Refuse numbers that Lightning's Trainer takes, and then counts or divides by in the midst of a training.

    Raises:
        ValueError: one is out of range.
    """
    for name in ("accumulate_grad_batches", "check_val_every_n_epoch"):
        value = options.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"trainer.{name} is a whole number of at least 1; got {value!r}")
    clip = options.get("gradient_clip_val")
    if clip:
        positive("trainer.gradient_clip_val", clip)


def check_length(options: Mapping[str, Any]) -> None:
    """Refuse arguments with which a training has no end, or Lightning's 1,000 epochs, which nobody meant.

    Raises:
        ValueError: they have; or they train nothing.
    """
    if options.get("fast_dev_run"):
        return
    epochs, steps, time = (options.get(name) for name in ("max_epochs", "max_steps", "max_time"))
    for name in ("max_epochs", "max_steps"):
        value = options.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or (value < 1 and value != -1)):
            raise ValueError(f"trainer.{name} is a whole number of at least 1; got {value!r}")
    if time is not None or (steps is not None and steps != -1):
        return
    if epochs == -1:
        raise ValueError("trainer.max_epochs=-1 never ends; give a number of epochs, or trainer.max_steps or max_time")
    if epochs is None and not any(_stops(callback) for callback in listed(options.get("callbacks"))):
        raise ValueError(
            "trainer.max_epochs is missing, and Lightning would train 1,000 epochs each time; give a number of epochs "
            "(trainer={'max_epochs': 50}, --trainer.max_epochs 50), or trainer.max_steps or max_time"
        )


def _stops(callback: Any) -> bool:
    return isinstance(callback, pl.callbacks.EarlyStopping | pl.callbacks.Timer)


def check_makes_a_trainer(options: Mapping[str, Any]) -> None:
    """Refuse arguments that Lightning's Trainer does not take, or not together.

    Raises:
        ValueError: it does not take them.
    """
    try:
        with quiet_lightning(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they come again with the first training
            pl.Trainer(**{**LEAN, **copy.deepcopy(dict(options))})
    except Exception as error:
        raise ValueError(f"trainer: Lightning refuses these arguments: {' '.join(str(error).split())}") from error


def check_validates(options: Mapping[str, Any], batches: int | None) -> None:
    """Refuse arguments with which a training ends before its first validation, so that it has no score.

    Args:
        options: of the Trainer.
        batches: training batches of an epoch; None: not known.

    Raises:
        ValueError: it does.
    """
    if options.get("fast_dev_run"):
        return
    for name in ("limit_train_batches", "limit_val_batches"):
        if options.get(name) == 0:
            raise ValueError(f"trainer.{name}=0: a study needs training and validation batches; leave it out")
    every = options.get("check_val_every_n_epoch", 1)
    epochs = options.get("max_epochs")
    if every is not None and epochs is not None and 0 < epochs < every:
        raise ValueError(
            f"trainer.check_val_every_n_epoch={every}: a training has {epochs} epoch(s), so it would end without a "
            "validation; train for longer (trial_epochs, trainer.max_epochs), or validate more often"
        )
    if batches is None:
        return
    batches = _limited(batches, options.get("limit_train_batches"))
    interval = options.get("val_check_interval") or 1.0
    if not isinstance(interval, int | float):
        return  # a time
    if isinstance(interval, int) and every is not None and interval > batches:
        raise ValueError(
            f"trainer.val_check_interval={interval}: an epoch has {batches} training batches; take at most as many, or "
            "trainer.check_val_every_n_epoch=null, which counts batches over epochs"
        )
    first = interval if isinstance(interval, int) else max(1, int(batches * interval))
    before = 0 if every is None else every - 1
    together = options.get("accumulate_grad_batches", 1)
    needed = before * math.ceil(batches / together) + math.ceil(first / together)
    steps = options.get("max_steps", -1)
    if 0 < steps < needed:
        raise ValueError(
            f"trainer.max_steps={steps}: the first validation comes after {needed:,} steps, so a training would end "
            "without one; train for longer, or validate more often (trainer.val_check_interval)"
        )
    if every is None and epochs is not None and 0 < epochs * batches < first:
        raise ValueError(
            f"trainer.val_check_interval={interval}: a training has {epochs * batches:,} batches, so it would end "
            "without a validation; train for longer, or validate more often"
        )


def _limited(batches: int, limit: Any) -> int:
    if limit is None:
        return batches
    return max(1, min(batches, limit) if isinstance(limit, int) else int(batches * limit))
