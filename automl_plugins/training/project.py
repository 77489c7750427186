"""`Project`: space, data, module, metric and trainer, which studies, procedures, estimators and commands share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn

from automl_plugins import registry
from automl_plugins.errors import StudyError
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.limits import Limits, check_limits
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Task
from automl_plugins.system.arguments import at_least, one_of
from automl_plugins.system.generators import held_generators, undisturbed
from automl_plugins.system.nearest import did_you_mean
from automl_plugins.training.best_validation import Direction, JudgedBy
from automl_plugins.training.example_calls import example_calls
from automl_plugins.training.fingerprint import flat_loaders, splits_of
from automl_plugins.training.fit import (
    ModuleFactory,
    TrainingResult,
    check_trainer_options,
    device_of,
    evaluate,
    seeded,
    train,
)
from automl_plugins.training.lightning import check_distribution, pl
from automl_plugins.training.project_checks import check_kinds
from automl_plugins.training.recording import Call, Repeated, record_calls
from automl_plugins.training.surroundings import refuse_untrained
from automl_plugins.training.trainer_options import check_length, check_ranges

MOST_SEED = 2**32 - 1
"""Every generator takes seeds of 32 bits."""


class Project:
    """Everything that a training needs but the network. It cannot be changed; `replace` makes another one.

    ```python
    project = Project(AGNNSpace(layers=2), CoraData(), trainer={"max_epochs": 50})
    network = project.build(project.space.sample(generator))
    project.train(network, epochs=5)
    project.score(network)
    ```

    Nothing is read when it is made. The task, the module and the metric are settled when they are first asked for,
    which reads the data. It can be pickled: another process reads the data for itself.

    Args:
        space: of the architectures.
        data: the datamodule; it says what the task is, unless `task` does.
        module: makes a LightningModule of a network and its task; the registered one for the task where left out.
        task: what the networks must fit; the datamodule's own `task` where left out.
        monitor: the validation metric to select by; the module's own `monitor` where left out.
        direction: `minimize` or `maximize` it; the module's own `direction` where left out.
        judged_by: a training's score and weights are those of its `last` validation, or of its `best`, partly luck.
        trainer: arguments of Lightning's Trainer, for every training.
        limits: the most `params`, `macs` and `activations` of a network, see `spaces.limits.Limits` and `narrowed`.
        seed: of the data's splits, of new networks and of trainings.
        folder: where results are kept; `runs/` and the datamodule's class where left out. Nothing here writes to it.

    Raises:
        ValueError: a direction, a seed, a limit or an argument of the Trainer that there is not.
        TypeError: an argument of another kind, or a datamodule of the other Lightning distribution.
    """

    space: SearchSpace
    data: pl.LightningDataModule
    judged_by: JudgedBy
    trainer: Mapping[str, Any]
    limits: Limits | None
    seed: int
    folder: Path
    _asked: Mapping[str, Any]

    def __init__(
        self,
        space: SearchSpace,
        data: pl.LightningDataModule,
        *,
        module: ModuleFactory | None = None,
        task: Task | None = None,
        monitor: str | None = None,
        direction: Direction | None = None,
        judged_by: JudgedBy = "last",
        trainer: Mapping[str, Any] | None = None,
        limits: Limits | None = None,
        seed: int = 0,
        folder: Path | str | None = None,
    ) -> None:
        check_kinds(space=space, data=data, module=module, task=task, trainer=trainer, monitor=monitor, folder=folder)
        if direction not in (None, "minimize", "maximize"):
            raise ValueError(f"direction is minimize or maximize; got {direction!r}")
        trainer = dict(trainer or {})
        check_trainer_options(trainer)
        check_ranges(trainer)
        check_limits(limits or {})
        self.__dict__.update(
            space=space,
            data=data,
            judged_by=one_of("judged_by", judged_by, get_args(JudgedBy)),
            trainer=trainer,
            limits=limits or None,
            seed=at_least("seed", seed, 0, most=MOST_SEED),
            folder=Path("runs", type(data).__name__) if folder is None else Path(folder).expanduser(),
            _asked={"module": module, "task": task, "monitor": monitor, "direction": direction},
        )

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a Project does not change; make another one with project.replace({name}=...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a Project does not change; make another one with project.replace(...)")

    def __getstate__(self) -> dict[str, Any]:
        # A datamodule that was sent with its data has nothing left to do; devices are this process's.
        own = ("_data_are_read", "device", "narrowed", "example_calls")
        return {name: value for name, value in self.__dict__.items() if name not in own}

    def __repr__(self) -> str:
        return f"Project({self.space.name}, {type(self.data).__name__}, seed={self.seed}, folder={str(self.folder)!r})"

    @property
    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments with which an equal project is made."""
        given = ("space", "data", "judged_by", "trainer", "limits", "seed", "folder")
        return {**{name: getattr(self, name) for name in given}, **self._asked}

    def replace(self, **arguments: Any) -> Project:
        """Another project, with some of the constructor's arguments in place of this one's."""
        other = Project(**{**self.arguments, **arguments})
        if other.data is self.data and other.seed == self.seed and "_data_are_read" in self.__dict__:
            other.__dict__["_data_are_read"] = True
        return other

    def take_over(self, other: Project) -> None:
        """Take what was read and counted for another project, whose trainings alone are longer or shorter."""
        for name in ("_data_are_read", "example_calls", "narrowed"):
            if name in vars(other):
                vars(self)[name] = vars(other)[name]

    # What follows from the data, once they have been read.

    def read_data(self) -> None:
        """Download, load and split the data, under the project's seed; once in each process."""
        _ = self._data_are_read

    @cached_property
    def _data_are_read(self) -> bool:
        with undisturbed(held_generators([self.data])), seeded(self.seed):
            self.data.prepare_data()
            self.data.setup("fit")
            if "test" in splits_of(self.data):
                self.data.setup("test")
        return True

    @cached_property
    def task(self) -> Task:
        """The task that the networks must fit.

        Raises:
            StudyError: neither the project nor the datamodule names a task.
            ValueError: the space has no networks for it.
        """
        task = self._asked["task"]
        if task is None:
            self.read_data()
            task = getattr(self.data, "task", None)
        if not isinstance(task, Task):
            raise StudyError(f"{type(self.data).__name__} has no `task`; give the study one (automl_plugins.Task)")
        self.space.check_task(task)
        return task

    @cached_property
    def narrowed(self) -> SearchSpace:
        """The space within the task and the limits, which trials are drawn from: see `SearchSpace.within`.

        Multiply-accumulates and activations are those of the module's calls for the first validation batch.

        Raises:
            LimitError: no network within the limits was found.
            ValueError: networks cannot be counted.
        """
        return self.space.within(self.task, self.limits, self.call)

    def call(self, network: nn.Module) -> object:
        """Call a network as the module does for the first validation batch, on the project's device."""
        calls = self.example_calls
        dtype = next((call.weights for call in calls if call.weights is not None), None)
        return Repeated(network).to(self.device, dtype)(*calls)

    @cached_property
    def module(self) -> ModuleFactory:
        """The maker of a LightningModule from a network and its task."""
        asked: ModuleFactory | None = self._asked["module"]
        return asked or registry.load("modules", f"{self.task.level}-{self.task.target}")

    @property
    def monitor(self) -> str:
        """The validation metric that everything is selected by."""
        return self._target[0]

    @property
    def direction(self) -> Direction:
        """`minimize` or `maximize`: the better side of `monitor`."""
        return self._target[1]

    @property
    def sign(self) -> float:
        """1.0 where `monitor` is maximised, -1.0 where it is minimised: `sign * score` is better when higher."""
        return 1.0 if self.direction == "maximize" else -1.0

    @cached_property
    def _target(self) -> tuple[str, Direction]:
        monitor, direction = self._asked["monitor"], self._asked["direction"]
        if monitor is None or direction is None:
            with seeded(self.seed):
                module = self.module(nn.Identity(), self.task)
            monitor = monitor or getattr(module, "monitor", None)
            direction = direction or getattr(module, "direction", None)
        if monitor is None or direction is None:
            raise StudyError(
                f"{type(module).__name__} does not say what to select by: give it the attributes `monitor` and "
                "`direction`, or give the study `monitor` and `direction`"
            )
        return monitor, direction

    @cached_property
    def device(self) -> torch.device:
        """The device that trainings of this process run on; the first of several."""
        return device_of(self.trainer)

    # Networks, and what becomes of them.

    def options(self, epochs: int | None = None) -> dict[str, Any]:
        """The Trainer's arguments for a training of so many epochs; of the project's own where left out."""
        return {**self.trainer, **({} if epochs is None else {"max_epochs": at_least("epochs", epochs, 1)})}

    def build(self, architecture: Architecture, seed: int | None = None) -> nn.Module:
        """An architecture's network, initialised under a seed: the project's own where left out."""
        with seeded(self.seed if seed is None else seed):
            return self.space.network(architecture, self.task)

    def make_module(self, network: nn.Module) -> pl.LightningModule:
        """The LightningModule around a network.

        Raises:
            StudyError: the factory makes something else.
        """
        module = self.module(network, self.task)
        if not isinstance(module, pl.LightningModule):
            check_distribution(module)
            raise StudyError(f"module makes a {type(module).__name__}, which is no LightningModule")
        return module

    def fit(
        self,
        module: pl.LightningModule,
        options: Mapping[str, Any] | None = None,
        callbacks: Sequence[pl.Callback] = (),
        keep_weights: bool = False,
        network: nn.Module | None = None,
    ) -> TrainingResult:
        """Train a LightningModule without a word and without a seed of its own; see `training.fit.train`.

        Args:
            module: the LightningModule.
            options: arguments of Lightning's Trainer; the project's own where left out.
            callbacks: added to those in `options`.
            keep_weights: end with the judged weights.
            network: the part of the module whose outputs are looked at.
        """
        options = self.trainer if options is None else options
        given = (module, self.data, self.monitor, self.direction, options, callbacks, keep_weights, network)
        return train(*given, judged_by=self.judged_by)

    def train(
        self,
        network: nn.Module,
        epochs: int | None = None,
        seed: int | None = None,
        callbacks: Sequence[pl.Callback] = (),
        keep_weights: bool = True,
    ) -> TrainingResult:
        """Train a network in the project's module, without a word. It ends with the weights that it is judged by.

        Args:
            network: any module that fits the task.
            epochs: how many; as many as `trainer` gives where left out.
            seed: of the training; the project's own where left out.
            callbacks: added to those of `trainer`.
            keep_weights: end with the weights that `judged_by` names, not with those after the last step.

        Returns:
            See `TrainingResult`.

        Raises:
            ValueError: neither `epochs` nor `trainer` says where the training ends.
        """
        options = self.options(epochs)
        check_length(options)
        self.read_data()
        with seeded(self.seed if seed is None else seed):
            return self.fit(self.make_module(network), options, callbacks, keep_weights, network)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """The validation metrics of a network as it is, on one device, by the names that its module logs.

        Args:
            network: the network, around which a new module is made; or a LightningModule, which is taken as it is.

        Raises:
            ValueError: the module learns more than the network, so that a new one would judge by untrained weights.
        """
        return self._evaluate(network, "validate")

    def test(self, network: nn.Module) -> dict[str, float]:
        """The test metrics of a network or a LightningModule, see `validate`; empty where there are no test data."""
        self.read_data()
        return self._evaluate(network, "test") if "test" in splits_of(self.data) else {}

    def score(self, network: nn.Module) -> float:
        """The monitored metric of a network, or of a LightningModule, on the validation data; nan: it is no number.

        Raises:
            ValueError: the module does not log it; or see `validate`.
        """
        metrics = self.validate(network)
        if self.monitor not in metrics:
            told = did_you_mean(self.monitor, metrics) if metrics else "it logs none"
            raise ValueError(f"monitor={self.monitor!r}: the module logs no such metric in validation; {told}")
        return metrics[self.monitor] if math.isfinite(metrics[self.monitor]) else math.nan

    def _evaluate(self, network: nn.Module, stage: str) -> dict[str, float]:
        self.read_data()
        with seeded(self.seed):
            module = network if isinstance(network, pl.LightningModule) else self.make_module(network)
            if module is not network:
                refuse_untrained(module, network)
            return evaluate(module, self.data, self.trainer, stage)

    # What networks are given.

    def batches(self, count: int = 1, split: str = "train") -> list[Any]:
        """The first batches of a split, on the project's device, as its datamodule hands them over.

        Args:
            count: how many; fewer where the split has fewer.
            split: `train`, `val` or `test`. Of several loaders, the first.

        Raises:
            ValueError: the data have no such split.
        """
        self.read_data()
        splits = splits_of(self.data)
        if split not in splits:
            raise ValueError(f"{type(self.data).__name__} has no {split}_dataloader; splits: {', '.join(splits)}")
        with undisturbed(held_generators([self.data])), seeded(self.seed):
            loader = flat_loaders(getattr(self.data, f"{split}_dataloader")())[0]
            return [self._handed_over(batch) for batch in islice(loader, at_least("count", count, 1))]

    def _handed_over(self, batch: Any) -> Any:
        batch = self.data.on_before_batch_transfer(batch, 0)
        return self.data.on_after_batch_transfer(self.data.transfer_batch_to_device(batch, self.device, 0), 0)

    @cached_property
    def example_calls(self) -> tuple[Call, ...]:
        """The arguments that the module calls a random network of the space with: see `calls`.

        Raises:
            ValueError: the step fails, with three architectures, or does not call its network; the message says why.
        """
        return example_calls(self.space, self.task, self.calls, self.module)

    def calls(self, network: nn.Module) -> tuple[Call, ...]:
        """The arguments that the module calls a network with for the first validation batch, on the project's device.

        Args:
            network: of no further use afterwards.

        Raises:
            UncalledError: no step calls the network.
        """
        self.read_data()
        return record_calls(network, self.make_module, self.data, self.device, self.trainer)
