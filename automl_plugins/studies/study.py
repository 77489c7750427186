"""An Optuna study over a space: search, compare with random search and with hand-made networks, keep the result."""

from __future__ import annotations

import contextlib
import gc
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from automl_plugins import registry
from automl_plugins.errors import StudyError
from automl_plugins.measures.energy import EnergyError
from automl_plugins.measures.figures import Figures
from automl_plugins.objectives.goal import Goal
from automl_plugins.report.closing import print_closing, print_table
from automl_plugins.report.progress import Progress
from automl_plugins.report.summary import Summary
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Task
from automl_plugins.studies.comparison import Comparison, Contender
from automl_plugins.studies.conclusion import NothingFiniteError, conclude, keep_trials
from automl_plugins.studies.contender_costs import costs_of
from automl_plugins.studies.deaths import Deaths
from automl_plugins.studies.finals import Finals
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.identity import Identity, identity_of, refuse_another, shared_name
from automl_plugins.studies.optuna_parts import PartConfig, SamplerFactory, make_pruner, sampler_factory
from automl_plugins.studies.preflight import check_kinds, check_splits
from automl_plugins.studies.readiness import try_everything
from automl_plugins.studies.sharing import SharesWeights
from automl_plugins.studies.storage import expanded, open_storage
from automl_plugins.studies.study_config import keep_config
from automl_plugins.studies.trial import run_trial
from automl_plugins.studies.trial_queue import Claim, Nothing, TrialQueue
from automl_plugins.studies.workers import share_out
from automl_plugins.system.arguments import at_least, names, positive, switch
from automl_plugins.system.files import write_whole
from automl_plugins.system.generators import held_generators, undisturbed
from automl_plugins.system.interruption import terminated_in_order
from automl_plugins.system.nearest import did_you_mean
from automl_plugins.system.processes import identity
from automl_plugins.system.waiting import Waiting
from automl_plugins.training import fit as training
from automl_plugins.training.best_validation import Direction
from automl_plugins.training.fingerprint import splits_of
from automl_plugins.training.fit import ModuleFactory
from automl_plugins.training.lightning import check_distribution, pl
from automl_plugins.training.trainer_options import check_length, check_ranges

_POLL_SECONDS = 0.3


class Study:
    """Search a space for an architecture, with one Lightning training for each trial.

    The study first runs `trials` trials with the sampler, and as many with random search. The best
    `finalists` of each are trained over `seeds` new seeds with the full budget; the mean validation score
    chooses among them, and only what was chosen, and the references, are tested, on the same seeds.
    Run again, it goes on where it stopped.

    Args:
        space: what to search.
        data: the datamodule; it says what the task is, unless `task` does.
        folder: where everything is kept; the same folder continues the same study.
        module: makes a LightningModule of a network and its task; the registered one for the task where left out.
        task: what the networks must fit; the datamodule's own `task` where left out.
        monitor: the validation metric to select by; the module's own `monitor` where left out.
        direction: `minimize` or `maximize` it; the module's own `direction` where left out.
        trials: how many trials to run; 0 goes straight to the references.
        trial_epochs: epochs of a trial; as many as `trainer` gives where left out.
        sampler: a class of `optuna.samplers`, a registered sampler, or a class path with `init_args`.
        pruner: a class of `optuna.pruners`, or a class path with `init_args`; null never stops a trial early.
        costs: figures to minimise beside the metric (`latency_ms`, see `automl_plugins.measures.figures.FIGURES`);
            the finalists are then taken from the front, and all of them are tested.
        limits: figure -> the most that it may be; what breaks a limit is not chosen.
        reward: one value of the metric and a cost in place of the metric: the name of one of
            `automl_plugins.objectives.named_rewards.REWARDS` with its arguments.
        sharing: a trial starts from what earlier trials of its search have trained, where their layers are alike, see
            `automl_plugins.studies.sharing`, and so needs few `trial_epochs`; one that inherits less than half of its
            weights has the epochs of `trainer`, and final trainings start anew.
        trainer: arguments of Lightning's Trainer, for every training.
        random_search: run random search beside it, with as many trials and the same pruner.
        references: registered hand-made networks; all that fit the task where left out.
        finalists: how many of the best trials are trained over the seeds.
        seeds: how many seeds the final trainings have.
        seed: seeds the sampler and every trial; the final trainings have the seeds that follow it.
        workers: processes to work with; they share the trials.
        storage: a path ending in `.journal` or an Optuna storage URL; a journal in the folder where left out.
        max_equal_failures: the same failure this often ends the study.
        trial_minutes: a trial that takes longer has failed, also where it hangs. It may take as long as it likes where
            left out, and final trainings, which have more epochs, always may.

    Raises:
        ValueError: a number out of range, a name that does not exist, or `sharing` in a space whose networks
            share nothing; before any data is read. (In `run`:) the machine cannot measure a cost.
        TypeError: a datamodule of the other Lightning distribution.
    """

    def __init__(
        self,
        space: SearchSpace,
        data: pl.LightningDataModule,
        folder: Path,
        module: ModuleFactory | None = None,
        task: Task | None = None,
        monitor: str | None = None,
        direction: Direction | None = None,
        trials: int = 50,
        trial_epochs: int | None = None,
        sampler: PartConfig | BaseSampler = "TPESampler",
        pruner: PartConfig | BasePruner | None = None,
        costs: Sequence[str] = (),
        limits: dict[str, float] | None = None,
        reward: PartConfig | None = None,
        sharing: bool = False,
        trainer: dict[str, Any] | None = None,
        random_search: bool = True,
        references: Sequence[str] | None = None,
        finalists: int = 3,
        seeds: int = 5,
        seed: int = 0,
        workers: int = 1,
        storage: str | None = None,
        max_equal_failures: int = 3,
        trial_minutes: float | None = None,
    ) -> None:
        check_kinds(space=space, data=data, module=module, task=task, trainer=trainer)
        seeds = at_least("seeds", seeds, 1)
        # Every generator takes seeds of 32 bits, and the last final training's is `seed + seeds`.
        seed = at_least("seed", seed, 0, most=2**32 - 1 - seeds)
        if direction not in (None, "minimize", "maximize"):
            raise ValueError(f"direction is minimize or maximize; got {direction!r}")
        check_distribution(data)
        if switch("sharing", sharing) and not isinstance(space, SharesWeights):
            raise ValueError(
                f"sharing: {type(space).__name__} does not say which weights its networks may share; "
                "it would need a method `shared_weights` (automl_plugins.studies.sharing.SharesWeights)"
            )
        self.space = space
        self.data = data
        self.folder = RunFolder(Path(folder))
        self.trials = at_least("trials", trials, 0)
        self.trial_epochs = None if trial_epochs is None else at_least("trial_epochs", trial_epochs, 1)
        self.sampler = sampler_factory(sampler, space)
        self.pruner = make_pruner(pruner)
        self.goal = Goal(names("costs", costs), limits, reward)
        if self.goal.costs and not isinstance(self.pruner, NopPruner):
            raise ValueError("pruner: Optuna's pruners know one value, and costs add others; leave one of them out")
        self.sharing = sharing
        self.trainer = dict(trainer or {})
        training.check_trainer_options(self.trainer)
        check_ranges(self.trainer)
        check_length(self.trainer)
        self.random_search = switch("random_search", random_search)
        known = registry.names("references")
        if references is not None:
            references = names("references", references)
        for name in references or ():
            if name not in known:
                raise ValueError(f"references: there is no {name!r}; {did_you_mean(name, known)}")
        self.asked_references = references
        self.finalists = at_least("finalists", finalists, 1)
        self.seeds = seeds
        self.seed = seed
        self.workers = at_least("workers", workers, 1)
        self.storage = str(self.folder.journal) if storage is None else expanded(storage)
        self.max_equal_failures = at_least("max_equal_failures", max_equal_failures, 1)
        self.trial_minutes = None if trial_minutes is None else positive("trial_minutes", trial_minutes)
        self._module, self._task = module, task
        self._monitor, self._direction = monitor, direction
        self._has_data = self._is_prepared = False

    # What follows from the task, once the data has been read.

    @cached_property
    def task(self) -> Task:
        """What the networks must fit.

        Raises:
            StudyError: neither the study nor the datamodule names a task.
        """
        task = self._task if self._task is not None else getattr(self.data, "task", None)
        if not isinstance(task, Task):
            raise StudyError(f"{type(self.data).__name__} has no `task`; give the study one (automl_plugins.Task)")
        self.space.check_task(task)
        return task

    @cached_property
    def module(self) -> ModuleFactory:
        """What makes a LightningModule of a network."""
        if self._module is not None:
            return self._module
        factory: ModuleFactory = registry.load("modules", f"{self.task.level}-{self.task.target}")
        return factory

    @cached_property
    def _target(self) -> tuple[str, Direction]:
        monitor, direction = self._monitor, self._direction
        if monitor is None or direction is None:
            with training.seeded(self.seed):
                module = self.module(torch.nn.Identity(), self.task)
            monitor = monitor or getattr(module, "monitor", None)
            direction = direction or getattr(module, "direction", None)
        if monitor is None or direction is None:
            raise StudyError(
                f"{type(module).__name__} does not say what to select by: give it the attributes `monitor` and "
                "`direction`, or give the study `monitor` and `direction`"
            )
        return monitor, direction

    @property
    def monitor(self) -> str:
        """The validation metric that everything is selected by."""
        return self._target[0]

    @property
    def direction(self) -> Direction:
        """Whether `monitor` is better when lower or higher."""
        return self._target[1]

    @cached_property
    def references(self) -> list[Contender]:
        """The hand-made networks that fit the task."""
        names = self.asked_references
        if names is None:
            names = [
                name
                for name in registry.names("references")
                if self.task.level in getattr(registry.load("references", name), "levels", ())
            ]
        return [Contender(label=name, reference=name, found_by="hand") for name in names]

    @property
    def arms(self) -> tuple[str, ...]:
        """The searches that this study runs, by their names in the storage."""
        if self.trials == 0:
            return ()
        return ("search", "random") if self.random_search else ("search",)

    # Running.

    def run(self) -> Summary:
        """Run, or go on with, the whole study, write its result into the folder, and print it.

        The folder also has a `config.yaml` with which `automl-plugins show` and `evaluate` work on it.

        Raises:
            StudyError: the study cannot go on; what it has found is kept.
        """
        since = datetime.now()
        with terminated_in_order():
            self.prepare()
            self.identity.keep(self.folder)
            keep_config(self)
            self._keep_reports()
            try:
                with Progress(self):
                    share_out(self.work, self.workers, since, self._deaths(since), self.trial_minutes is not None)
            except StudyError:
                keep_trials(self.finals)
                raise
            try:
                summary = conclude(self.finals)
            except NothingFiniteError as error:
                print_table(error.summary)
                raise
        print_closing(self.space, self.folder, summary)
        return summary

    @property
    def deaths(self) -> Deaths:
        """What has killed its process, as this process sees it before the study begins."""
        return Deaths(self.folder.deaths, identity())

    def _keep_reports(self) -> None:
        """Write what the data have to say of themselves, such as a list of what was left out of them.

        A datamodule may have a method `report_files() -> dict[str, str]`: names of files, and their contents.
        """
        report = getattr(self.data, "report_files", None)
        for name, content in report().items() if callable(report) else ():
            write_whole(self.folder.path / Path(name).name, content)

    def _deaths(self, since: datetime) -> Deaths:
        return Deaths(self.folder.deaths, since.isoformat())

    def read_data(self) -> None:
        """Download, load and split the data, under the study's seed, as each of its processes does."""
        if not self._has_data:
            with undisturbed(held_generators([self.data])), training.seeded(self.seed):
                self.data.prepare_data()
                self.data.setup("fit")
                if "test" in splits_of(self.data):
                    self.data.setup("test")
            self._has_data = True

    def prepare(self) -> None:
        """Read the data, and say what is wrong with the study before anything is trained; `run` does it by itself.

        Raises:
            StudyError: the study cannot be as it was asked for, or the folder is another one's. Nothing is written.
        """
        if self._is_prepared:
            return
        if not self.has_own_storage or self.folder.journal.exists():
            _ = self._opened
        self.read_data()
        check_splits(self.data)
        self.settle()
        refuse_another(self)
        try_everything(self)
        self._is_prepared = True

    @cached_property
    def identity(self) -> Identity:
        """What tells this study from others: its settings and its data, once they have been read."""
        self.read_data()
        return identity_of(self)

    def settle(self) -> None:
        """Settle the task, the metric and what is measured: what is wrong with them is said before any training.

        Raises:
            StudyError: the study cannot be as it was asked for.
        """
        _ = self.monitor, self.references
        try:
            self.goal.directions(self.direction)
            self.figures.prepare()
        except (ValueError, EnergyError) as error:
            raise StudyError(str(error)) from error

    @cached_property
    def figures(self) -> Figures:
        """What measures the costs of networks, on the device that they are trained on."""
        return self.figures_in(self.folder.latencies)

    def figures_in(self, folder: Path) -> Figures:
        """What measures the costs of networks, and keeps latencies in a folder."""
        device = torch.device("cpu")
        if set(self.goal.figures) - {"num_parameters"}:
            options = {name: self.trainer[name] for name in ("accelerator",) if name in self.trainer}
            if isinstance(devices := self.trainer.get("devices"), list):
                options["devices"] = devices[:1]
            with training.quiet_lightning():
                device = pl.Trainer(**{**training.LEAN, **options}).strategy.root_device
        names = self.goal.figures
        return Figures(names, self.space, self.task, self.module, self.data, device, folder, self.trainer)

    def work(self, since: datetime) -> None:
        """Do one worker's share of the study: take trials and final trainings until there are none left.

        Args:
            since: when the study was started; earlier failures are forgiven.
        """
        self.read_data()
        try:
            with self._presence() as worker:
                queues = [self._queue(arm, worker, since) for arm in self.arms]
                waiting = Waiting()
                while not self._work_through(queues, since):
                    waiting("; ".join(filter(None, (queue.waits_for for queue in queues))))
                    time.sleep(_POLL_SECONDS)
                finals, waiting = self.finals, Waiting()
                while not finals.work(since):
                    waiting("other workers, which train the last of the finalists and references")
                    time.sleep(_POLL_SECONDS)
        finally:
            gc.unfreeze()

    @contextlib.contextmanager
    def _presence(self) -> Iterator[str]:
        """Be known as alive, by a name that no other worker has, until the end."""
        worker = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        path = self.folder.worker_lock(worker)
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path):
            self.folder.worker_mark(worker).touch()
            yield worker

    def _queue(self, arm: str, worker: str, since: datetime) -> TrialQueue:
        search = arm == "search"
        return TrialQueue(
            folder=self.folder,
            storage=self.storage,
            name=self.study_name(arm),
            space=self.space,
            task=self.task,
            sampler=self.sampler if search else SamplerFactory(RandomSampler),
            pruner=self.pruner,
            directions=self.goal.directions(self.direction),
            trials=self.trials,
            # Random search draws from a stream of its own, not the one that a sampler's start-up draws from.
            seed=self.seed if search else self.seed + 1,
            worker=worker,
            max_equal_failures=self.max_equal_failures,
            since=since,
        )

    def study_name(self, arm: str) -> str:
        """The name of an arm's study in the storage: with the folder's name and key where others share the storage."""
        return arm if self.has_own_storage else shared_name(self.folder, arm)

    @property
    def has_own_storage(self) -> bool:
        """Whether the trials are in the folder's own journal."""
        return "://" not in self.storage and Path(self.storage).resolve() == self.folder.journal.resolve()

    def _work_through(self, queues: Sequence[TrialQueue], since: datetime) -> bool:
        """Train what can be taken; False where other workers still run the last trials."""
        waiting = False
        for queue in queues:
            while isinstance(claim := queue.claim(), Claim):
                run_trial(self, queue, claim, self._deaths(since))
                _free_memory()
            waiting |= claim is Nothing.WAIT
        return not waiting

    def arm_of(self, queue: TrialQueue) -> str:
        """The name of the search that a queue hands out the trials of."""
        return next(arm for arm in self.arms if self.study_name(arm) == queue.name)

    @property
    def trial_options(self) -> dict[str, Any]:
        """The Trainer's arguments for a trial."""
        return self.trainer if self.trial_epochs is None else {**self.trainer, "max_epochs": self.trial_epochs}

    # Results.

    def arm_trials(self, arm: str) -> list[FrozenTrial]:
        """An arm's trials, in the order in which they were asked for."""
        for study in self._opened.get_all_studies():
            if study.study_name == self.study_name(arm):
                return self._opened.get_all_trials(study._study_id, deepcopy=False)
        return []

    @cached_property
    def _opened(self) -> BaseStorage:
        """The storage, opened once: each opening of a journal reads all of it."""
        return open_storage(self.storage)

    def __getstate__(self) -> dict[str, Any]:
        # A worker process reads the data for itself; a datamodule that was sent with its data has nothing left to do.
        return {**{name: value for name, value in self.__dict__.items() if name != "_opened"}, "_has_data": False}

    @cached_property
    def comparison(self) -> Comparison:
        """The final trainings."""
        return Comparison(
            folder=self.folder,
            space=self.space,
            task=self.task,
            data=self.data,
            module=self.module,
            monitor=self.monitor,
            direction=self.direction,
            options=self.trainer,
            seeds=range(self.seed + 1, self.seed + 1 + self.seeds),
        )

    @property
    def finals(self) -> Finals:
        """The choice of finalists and winners."""
        return Finals(
            comparison=self.comparison,
            trials={arm: self.arm_trials(arm) for arm in self.arms},
            references=self.references,
            goal=self.goal,
            finalists=self.finalists,
            most_failures=self.max_equal_failures,
            measure=lambda contender: costs_of(self.comparison, contender, self.figures),
        )


def _free_memory() -> None:
    """Let go of the last training: a Trainer and its module refer to each other, so only the collector frees them.

    Going through all that the libraries have made takes longer than many a training, so what is
    still alive after the first one is left out from then on.
    """
    gc.collect()
    if gc.get_freeze_count() == 0:
        gc.freeze()
