"""An Optuna study over a space: search, compare with random search and with hand-made networks, keep the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from automl_plugins.errors import StudyError
from automl_plugins.estimators.context import Context
from automl_plugins.measures.figures import Figures
from automl_plugins.objectives.contender import Contender
from automl_plugins.objectives.goal import counted_limits
from automl_plugins.objectives.standing import Preference
from automl_plugins.report.closing import print_closing
from automl_plugins.report.notes import told_when_slow
from automl_plugins.report.summary import Summary
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.hand_made import Reference
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Task
from automl_plugins.studies.arm import arms_of
from automl_plugins.studies.candidates import HandMade
from automl_plugins.studies.comparison import Comparison
from automl_plugins.studies.conclusion import conclude, keep_reports, keep_trials
from automl_plugins.studies.contender_costs import costs_of
from automl_plugins.studies.deaths import Deaths
from automl_plugins.studies.done import fitting_when_done, keep_done
from automl_plugins.studies.finals import Finals
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.identity import Identity, identity_of, refuse_another
from automl_plugins.studies.optuna_parts import PartConfig
from automl_plugins.studies.plan import CHOOSING_SEEDS, make_plan
from automl_plugins.studies.preflight import check_splits
from automl_plugins.studies.readiness import Readiness, refused_exits, settle_costs
from automl_plugins.studies.settings_check import check_settings
from automl_plugins.studies.share import share
from automl_plugins.studies.study_config import keep_config
from automl_plugins.studies.time_left import TimeLeft, seeds_within
from automl_plugins.studies.trial import TrialRunner
from automl_plugins.studies.trial_store import TrialStore
from automl_plugins.studies.watch import progress
from automl_plugins.studies.winner import winner_drawing
from automl_plugins.studies.workers import share_out
from automl_plugins.system.arguments import at_least
from automl_plugins.system.interruption import terminated_in_order
from automl_plugins.training.best_validation import Direction, JudgedBy
from automl_plugins.training.fit import ModuleFactory
from automl_plugins.training.lightning import pl
from automl_plugins.training.project import MOST_SEED, Project
from automl_plugins.training.trainer_options import check_length
from automl_plugins.training.tunable import check_names, module_arguments

_CHOOSING = 1_000_000
"""The distance of the seeds on which finalists are chosen: those on which they are judged may become more."""


class Study:
    """Search a space for an architecture, with one Lightning training for each trial.

    The study first runs `trials` trials with the sampler, and random search at the same cost; where there is something
    to choose among the references (settings, see `tune`, or more of them than finalists), they are a third arm. The
    best `finalists` of each are trained with the full budget on two seeds, whose mean validation score chooses among
    them. The chosen ones and the hand-made finalists are trained and tested over `seeds` other seeds; of these, the
    best by validation wins. Run again, it goes on where it stopped.

    ```python
    study = Study(AGNNSpace(layers=2), CoraData(), "runs/cora", trainer={"max_epochs": 50}, trials=100)
    summary = study.run()
    ```

    Its `project` says what is trained on what; `Study.of(project, trials=100)` makes a study of one that is there.

    Args:
        space: what to search.
        data: the datamodule; it says what the task is, unless `task` does.
        folder: where everything is kept; the same folder continues the same study.
        module: makes a LightningModule of a network and its task; the registered one for the task where left out.
        task: what the networks must fit; the datamodule's own `task` where left out.
        monitor: the validation metric to select by; the module's own `monitor` where left out.
        direction: `minimize` or `maximize` it; the module's own `direction` where left out.
        judged_by: a training's score and weights are those of its `last` validation, or of its `best` one, which is
            partly luck, but right for an EarlyStopping that waits; pruners see every validation either way.
        trials: how many trials the search has; 0 goes straight to the references.
        equal_cost: the unit in which the arms beside the search ask on until they have cost as much: `macs` (optimizer
            steps taken times the multiply-accumulates of the network on the first validation batch), `steps`, `trials`,
            or `cpu_seconds` or `gpu_seconds`, with which nothing is repeatable; `macs` where left out, or `steps` where
            the module's calls of its network cannot be recorded.
        trial_epochs: epochs of a trial; as many as `trainer` gives where left out.
        sampler: a class of `optuna.samplers`, a registered sampler, or a class path with `init_args`.
        pruner: a class of `optuna.pruners`, or a class path with `init_args`; where left out, no trial is stopped
            early, but with the sampler `priorband`, which comes with HyperbandPruner (NopPruner: none there either).
        costs: figures to minimise beside the metric (`latency_ms`, see `automl_plugins.measures.figures.FIGURES`);
            the finalists are then taken from the front, and all of them are tested.
        limits: figure -> the most that it may be. Of `params`, `macs` and `activations`, a network beyond is refused
            before it is trained, and the space narrowed (`Project.narrowed`); `references` has the factor by which
            those that are not named may exceed the dearest of the space's references (4; null: by any). A trial that
            breaks another limit is not chosen.
        reward: one value of the metric and a cost in place of the metric: the name of one of
            `automl_plugins.objectives.named_rewards.REWARDS` with its arguments.
        tune: training settings that are searched along with the architecture, see `automl_plugins.studies.tuning`:
            name -> a list of values, or a range: `{module.learning_rate: {low: 1e-4, high: 1e-2, log: true},
            module.weight_decay: [0, 1e-5, 5e-4], data.batch_size: [32, 64]}`. Names are those of the arguments of the
            module and of the datamodule.
        sharing: a trial starts from what earlier trials of its search have trained, where their layers are alike, see
            `automl_plugins.studies.sharing`, and so needs few `trial_epochs`; one that inherits less than half of its
            weights has the epochs of `trainer`, and final trainings start anew.
        trainer: arguments of Lightning's Trainer, for every training.
        random_search: run random search beside it, at the same cost and with the same pruner.
        references: hand-made networks: registered names, or classes or functions of your own that make a network of a
            task, `MyNet(task)`, by import path or as they are; all registered ones that fit the task where left out.
        references_first: the search's first trials, at most half of them, are the space's own references
            (`SearchSpace.references`) that the limits admit, so that it is not behind them by validation.
        finalists: how many of the best trials of a search, of different networks first, are trained in full, on two
            seeds, to choose one of them.
        seeds: how many seeds those that are compared in the end have; with one, it chooses among the finalists too.
        ensemble: so many of the finalists and references, the best on the two seeds that choose, are trained over
            `seeds` too, and the mean of their predictions (probabilities, or values) is a line beside the winner.
        prefer: `best`, the winner is the best by mean validation (or reward); or `economical`, the cheapest contender
            within one standard error of it, by parameters or the first of the costs.
        seed: seeds the sampler and, with its network and settings, each trial; the final trainings have the seeds that
            follow it.
        workers: processes to work with; they share the trials.
        storage: a path ending in `.journal` or an Optuna storage URL; a journal in the folder where left out.
        max_equal_failures: the same failure this often ends the study.
        trial_minutes: a trial that takes longer has failed, also where it hangs; it may take as long as it likes where
            left out.
        final_minutes: likewise a final training, which has more epochs, or its test.
        search_minutes: the search ends, with fewer trials, when these have taken so long in all, added up over workers;
            when that is depends on the machine, so nothing is repeatable then.
        minutes: the whole study takes about so long, see `automl_plugins.studies.time_left`: the searches end early
            enough for the final trainings, which have fewer seeds where they take longer than was expected.

    Raises:
        ValueError: a number out of range, a name that does not exist, or `sharing` in a space whose networks
            share nothing; before any data is read.
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
        judged_by: JudgedBy = "last",
        trials: int = 50,
        equal_cost: str | None = None,
        trial_epochs: int | None = None,
        sampler: PartConfig | BaseSampler = "TPESampler",
        pruner: PartConfig | BasePruner | None = None,
        costs: Sequence[str] = (),
        limits: dict[str, float | None] | None = None,
        reward: PartConfig | None = None,
        tune: Mapping[str, Any] | None = None,
        sharing: bool = False,
        trainer: dict[str, Any] | None = None,
        random_search: bool = True,
        references: Sequence[str | Reference] | None = None,
        references_first: bool = True,
        finalists: int = 3,
        seeds: int = 5,
        ensemble: int | None = None,
        prefer: Preference = "best",
        seed: int = 0,
        workers: int = 1,
        storage: str | None = None,
        max_equal_failures: int = 3,
        trial_minutes: float | None = None,
        final_minutes: float | None = None,
        search_minutes: float | None = None,
        minutes: float | None = None,
    ) -> None:
        # The last final training's seed is `seed + seeds`.
        at_least("seed", seed, 0, most=MOST_SEED - at_least("seeds", seeds, 1, most=_CHOOSING) - _CHOOSING)
        self.project = Project(
            space,
            data,
            module=module,
            task=task,
            monitor=monitor,
            direction=direction,
            judged_by=judged_by,
            trainer=trainer,
            limits=counted_limits(limits),
            seed=seed,
            folder=folder,
        )
        check_length(self.project.trainer)
        self.folder = RunFolder(self.project.folder)
        self.plan = make_plan(
            space,
            self.folder.journal,
            partial(Context.of, self.project),
            self.project.trainer,
            trials=trials,
            equal_cost=equal_cost,
            trial_epochs=trial_epochs,
            sampler=sampler,
            pruner=pruner,
            costs=costs,
            limits=limits,
            reward=reward,
            tune=tune,
            sharing=sharing,
            random_search=random_search,
            references=references,
            references_first=references_first,
            finalists=finalists,
            seeds=seeds,
            ensemble=ensemble,
            prefer=prefer,
            workers=workers,
            storage=storage,
            max_equal_failures=max_equal_failures,
            trial_minutes=trial_minutes,
            final_minutes=final_minutes,
            search_minutes=search_minutes,
            minutes=minutes,
        )
        check_names(self.plan.tuning.distributions, module_arguments(module), data)
        self.store = TrialStore(self.folder, self.plan.storage)
        self._is_prepared = self._was_tried = self._is_done = False
        self._offered: list[Contender] = []

    @classmethod
    def of(cls, project: Project, **settings: Any) -> Study:
        """The study of a project, in its folder.

        Args:
            project: what is trained on what.
            settings: the constructor's other arguments: `trials`, `sampler`, `finalists`, ...
        """
        return cls(**{**project.arguments, **settings})

    # Running.

    def run(self, began: datetime | None = None) -> Summary:
        """Run, or go on with, the whole study, write its result into the folder, and print it.

        The folder also has a `config.yaml` with which `automl-plugins show` and `evaluate` work on it.

        Args:
            began: when the time began that the study has (`minutes`); now, where left out.

        Raises:
            StudyError: the study cannot go on; what it has found is kept.
        """
        since = began or datetime.now()
        with terminated_in_order():
            self.begin()
            keep_config(self.folder.config, self.project, self.plan, self.store.elsewhere)
            keep_reports(self.project)
            try:
                if not self._is_done:
                    with progress(lambda: self.finals, self._time_left(since)):
                        deaths = Deaths(self.folder.deaths, since.isoformat())
                        share_out(self.work, self.plan.workers, since, deaths, self.plan.may_end_its_process)
            except StudyError:
                keep_trials(self.finals)
                raise
            self.folder.done.unlink(missing_ok=True)  # a file that is damaged is found, and made again
            summary = conclude(self.finals)
            keep_done(self.folder, self.finals, self._offered)
        print_closing(summary, winner_drawing(self.project.space, self.folder), self.folder.results)
        return summary

    def begin(self) -> None:
        """Prepare, and take the folder, unless another study has meanwhile; `run` does it by itself.

        Raises:
            StudyError: the study cannot be as it was asked for, or the folder is another one's.
        """
        self.prepare()
        self.identity.refuse_another(self.folder, self.identity.keep(self.folder))

    def prepare(self) -> None:
        """Read the data, and say what is wrong with the study before anything is trained; `run` does it by itself.

        Raises:
            StudyError: the study cannot be as it was asked for, or the folder is another one's. Nothing is written.
        """
        if self._is_prepared:
            return
        # Minutes without a word would look like a hang.
        slow = told_when_slow("before the first training: counts limits and tries networks on one batch")
        with refused_exits():
            self.store.check()
            self.project.read_data()
            check_splits(self.project.data)
            _ = self.project.monitor, self.references
            with slow:
                self._try()
        self._is_prepared = True

    def _try(self) -> None:
        """Say what is wrong with the study, as far as it can be tried; nothing is tried of one that has ended."""
        refuse_another(self.identity, self.folder, lambda: any(map(self.arm_trials, self.plan.arms)))
        self._offered = self._offered or list(self.references)
        fitting = fitting_when_done(self.folder, self.finals, self._offered) if self.folder.done.is_file() else None
        if fitting is not None:
            self.references, self._is_done = fitting, True
            return
        settle_costs(self.project, self.plan, self.figures, len(self.references))
        if not self._was_tried:
            check_settings(self.comparison.projects, self.plan.tuning)
            self.references = Readiness(self.comparison, self.plan).check(self.references)

    def take_over(self, other: Study) -> None:
        """Take what was tried and counted for another study, which has been prepared.

        Args:
            other: of the same space and data, as objects, and of the same module; its trainings alone, and the number
                of them, are other ones.
        """
        self.project.take_over(other.project)
        self.references, self._offered, self._was_tried = list(other.references), list(other._offered), True

    def work(self, since: datetime) -> None:
        """Do one worker's share of the study: take trials and final trainings until there are none left.

        Args:
            since: when the study was started; earlier failures are forgiven.
        """
        self.project.read_data()
        runner = TrialRunner(self.comparison.projects, self.plan, self.figures)
        arms = arms_of(self.project, self.plan, self.store, self.references)
        share(runner, arms, lambda: self.finals, since, self._time_left(since))

    def _time_left(self, since: datetime) -> TimeLeft | None:
        minutes = self.plan.minutes
        return None if minutes is None else TimeLeft(lambda: self.finals, minutes, since)

    # Parts.

    @cached_property
    def identity(self) -> Identity:
        """The identity of this study: its settings and its data, once they have been read."""
        self.project.read_data()
        return identity_of(self.project, self.plan, self.store.elsewhere)

    @cached_property
    def references(self) -> list[Contender]:
        """The hand-made networks that fit the task."""
        named = self.plan.references
        return self.comparison.hand_made() if named is None else list(named)

    @cached_property
    def figures(self) -> Figures:
        """The measures of what networks cost, on the device that they are trained on."""
        return Figures(self.project, self.plan.goal.figures, self.folder.latencies)

    @cached_property
    def shown_figures(self) -> Figures:
        """The measures of what an ensemble and the networks beside it take."""
        return Figures(self.project, ("macs", "latency_ms"), self.folder.latencies)

    @cached_property
    def comparison(self) -> Comparison:
        """The final trainings."""
        first = self.project.seed + 1
        return Comparison(self.project, range(first, first + self.plan.seeds), self.plan.final_minutes)

    @cached_property
    def choosing(self) -> Comparison:
        """The final trainings that choose among finalists, which are then judged on other seeds."""
        if self.plan.seeds == 1:
            return self.comparison
        first = self.project.seed + _CHOOSING
        return self.comparison.over(range(first, first + CHOOSING_SEEDS))

    @property
    def finals(self) -> Finals:
        """The choice of finalists and winners, from the trials as they are now."""
        seeds = self.comparison.seeds[: seeds_within(self.folder, self.plan)]
        return Finals(
            comparison=self.comparison.over(seeds),
            choosing=self.choosing,
            plan=self.plan,
            trials={arm: self.arm_trials(arm) for arm in self.plan.arms_with(len(self.references))},
            references=self.references,
            measure=lambda contender: costs_of(self.comparison, contender, self.figures),
            weigh=lambda contender: costs_of(self.comparison, contender, self.shown_figures),
            points=self.points,
            is_over=self.store.was_ended_for(self.plan.minutes),
        )

    @cached_property
    def points(self) -> dict[str, Architecture]:
        """The architectures that are registered hand-made networks, by these networks' names.

        A space calls them so; where edges have features, say, its own network may have weights that the other lacks.
        """
        project = self.project
        points = project.space.points(project.task) if self.plan.arms else {}
        count = HandMade(project, (), self.plan.tuning).count
        return {
            name: architecture
            for name, architecture in points.items()
            if name in {each.reference for each in self.references}
            and project.space.num_parameters(architecture, project.task) == count(Contender(name, reference=name))
        }

    def arm_trials(self, arm: str) -> list[FrozenTrial]:
        """The trials of one arm, `search`, `random` or `hand-made`, in the order in which they were asked for."""
        return self.store.trials(arm)
