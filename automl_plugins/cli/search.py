"""Learn an architecture by gradients, with a config or in a training script of your own; or by several fits.

usage: automl-plugins search --config FILE [--key value]
       automl-plugins search --target net --space NAME [--key value] -- python train.py ...

The first form trains a supernet once, and its architecture logits with it, with Lightning's Trainer, and takes
  --space NAME             what to search, with arguments as --space.nodes 3 (see `automl-plugins list spaces`)
  --data NAME              the datamodule, with arguments as --data.batch_size 32; it says what the task is
  --module NAME            the LightningModule around the supernet, with arguments as --module.learning_rate 0.01;
                           the registered one for the data's task where left out
  --trainer.KEY VALUE      an argument of Lightning's Trainer; --trainer.callbacks+=EarlyStopping adds to a list
  --strategy NAME          short for --search.strategy: a strategy, or a procedure of several fits (few-shot), whose
                           arguments follow as --strategy.KEY VALUE; see `automl-plugins list strategies`
  --search.KEY VALUE       how it is searched, with a strategy:
{search}
  --seed N                 the seed (0)
  --folder F               where the search is kept (runs/<name of the config file>); the same command again goes
                           on from the last epoch
  --config FILE            YAML with any of these keys; may come several times
  --print_config           print the whole configuration and end

The folder then holds config.yaml, architecture.json, search.json and the last checkpoint; `automl-plugins fit`,
`evaluate` and `show` take it as they take a study's.

The second form runs a training script that knows nothing of a search, and stays as it is. Lightning hands it our
callbacks, in which
  --target PATH            is the attribute of its LightningModule that is replaced by the supernet
  --task.KEY VALUE         what a network must fit, over what the script's datamodule has as `task`, and what is seen
                           in a step of the script with its own network: --task.target regression
  --call.NAME PATH         which part of the script's calls is an input, where that can be read in two ways
--space, --search, --seed, --folder and --config are as above; all else is the script's own.
"""

from __future__ import annotations

import copy
import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from automl_plugins.cli.commands import is_script
from automl_plugins.cli.console import output
from automl_plugins.cli.errors import UsageError, told_briefly, without_deprecations
from automl_plugins.cli.look import over
from automl_plugins.cli.network_file import show_kept, show_search
from automl_plugins.cli.parser import Settings
from automl_plugins.cli.procedure import run_procedure
from automl_plugins.cli.record import (
    is_first_process,
    keep_config,
    keep_data,
    kept_settings,
    printed,
    refuse_another,
    refuse_other_data,
    running_alone,
)
from automl_plugins.cli.search_record import SearchRecord
from automl_plugins.cli.search_script import search_script
from automl_plugins.cli.settings import Given
from automl_plugins.errors import DivergedError
from automl_plugins.report.search import SearchSummary
from automl_plugins.search import report
from automl_plugins.search.checkpoint_files import LastCheckpoint, LastTwo, WholeCheckpoints
from automl_plugins.search.provenance import OtherSearchError
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.limits import TASK_ALONE
from automl_plugins.studies.folder import RunFolder
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.system.files import WriteError
from automl_plugins.training import fit as training
from automl_plugins.training.lightning import pl
from automl_plugins.training.project import Project

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Errors that a logger, say, may meet when it writes."""
_HARMLESS = (
    "logger",
    "enable_progress_bar",
    "enable_model_summary",
    "log_every_n_steps",
    "profiler",
    "devices",
    "accelerator",
    "strategy",
    "num_nodes",
    "num_sanity_val_steps",
)
"""Arguments of the Trainer with which a search may go on otherwise."""


def run(given: Given, command: str) -> int:
    """Run the command, see `automl_plugins.cli.commands.Command`."""
    if is_script(given):
        return search_script(given)
    if given.procedure:
        return run_procedure(given)
    settings = _settings(given, Path("runs", given.stem("data")))
    folder = settings.folder
    space = settings.supernet_space()
    project = settings.project("module", folder=folder.path)
    options = settings.trainer()
    if options.get("enable_checkpointing") is False:
        raise UsageError("trainer.enable_checkpointing=False: a search goes on from its last checkpoint; leave it out")
    settings.search()
    if printed(given, settings.plain):
        return 0
    with running_alone(folder):
        _keep(settings, folder)
        with told_briefly("", 1, OSError, ImportError, ValueError, RuntimeError), without_deprecations():
            project.read_data()
        if not has_ended(folder, space):
            _search(settings, project, space, options)
        else:
            refuse_other_data(folder, project.data, "search")
    if folder.search.exists() and is_first_process():
        show_search(output(), space, folder)
        show_kept(folder)
    return 0


def _settings(given: Given, folder: Path) -> Settings:
    """The settings of a search through Lightning's Trainer; the folder is that of one that names none."""
    given.needs("space", "data")
    return Settings(given, ("space", "data", "module", "trainer", "search"), home=folder)


def _keep(settings: Settings, folder: RunFolder) -> None:
    """Write the settings into the folder of this search.

    Raises:
        UsageError: another search was begun there.
    """
    kept = kept_settings(folder)
    if kept is not None and not ("search" in kept and _has_nothing(folder)):
        old, mine = map(_settings_that_count, (_settings(over(kept), folder.path), settings))
        if _epochs(mine) > _epochs(old) > 0:
            report.line(f"{folder.path}: the search goes on to {_epochs(mine)} epochs instead of {_epochs(old)}")
            folder.search.unlink(missing_ok=True)
            old["trainer"]["max_epochs"] = _epochs(mine)
        refuse_another(folder, old, mine, "search")
    if is_first_process():
        keep_config(folder, settings.plain)


def _has_nothing(folder: RunFolder) -> bool:
    """True where nothing was found or trained: a search that was refused, or killed before its first checkpoint."""
    files = LastTwo(folder.checkpoint)
    kept = (*files.paths, folder.architecture, folder.search)
    return not any(path.exists() for path in kept)


def _settings_that_count(settings: Settings) -> dict[str, Any]:
    """A configuration without what a search may go on with otherwise: where it is kept, and how it is shown and fed."""
    config = copy.deepcopy(settings.plain)
    del config["folder"]
    for name in _HARMLESS:
        config["trainer"].pop(name, None)
    config["data"].get("init_args", {}).pop("num_workers", None)
    return config


def _epochs(settings: Mapping[str, Any]) -> int:
    return int(settings["trainer"].get("max_epochs") or 0)


def has_ended(folder: RunFolder, space: SupernetSpace) -> bool:
    """True where a folder keeps a search that has ended.

    If one of its files is broken (by a power cut, say), it is written again from the last checkpoint.
    """
    if not folder.search.exists():
        return False
    try:
        SearchSummary.from_json(folder.search.read_text(encoding="utf-8"))
        space.validate(Architecture.from_json(folder.architecture.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        report.line(f"{folder.path}: a file of the search is broken ({error}); it is written again")
        return False
    return True


def _search(settings: Settings, project: Project, space: SupernetSpace, options: Mapping[str, Any]) -> None:
    """Search, or go on with it, and write the summary.

    Raises:
        UsageError: the project cannot be searched so, or the search diverged; its code is 1.
    """
    folder, seed = settings.folder, settings["seed"]
    files = LastTwo(folder.checkpoint)
    search = settings.search(path=str(folder.architecture))
    record = SearchRecord(folder.search, search, settings.strategy_name)
    pl.seed_everything(seed, workers=True, verbose=False)
    defaults = {
        "default_root_dir": str(folder.path),
        # Without one, the search tells of each epoch in a line.
        "enable_progress_bar": output().is_terminal,
        "enable_model_summary": False,
    }
    callbacks = [*training.listed(options.get("callbacks")), search, record, LastCheckpoint(files)]
    with (
        told_briefly("", 1, OSError, ImportError, ValueError, RuntimeError),
        without_deprecations(),
        training.quiet_lightning(),
    ):
        searched = space.within(project.task, TASK_ALONE)
        partial = search.strategy.partial_channels
        module = project.make_module(searched.searchable(project.task, seed=seed, partial_channels=partial))
        if "logger" not in options:
            defaults["logger"] = pl.loggers.CSVLogger(str(folder.path), "logs")
        trainer = pl.Trainer(**{**defaults, **options, "callbacks": callbacks})
    strategy: Any = trainer.strategy
    if type(strategy.checkpoint_io) is pl.plugins.TorchCheckpointIO:
        strategy.checkpoint_io = WholeCheckpoints()
    _fit(trainer, module, project.data, files, record)
    if trainer.is_global_zero:
        keep_data(folder, project.data)


def _fit(
    trainer: pl.Trainer, module: pl.LightningModule, data: pl.LightningDataModule, files: LastTwo, record: SearchRecord
) -> None:
    """Train, from the last checkpoint where there is one.

    Raises:
        UsageError: the project cannot be searched so, or the search diverged; its code is 1.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the folder's checkpoint is that of the last whole epoch.
    """
    ckpt_path = _checkpoint_to_go_on_from(files)
    try:
        with training.without_advice():
            trainer.fit(module, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    except DivergedError as error:
        where = f" in {files.path.parent.parent / 'architecture.json'}" if error.kept else ""
        raise UsageError(f"{error}{where}; a search of other settings takes another --folder", code=1) from error
    except SystemExit as end:
        if trainer.interrupted:  # so Lightning answers Ctrl-C and SIGTERM
            raise KeyboardInterrupt from None
        raise UsageError(f"the project ended the process with the exit code {end.code}", code=1) from end
    except OSError as error:
        if isinstance(error, WriteError) or error.errno not in _DISK:
            raise
        raise UsageError(
            f"{error}; what was kept so far is whole, so mend the disk, and the same command goes on from here", code=1
        ) from error
    except ValueError as error:
        if record.started and not isinstance(error, OtherSearchError):
            raise
        raise UsageError(str(error), code=1) from error


def _checkpoint_to_go_on_from(files: LastTwo) -> Path | None:
    """The newest checkpoint that is whole; None: there is none, so the search begins.

    Raises:
        UsageError: there are some, all broken.
    """
    newest, broken = files.newest()
    if newest is None and broken:
        raise UsageError(
            f"{'; '.join(map(str, broken))}: the search cannot go on; remove {files.path.parent} to begin it "
            "anew, or give it another --folder",
            code=1,
        )
    for error in broken:
        report.line(f"{error}; the search goes on from {newest}")
    return newest
