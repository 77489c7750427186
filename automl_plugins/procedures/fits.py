"""The fits of a procedure: differentiable searches over a project, each in a folder of its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from automl_plugins.search.callback import ArchitectureSearch
from automl_plugins.search.checkpoint_files import LastCheckpoint, LastTwo, WholeCheckpoints, read_checkpoint
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.limits import TASK_ALONE
from automl_plugins.strategies import Strategy
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.identity import Identity, data_of, settings_of
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.system.interruption import interrupts_as_such
from automl_plugins.training.fit import LEAN, quiet_lightning, seeded
from automl_plugins.training.lightning import pl
from automl_plugins.training.project import Project
from automl_plugins.training.surroundings import carry_over
from automl_plugins.training.trainer_options import check_length


class Fit(NamedTuple):
    """A search that has ended: its module, the searchable in it, and what the strategy's decoder gave."""

    module: pl.LightningModule
    searchable: Searchable
    architecture: Architecture


class Fits:
    """The searches that a procedure makes, in order: what has ended is read, what was killed goes on.

    A procedure that is killed at any moment and called again therefore ends as one that was not. The folder is refused
    where it was begun with other settings or data.

    Args:
        project: what is searched, and on what; its Trainer's arguments are those of each fit.
        procedure: the name of the procedure.
        settings: its arguments, as JSON has them.

    Raises:
        TypeError: the space has no supernet.
        StudyError: the folder holds results of other settings, or of other data.
    """

    def __init__(self, project: Project, procedure: str, settings: Mapping[str, Any]) -> None:
        refuse_without_supernet(project, procedure)
        self.project = project
        self.folder = project.folder / procedure
        project.read_data()
        limits = {"limits": dict(project.limits)} if project.limits else {}
        described = {"procedure": procedure, **settings, **settings_of(project), **limits}
        self._identity = Identity(described, data_of(project))
        before = Identity.read(RunFolder(self.folder))
        if before is not None:
            self._identity.refuse_another(RunFolder(self.folder), before)

    def searchable(self, partial_channels: int = 1) -> Searchable:
        """A new searchable, see `searchable_of`."""
        return searchable_of(self.project, partial_channels=partial_channels)

    def run(
        self,
        name: str,
        searchable: Searchable,
        strategy: str | Strategy,
        epochs: int | None,
        after: Fit | None = None,
        memory_limit: int | None = None,
        callbacks: Sequence[pl.Callback] = (),
    ) -> Fit:
        """Search with a searchable, in place: its weights and logits are trained.

        Args:
            name: of the fit; its checkpoints are in a folder of that name.
            searchable: which may have weights, logits and closed options from fits before.
            strategy: a registered name, or a strategy.
            epochs: how many; as many as the project's Trainer gives where None.
            after: a fit whose module this one's begins with, but for the searchable: a head that the user's has, say.
            memory_limit: see `ArchitectureSearch`.
            callbacks: beside the project's; what they leave at the end of the training is in files.

        Raises:
            ValueError: there is no such strategy, nothing says where the fit ends, or it takes more memory.
        """
        search = ArchitectureSearch(strategy, seed=self.project.seed, memory_limit=memory_limit)
        check_length(self.project.options(epochs))
        self._identity.keep(RunFolder(self.folder))
        files = LastTwo(self.folder / name / "last.ckpt")
        ended = files.path.with_name("ended")
        checkpoint, _ = files.newest()
        with seeded(self.project.seed):
            module = self.project.make_module(searchable)
        if after is not None:
            carry_over(after.module, after.searchable, module, searchable)
        if checkpoint == files.path and ended.exists():
            module.load_state_dict(read_checkpoint(files.path)["state_dict"])
            return Fit(module, searchable, searchable.architecture())
        files.path.parent.mkdir(parents=True, exist_ok=True)
        with seeded(self.project.seed), quiet_lightning(), interrupts_as_such():
            trainer = self._trainer(epochs, search, *callbacks, LastCheckpoint(files))
            trainer.fit(module, datamodule=self.project.data, ckpt_path=checkpoint, weights_only=True)
        ended.touch()
        return Fit(module, searchable, searchable.architecture())

    def _trainer(self, epochs: int | None, *callbacks: pl.Callback) -> pl.Trainer:
        # Callbacks and loggers remember what they saw; each fit has its own.
        options = copy.deepcopy(self.project.options(epochs))
        theirs = options.pop("callbacks", None) or []
        every = [*(theirs if isinstance(theirs, list | tuple) else [theirs]), *callbacks]
        trainer = pl.Trainer(**{**LEAN, **options, "enable_checkpointing": True}, callbacks=every)
        if type(trainer.strategy.checkpoint_io) is pl.plugins.TorchCheckpointIO:
            trainer.strategy.checkpoint_io = WholeCheckpoints()
        return trainer


def refuse_without_supernet(project: Project, procedure: str) -> None:
    """Refuse a project whose space has no supernet.

    Raises:
        TypeError: it has none.
    """
    if not isinstance(project.space, SupernetSpace):
        raise TypeError(f"{procedure} searches in supernets; the space {project.space.name!r} has none")


def searchable_of(
    project: Project, relaxation: str = "softmax", joint: bool = True, partial_channels: int = 1
) -> Searchable:
    """A new searchable for a project's task, within its limits where it has any, settled by its seed.

    Args:
        project: whose space has a supernet.
        relaxation: see `SupernetSpace.searchable`.
        joint: see `SupernetSpace.searchable`.
        partial_channels: see `SupernetSpace.searchable`.
    """
    task = project.task
    # With limits, on the batches that a study of the project counts on, too.
    narrowed = project.narrowed if project.limits else project.space.within(task, TASK_ALONE)
    with seeded(project.seed):
        return cast(SupernetSpace, narrowed).searchable(task, relaxation, project.seed, joint, partial_channels)
