"""One batch of training, validation and test of a network, of which nothing is left."""

from __future__ import annotations

import copy
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import nn

from automl_plugins.errors import StudyError
from automl_plugins.system.generators import held_generators, undisturbed
from automl_plugins.system.interruption import interrupts_as_such
from automl_plugins.system.nearest import did_you_mean
from automl_plugins.training.fingerprint import splits_of
from automl_plugins.training.fit import LEAN, quiet_lightning, seeded
from automl_plugins.training.lightning import pl
from automl_plugins.training.project import Project

_OTHER_TRAININGS = frozenset(
    (
        "callbacks",
        "check_val_every_n_epoch",
        "default_root_dir",
        "devices",
        "enable_checkpointing",
        "enable_model_summary",
        "enable_progress_bar",
        "fast_dev_run",
        "limit_test_batches",
        "limit_train_batches",
        "limit_val_batches",
        "logger",
        "max_epochs",
        "max_steps",
        "max_time",
        "min_epochs",
        "min_steps",
        "num_nodes",
        "overfit_batches",
        "profiler",
        "strategy",
        "val_check_interval",
    )
)
"""Arguments of the Trainer that one step on one device does not have, or that leave a trace."""


class NetworkError(StudyError):
    """Something fails that may be one network's alone."""


class DivergedError(NetworkError):
    """A network whose loss or weights are not finite after one step."""


class OneBatch:
    """Trains, validates and tests networks on one batch of each split, as a project would on all.

    Nothing is left of it: no file, no logger's run, no number drawn from a generator.

    Args:
        project: its data have been set up for `fit` and, where there are test data, for `test`.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self.data = project.data
        self.options = project.trainer

    def fit(self, build: Callable[[], nn.Module], what: str) -> float:
        """One training step and one validation step of a new network.

        Args:
            build: makes the network.
            what: what messages call it.

        Returns:
            The monitored metric, on one batch.

        Raises:
            StudyError: a step fails, or the metric is not logged.
        """
        with self._aside():
            module, seen = self._made(build, what), _Seen()
            trainer = self._trainer(seen)
            try:
                with interrupts_as_such():
                    trainer.fit(module, datamodule=self.data)
            except Exception as error:
                if not seen.validated:
                    stage = "validation" if seen.trained else "training"
                    raise _failure(f"{stage} on one batch fails with {what}", error) from error
                # What is judged over an epoch may need more than one batch: two classes, say.
                trainer = self._evaluate(self._made(build, what), "validate", what)
            self._check_trained(trainer, module, seen, what)
            return float(trainer.callback_metrics[self.project.monitor])

    def test(self, build: Callable[[], nn.Module], what: str) -> None:
        """One test step of a new network, where there are test data.

        Raises:
            StudyError: it fails, or logs nothing.
        """
        if "test" not in splits_of(self.data):
            return
        with self._aside():
            module = self._made(build, what)
            if not _has_step(module, "test_step"):
                raise StudyError(
                    f"{type(self.data).__name__} has test data, but {type(module).__name__} has no test_step: give it "
                    "one that logs the test metrics, or leave test_dataloader out to compare by validation alone"
                )
            seen = _Seen()
            trainer = self._trainer(seen)
            try:
                with interrupts_as_such():
                    trainer.test(module, datamodule=self.data, verbose=False)
            except Exception as error:
                if not seen.tested:
                    raise _failure(f"the test on one batch fails with {what}", error) from error
                trainer = self._evaluate(self._made(build, what), "test", what)
            if not trainer.callback_metrics:
                raise StudyError(
                    f"{type(module).__name__}.test_step logs no metric; the table shows what it logs, so have it call "
                    "self.log(...)"
                )

    def _made(self, build: Callable[[], nn.Module], what: str) -> pl.LightningModule:
        try:
            module = self.project.make_module(build())
        except Exception as error:
            raise _failure(f"the module cannot be made with {what}", error) from error
        for step in ("training_step", "validation_step"):
            if not _has_step(module, step):
                raise StudyError(f"{type(module).__name__} has no {step}; a study needs one")
        return module

    def _check_trained(self, trainer: pl.Trainer, module: pl.LightningModule, seen: _Seen, what: str) -> None:
        metrics = trainer.callback_metrics
        if self.project.monitor not in metrics:
            raise StudyError(
                f"monitor={self.project.monitor!r}: {type(module).__name__} logs no such metric in validation; "
                f"{did_you_mean(self.project.monitor, metrics) if metrics else 'it logs none'}"
            )
        for callback in _callbacks(self.options):
            monitor = getattr(callback, "monitor", None)
            if isinstance(monitor, str) and monitor not in metrics:
                raise StudyError(
                    f"trainer.callbacks: {type(callback).__name__} monitors {monitor!r}, which "
                    f"{type(module).__name__} does not log; {did_you_mean(monitor, metrics)}"
                )
        weights = (name for name, weight in module.named_parameters() if not weight.isfinite().all())
        spoilt = next(weights, None)
        if not seen.finite or spoilt is not None:
            found = "the loss is not finite" if not seen.finite else f"the weights {spoilt} are not finite"
            raise DivergedError(
                f"{found} after one training batch with {what}: look for nan or infinite values in the data, and at "
                "the loss and the learning rate"
            )

    def _evaluate(self, module: pl.LightningModule, stage: str, what: str) -> pl.Trainer:
        """Validate or test on all batches."""
        trainer = self._trainer(None)
        try:
            with interrupts_as_such():
                getattr(trainer, stage)(module, datamodule=self.data, verbose=False)
        except Exception as error:
            raise _failure(f"{'the test' if stage == 'test' else 'validation'} fails with {what}", error) from error
        return trainer

    def _trainer(self, seen: _Seen | None) -> pl.Trainer:
        """A Trainer for one batch of everything; without `seen`, for all batches."""
        kept = {name: value for name, value in self.options.items() if name not in _OTHER_TRAININGS}
        devices = self.options.get("devices")
        if isinstance(devices, list):
            kept["devices"] = devices[:1]
        callbacks = [copy.deepcopy(callback) for callback in _callbacks(self.options) if not _writes(callback)]
        if seen is not None:
            kept["fast_dev_run"] = 1
            callbacks.append(seen)
        kept |= {"logger": bool(self.options.get("logger", False)), "default_root_dir": tempfile.gettempdir()}
        return pl.Trainer(**{**LEAN, **copy.deepcopy(kept)}, callbacks=callbacks)

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Nothing that happens inside is seen outside, but by the module's own classes."""
        trainer = getattr(self.data, "trainer", None)
        held = held_generators([self.data])
        with (
            undisturbed(held),
            seeded(self.project.seed),
            quiet_lightning(),
            warnings.catch_warnings(),
            _set_up(self.data),
        ):
            warnings.simplefilter("ignore")
            try:
                yield
            finally:
                self.data.trainer = trainer


class _Seen(pl.Callback):
    """The progress of a training or a test on one batch."""

    trained = validated = tested = False
    finite = True

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any) -> None:
        self.trained = True
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, torch.Tensor):
            self.finite = bool(loss.isfinite().all())

    def on_validation_batch_end(self, *_: Any) -> None:
        self.validated = True

    def on_test_batch_end(self, *_: Any) -> None:
        self.tested = True


def _failure(what: str, error: Exception) -> StudyError:
    """One line on an error in a user's code, with its place."""
    if isinstance(error, StudyError):
        return error
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    lines = str(error).strip().splitlines()
    return NetworkError(f"{what}: {type(error).__name__}: {' '.join(lines)[:500]}{place}")


def _has_step(module: pl.LightningModule, step: str) -> bool:
    return getattr(type(module), step, None) is not getattr(pl.LightningModule, step) or step in vars(module)


def _callbacks(options: Mapping[str, Any]) -> Sequence[pl.Callback]:
    callbacks = options.get("callbacks")
    if callbacks is None:
        return ()
    return callbacks if isinstance(callbacks, list | tuple) else [callbacks]


def _writes(callback: pl.Callback) -> bool:
    return isinstance(callback, pl.callbacks.Checkpoint | pl.callbacks.ProgressBar | pl.callbacks.LearningRateMonitor)


@contextmanager
def _set_up(data: pl.LightningDataModule) -> Iterator[None]:
    """Let a datamodule that has been set up, and tears nothing down, not be set up again for every try."""
    if type(data).teardown is not pl.LightningDataModule.teardown:
        yield
        return
    own = {name: vars(data).get(name) for name in ("setup", "prepare_data")}
    vars(data).update(setup=lambda stage=None: None, prepare_data=lambda: None)
    try:
        yield
    finally:
        for name, method in own.items():
            with suppress(KeyError):
                del vars(data)[name]
            if method is not None:
                vars(data)[name] = method
