"""Everything that a study will do, tried before its first trial."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from automl_plugins.errors import StudyError
from automl_plugins.measures.energy import EnergyError
from automl_plugins.measures.figures import Figures
from automl_plugins.objectives.contender import Contender
from automl_plugins.report.notes import tell
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.budget import COUNTED
from automl_plugins.studies.comparison import Comparison
from automl_plugins.studies.deaths import Deaths, KilledError
from automl_plugins.studies.equal_cost import unit_of
from automl_plugins.studies.plan import Plan
from automl_plugins.studies.preflight import Preflight
from automl_plugins.studies.time_limit import TimeLimitError, time_limit
from automl_plugins.system.processes import identity
from automl_plugins.training.fingerprint import splits_of
from automl_plugins.training.fit import seeded
from automl_plugins.training.project import Project
from automl_plugins.training.trainer_options import check_makes_a_trainer, check_validates


def settle_costs(project: Project, plan: Plan, figures: Figures, references: int) -> None:
    """Settle what is measured beside so many hand-made networks, before any training.

    Raises:
        StudyError: the goal does not fit the metric, the machine or the module cannot measure a cost, or limits admit
            no network.
    """
    try:
        plan.goal.directions(project.direction)
        if plan.arms:
            _ = project.narrowed
        if unit_of(project, plan, references) == "steps" and plan.equal_cost is None:
            tell(
                "the searches have as many optimizer steps each: MACs cannot be counted where the module does not call "
                "its network"
            )
        figures.prepare()
    except (ValueError, EnergyError) as error:
        raise StudyError(str(error)) from error


@contextmanager
def refused_exits() -> Iterator[None]:
    """Refuse a study whose module, data or network would end this process.

    Raises:
        StudyError: `sys.exit` was called in the block.
    """
    try:
        yield
    except SystemExit as error:
        raise StudyError(f"the module, the data or a network called sys.exit({error.code!r})") from error


@dataclass(frozen=True)
class Readiness:
    """Tries a study's trials, costs, references and tests on one batch each; nothing is left of it.

    Args:
        comparison: of the study's final trainings; its project's data have been read.
        plan: of the study.
    """

    comparison: Comparison
    plan: Plan

    def check(self, references: Sequence[Contender]) -> list[Contender]:
        """Say what is wrong before anything is trained.

        Args:
            references: the hand-made networks that the study would train.

        Returns:
            Those of them that fit: one that was not asked for by name is left out where it does not.

        Raises:
            StudyError: something does not work.
        """
        project = self.comparison.project
        self._check_options()
        preflight = Preflight(project)
        if self.plan.arms:
            self._try_costs(*preflight.try_space(self._guarded))
        fitting = [contender for contender in references if self._fits(preflight, contender)]
        self._tell_beyond(fitting)
        if "test" not in splits_of(project.data):
            tell(f"{type(project.data).__name__} has no test_dataloader: the table has validation scores alone")
        return fitting

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        """Bound what one training may do to this process: kill it once, or hang.

        Raises:
            KilledError: it has killed a process before.
            TimeLimitError: it took longer than a trial may.
        """
        folder = self.comparison.folder
        deaths = Deaths(folder.deaths, identity())
        if name in deaths.pending:
            raise KilledError("it has killed its process before")
        try:
            with (
                deaths.attempt(name),
                time_limit(self.plan.trial_minutes, "trial_minutes", partial(deaths.give_up, name)),
            ):
                yield
        finally:
            if not folder.description.exists():
                # A study that is refused leaves nothing behind.
                for path in (deaths.folder, deaths.folder.parent, folder.path):
                    with suppress(OSError):
                        path.rmdir()

    def _check_options(self) -> None:
        project = self.comparison.project
        with seeded(project.seed):
            loader: Any = project.data.train_dataloader()
        try:
            batches = len(loader)
        except TypeError:  # of an iterable data set
            batches = None
        try:
            for options in (project.options(self.plan.trial_epochs), project.options()):
                check_makes_a_trainer(options)
                check_validates(options, batches)
        except ValueError as error:
            raise StudyError(str(error)) from error

    def _try_costs(self, architecture: Architecture, score: float) -> None:
        with tempfile.TemporaryDirectory() as folder:
            try:
                figures = Figures(self.comparison.project, self.plan.goal.figures, Path(folder))(architecture)
                if math.isfinite(score):
                    self.plan.goal.values(score, figures)
            except (ValueError, EnergyError) as error:
                raise StudyError(f"costs, limits or reward: {error}") from error

    def _tell_beyond(self, references: Sequence[Contender]) -> None:
        """Say it where every hand-made network is beyond the limits that are counted, so that none can be chosen."""
        goal, cap = self.plan.goal, self.comparison.project.space.max_parameters
        counted = [name for name in COUNTED if name in goal.limits or (name == "params" and cap is not None)]
        if not counted or not references:
            return
        told = []
        with tempfile.TemporaryDirectory() as folder:
            figures = Figures(self.comparison.project, counted, Path(folder))
            for contender in references:
                try:
                    found = figures.of_network(partial(self.comparison.build, contender))
                except Exception:  # noqa: BLE001, S112 - the user's network; its line of the final table says so
                    continue
                broken = goal.broken(found, counted)
                if cap is not None and found["params"] > cap and "params" not in broken:
                    broken.append("params")
                if not broken:
                    return
                told.append(f"{contender.label} ({', '.join(f'{name} {found[name]:,.0f}' for name in broken)})")
        if told:
            beyond = f"all hand-made networks are beyond the limits: {', '.join(told)}"
            tell(f"{beyond}; they are trained as a comparison, and cannot be chosen")

    def _fits(self, preflight: Preflight, contender: Contender) -> bool:
        name = str(contender.reference)
        try:
            with self._guarded(f"preflight-{name}"):
                preflight.try_reference(name, partial(self.comparison.build, contender))
        except (KilledError, TimeLimitError):
            pass  # its final trainings are guarded, and the table says what became of them
        except StudyError as error:
            if self.plan.references is not None:
                raise
            tell(f"leaves out the reference {name!r}: {error}")
            return False
        return True
