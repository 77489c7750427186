"""usage: automl-plugins study --config FILE [--key value]

Search a space, train the best and the references over seeds, print the table.

options:
  --config FILE            YAML with any of the keys below; may come several times
  --print_config           print the whole configuration and end
  --space.help NAME        the arguments of a space; so for --data.help, --module.help, --sampler.help, --pruner.help,
                           --trainer.help and --task.help

keys:
{study}

The folder is runs/<name of the config file> unless --folder says otherwise; the same command again goes on
where it stopped. A space, data or module is named (`--space agnn`, see `automl-plugins list`) or given by
its class path; its arguments follow: `--space.layers 3`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna

from automl_plugins.cli.console import output
from automl_plugins.cli.errors import UsageError, told_briefly
from automl_plugins.cli.parser import Settings
from automl_plugins.cli.record import absolute_paths, keep, kept_settings, refuse_another, yaml_of
from automl_plugins.cli.settings import Given
from automl_plugins.errors import StudyError
from automl_plugins.studies.conclusion import NothingFiniteError
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.study import Study

_KEYS = ("space", "data", "module", "task", "sampler", "pruner", "trainer")
_MAY_CHANGE = (
    "folder",
    "trials",
    "workers",
    "finalists",
    "seeds",
    "references",
    "random_search",
    "max_equal_failures",
    "trial_minutes",
)
"""Settings with which a study may go on although it was begun with others: they add to it or end it earlier."""


def run(given: Given, command: str) -> int:
    """Run the command.

    Args:
        given: what follows it.
        command: its name.

    Returns:
        The exit code.

    Raises:
        UsageError: a mistake in the arguments.
    """
    settings = study_settings(given, Path("runs", given.stem("data")))
    if "print_config" in given.switches:
        output().out(yaml_of(settings.plain()), end="", highlight=False)
        return 0
    # Optuna tells of every study that it makes, among our own progress.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = make_study(settings)
    begin(study, settings)
    try:
        with _quiet_workers():
            study.run()
    except NothingFiniteError as error:
        raise UsageError(f"{error}; what there is is kept in {study.folder.path}", code=1) from error
    except StudyError as error:
        raise UsageError(f"{error}; what was found is kept in {study.folder.path}", code=1) from error
    return 0


def study_settings(given: Given, folder: Path) -> Settings:
    """The settings of a study, checked as far as its data need not be read.

    Args:
        given: the command line.
        folder: of the run, where none is named.

    Raises:
        UsageError: whatever is wrong with them.
    """
    given.needs("space", "data")
    settings = Settings(given.under({"folder": str(folder)}), _KEYS, Study)
    given.check_folder(Path(settings["folder"]))
    storage = settings["storage"]
    if storage is not None and not storage.endswith(".journal") and "://" not in storage:
        raise UsageError(f"storage={storage!r}: it is a file ending in .journal or a URL such as sqlite:///study.db")
    return settings


def make_study(settings: Settings) -> Study:
    """The study; nothing is read or written yet.

    Raises:
        UsageError: a value out of range, or a name that does not exist.
    """
    made: dict[str, Any] = {key: settings.make(key) for key in ("space", "data", "task", "module")}
    made["trainer"] = settings.trainer()
    with told_briefly("", 2, ValueError, TypeError):
        return Study(**{**settings.plain(), **made, "folder": Path(settings["folder"])})


def begin(study: Study, settings: Settings) -> None:
    """Read the data, refuse what does not fit them or the folder's run, and keep the settings.

    Raises:
        UsageError: something does not fit; its code is 1 where it is the data.
    """
    kept, mine = kept_settings(study.folder), absolute_paths(settings.plain())
    if kept is not None:
        old = study_settings(Given().under(kept), study.folder.path)
        refuse_another(study.folder, absolute_paths(old.plain()), mine, "study", _MAY_CHANGE)
    with told_briefly("data", 1, OSError, ImportError, ValueError, RuntimeError):
        study.read_data()
    with told_briefly("", 1, StudyError, ValueError, RuntimeError):
        study.prepare()
    keep(study.folder.path / "config.yaml", yaml_of(mine))


@contextmanager
def _quiet_workers() -> Iterator[None]:
    """Keep worker processes from repeating what PyG says of torch when it is imported."""
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, (before, "ignore:`torch.jit.script` is")))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before
