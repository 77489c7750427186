"""Everything that a study will do, tried on one batch before its first trial, so that hours do not end in a refusal."""

from __future__ import annotations

import copy
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn

from automl_plugins.errors import StudyError
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Task
from automl_plugins.studies.deaths import KilledError
from automl_plugins.studies.time_limit import TimeLimitError
from automl_plugins.system.generators import held_generators, undisturbed
from automl_plugins.system.interruption import interrupts_as_such
from automl_plugins.system.nearest import did_you_mean
from automl_plugins.training.fingerprint import splits_of
from automl_plugins.training.fit import LEAN, ModuleFactory, quiet_lightning, seeded
from automl_plugins.training.lightning import check_distribution, pl

_TRIES = 8
"""Random architectures that are tried before a study is refused: that some cannot be trained is for trials to find."""
_DRAWS = 200
"""How often to draw, for an architecture within the space's cap."""
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


class Preflight:
    """Tries networks on one batch of each split, with the user's own module, data and Trainer arguments.

    Nothing is left of it: no file, no logger's run, no number drawn from a generator.

    Args:
        space: of the architectures.
        task: what the networks must fit.
        data: the datamodule; it has been set up for `fit` and, where it has test data, for `test`.
        module: makes a LightningModule of a network.
        monitor: the validation metric that counts.
        options: arguments of Lightning's Trainer.
        seed: of the architectures that are tried, and of their initialisation.
    """

    def __init__(
        self,
        space: SearchSpace,
        task: Task,
        data: pl.LightningDataModule,
        module: ModuleFactory,
        monitor: str,
        options: Mapping[str, Any],
        seed: int,
    ) -> None:
        self.space = space
        self.task = task
        self.data = data
        self.module = module
        self.monitor = monitor
        self.options = dict(options)
        self.seed = seed

    def try_space(self, guard: Callable[[str], AbstractContextManager[None]]) -> tuple[Architecture, float]:
        """Train and test a random architecture for one batch each; several, where one fails.

        Args:
            guard: is around each training, by a name of it: raises where it killed its process before, or hangs.

        Returns:
            The architecture that went through, and its monitored metric.

        Raises:
            StudyError: none went through, or something fails that is the same for all architectures.
        """
        first: StudyError | None = None
        # The smallest first: one that is too large for this machine would take the whole process with it.
        drawn = sorted(islice(self._architectures(), _TRIES), key=self._size)
        for number, architecture in enumerate(drawn):
            build = partial(self.space.network, architecture, self.task)
            try:
                with guard(f"preflight-{number}"):
                    score = self.fit(build, "a network")
                    self.test(build, "a network")
            except _OfNetworkError as error:
                first = first or error
                continue
            except (KilledError, TimeLimitError) as error:
                first = first or StudyError(f"a network cannot be trained on one batch: {error}")
                continue
            return architecture, score
        if first is not None:
            raise StudyError(f"{first} (so with all of {_TRIES} random architectures)") from first.__cause__
        raise StudyError(
            f"none of {_DRAWS} random architectures has at most max_parameters={self.space.max_parameters:,} "
            "parameters on this task; raise the limit, or make the space's networks smaller"
        )

    def try_reference(self, name: str, build: Callable[[], nn.Module]) -> None:
        """Train and test a hand-made network for one batch each.

        One that diverges is let be: its line of the final table says so, and the others are worth comparing.

        Raises:
            StudyError: it cannot be.
        """
        what = f"the reference {name!r}"
        with suppress(_DivergedError):
            self.fit(build, what)
        self.test(build, what)

    def _size(self, architecture: Architecture) -> int:
        return self.space.num_parameters(architecture, self.task)

    def _architectures(self) -> Iterator[Architecture]:
        generator = np.random.default_rng(self.seed)
        for _ in range(_DRAWS):
            architecture = self.space.sample(generator)
            cap = self.space.max_parameters
            if cap is None or self.space.num_parameters(architecture, self.task) <= cap:
                yield architecture

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
                    raise _failure(
                        f"training on one batch fails with {what}"
                        if not seen.trained
                        else f"validation on one batch fails with {what}",
                        error,
                    ) from error
                # What is judged over an epoch may need more than one batch: two classes, say.
                trainer = self._evaluate(self._made(build, what), "validate", what)
            self._check_trained(trainer, module, seen, what)
            return float(trainer.callback_metrics[self.monitor])

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
            module = self.module(build(), self.task)
        except Exception as error:
            raise _failure(f"the module cannot be made with {what}", error) from error
        if not isinstance(module, pl.LightningModule):
            check_distribution(module)
            raise StudyError(f"module makes a {type(module).__name__}, which is no LightningModule")
        for step in ("training_step", "validation_step"):
            if not _has_step(module, step):
                raise StudyError(f"{type(module).__name__} has no {step}; a study needs one")
        return module

    def _check_trained(self, trainer: pl.Trainer, module: pl.LightningModule, seen: _Seen, what: str) -> None:
        metrics = trainer.callback_metrics
        if self.monitor not in metrics:
            raise StudyError(
                f"monitor={self.monitor!r}: {type(module).__name__} logs no such metric in validation; "
                f"{did_you_mean(self.monitor, metrics) if metrics else 'it logs none'}"
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
            raise _DivergedError(
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
        with undisturbed(held), seeded(self.seed), quiet_lightning(), warnings.catch_warnings(), _set_up(self.data):
            warnings.simplefilter("ignore")
            try:
                yield
            finally:
                self.data.trainer = trainer


def check_kinds(**given: Any) -> None:
    """Refuse arguments of a study that are something else than they should be.

    Raises:
        TypeError: one is; the message says what is accepted.
    """
    kinds: dict[str, tuple[type, str]] = {
        "space": (SearchSpace, "a search space, such as AGNNSpace(layers=2)"),
        "task": (Task, "an automl_plugins.Task"),
        "trainer": (Mapping, "a mapping of arguments of Lightning's Trainer, such as {'max_epochs': 50}"),
    }
    for name, (kind, words) in kinds.items():
        value = given[name]
        if value is not None and not isinstance(value, kind):
            raise TypeError(f"{name} is {words}; got {value!r}")
        if isinstance(value, type):
            raise TypeError(f"{name} is an object; got the class {value.__name__} (forgotten parentheses?)")
    if given["space"] is None:
        raise TypeError("space is a search space; got None")
    check_distribution(given["data"])
    if not isinstance(given["data"], pl.LightningDataModule):
        raise TypeError(f"data is a LightningDataModule; got {given['data']!r}")
    if isinstance(given["module"], pl.LightningModule | torch.nn.Module):
        raise TypeError(
            f"module makes a LightningModule of a network and its task (a class, or a function); got one that is made, "
            f"{type(given['module']).__name__}"
        )
    if given["module"] is not None and not callable(given["module"]):
        raise TypeError(f"module is a class or function of a network and its task; got {given['module']!r}")


def check_splits(data: pl.LightningDataModule) -> None:
    """Refuse data without a split that a study needs.

    Raises:
        StudyError: there is no training or validation data.
    """
    for split, word in (("train", "trains on training"), ("val", "selects by validation")):
        if split not in splits_of(data):
            raise StudyError(f"{type(data).__name__} has no {split}_dataloader; a study {word} data, so give it one")


class _OfNetworkError(StudyError):
    """Something fails that may be one network's alone."""


class _DivergedError(_OfNetworkError):
    """A network whose loss or weights are not finite after one step."""


class _Seen(pl.Callback):
    """How far a training or a test on one batch came."""

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
    return _OfNetworkError(f"{what}: {type(error).__name__}: {' '.join(lines)[:500]}{place}")


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
