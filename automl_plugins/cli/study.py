"""`automl-plugins study`: search, compare, keep."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import optuna

from automl_plugins.cli.configuration import config_of
from automl_plugins.cli.console import output
from automl_plugins.cli.errors import UsageError, told_briefly
from automl_plugins.cli.settings import read
from automl_plugins.errors import StudyError
from automl_plugins.studies.conclusion import NothingFiniteError
from automl_plugins.studies.study import Study


def run(arguments: list[str], command: str = "study") -> int:
    """Run the command.

    Args:
        arguments: what follows it.
        command: its name.

    Returns:
        The exit code.

    Raises:
        UsageError: a mistake in the arguments.
    """
    given = read(arguments)
    console = output()
    config = config_of(given)
    if "print_config" in given.switches:
        console.out(config.dump(), end="", highlight=False)
        return 0
    # Optuna tells of every study that it makes, among our own progress.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = config.study()
    config.refuse_another(study.folder)
    prepare(study)
    config.keep(study.folder)
    try:
        with _quiet_workers():
            study.run()
    except NothingFiniteError as error:
        raise UsageError(f"{error}; what there is is kept in {study.folder.path}", code=1) from error
    except StudyError as error:
        raise UsageError(f"{error}; what was found is kept in {study.folder.path}", code=1) from error
    return 0


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


def prepare(study: Study) -> None:
    """Read the data, and refuse what does not fit them, before anything is trained.

    Raises:
        UsageError: the data cannot be had, or the settings do not fit them; its code is 1.
    """
    with told_briefly("data", 1, OSError, ImportError, ValueError, RuntimeError):
        study.project.read_data()
    with told_briefly("", 1, StudyError, ValueError, RuntimeError):
        study.prepare()
