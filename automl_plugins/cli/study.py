"""Search a space, train the best and the references over seeds, print the table.

usage: automl-plugins study --config FILE [--key value]
       automl-plugins study --data NAME [--key value]

options:
  --config FILE            YAML with any of the keys below; may come several times
  --screen ESTIMATOR       of every few architectures that the sampler proposes, train the best by this estimator
                           (`automl-plugins list estimators`); short for the sampler `screen` around one of ours
  --screen-pool N          of how many (20)
  --print_config           print the whole configuration and end
  --space.help NAME        the arguments of a space; so for --data.help, --module.help, --sampler.help, --pruner.help,
                           --trainer.help and --task.help

keys:
{study}

With minutes, epochs, trials and final trainings that are left out are planned by what a training takes here.
Of the data alone, the rest is chosen by rules (docs/studies.md), and said before the first trial.

The folder is runs/<name of the config file> unless --folder says otherwise; the same command again goes on
where it stopped. A space, data or module is named (`--space agnn`, see `automl-plugins list`) or given by
its class path; its arguments follow: `--space.layers 3`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna

from automl_plugins.cli.console import show_predict
from automl_plugins.cli.data_alone import with_chosen
from automl_plugins.cli.errors import UsageError, say, shown, told_briefly
from automl_plugins.cli.look import over
from automl_plugins.cli.minutes import keep_plan, minutes_of, placeholder, plan_study, planned_before, with_settings
from automl_plugins.cli.parser import Settings
from automl_plugins.cli.record import keep_config, kept_settings, printed, refuse_another
from automl_plugins.cli.settings import Given
from automl_plugins.errors import StudyError
from automl_plugins.studies.conclusion import NothingFiniteError
from automl_plugins.studies.outline import outline
from automl_plugins.studies.study import Study
from automl_plugins.system.interruption import interrupts_as_such

_KEYS = ("space", "data", "module", "task", "sampler", "pruner", "trainer")
_MAY_CHANGE = (
    "folder",
    "trials",
    "equal_cost",
    "workers",
    "finalists",
    "seeds",
    "ensemble",
    "prefer",
    "references",
    "random_search",
    "max_equal_failures",
    "trial_minutes",
    "final_minutes",
    "search_minutes",
    "minutes",
)
"""Settings with which a study may go on although it was begun with others: they add to it or end it earlier."""


def run(given: Given, command: str) -> int:
    """Run the command, see `automl_plugins.cli.commands.Command`."""
    given = own = screened(given)
    given = with_chosen(given, command)
    minutes = minutes_of(given)
    folder = Path("runs", given.stem("data"))
    before = None if minutes is None else planned_before(Path(given.get("folder", folder)), minutes)
    if minutes is not None:
        given = placeholder(given) if before is None else with_settings(given, before)
    settings = study_settings(given, folder)
    if printed(given, settings.plain):
        return 0
    # Optuna tells of every study that it makes, among our own progress.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study, planned = _ready(settings), None
    if minutes is not None and before is None:
        planned = plan_study(study, own, minutes, command)
        settings = study_settings(with_settings(given, planned), folder)
        study = _ready(settings, study)
    with told_briefly("", 1, StudyError):
        study.begin()  # of two that start at once, one has the folder, and its files
    if planned is not None and minutes is not None:
        keep_plan(study.folder.path, minutes, planned)
    keep_config(study.folder, settings.plain)
    say(outline(study.project, study.plan, len(study.references)), command)
    try:
        with _quiet_workers():
            study.run(own.began)
    except NothingFiniteError as error:
        raise UsageError(f"{error}; what there is is kept in {study.folder.path}", code=1) from error
    except StudyError as error:
        raise UsageError(f"{error}; what was found is kept in {study.folder.path}", code=1) from error
    show_predict(study.folder.path, study.project.data, study.project.task.level)
    return 0


def _ready(settings: Settings, like: Study | None = None) -> Study:
    """The study of some settings, whose data have been read and of which all has been tried that can be.

    Args:
        settings: of the study.
        like: the study of settings of which only the lengths of trainings, and their number, are others.

    Raises:
        UsageError: whatever is wrong with it.
    """
    arguments = settings.plain | settings.made("module", "task", "trainer")
    if like is not None:
        arguments |= {"space": like.project.space, "data": like.project.data}
    with told_briefly("", 2, ValueError, TypeError):
        study = Study(**arguments)
    refuse_other_settings(settings)
    with told_briefly("data", 1, OSError, ImportError, ValueError, RuntimeError), interrupts_as_such():
        if like is not None:
            study.take_over(like)
        study.project.read_data()
    with told_briefly("", 1, StudyError, ValueError, RuntimeError):
        study.prepare()
    return study


def screened(given: Given) -> Given:
    """The same with the sampler `screen` around the one that is asked for, where screening is.

    Raises:
        UsageError: there is a pool, and nothing to screen it by.
    """
    estimator, pool = given.get("screen"), given.get("screen-pool")
    if estimator is None:
        if pool is not None:
            raise UsageError(f"screen-pool={shown(pool)}: name an estimator, as in --screen naswot")
        return given
    arguments = {"estimator": estimator, **({} if pool is None else {"pool": pool})}
    named = given.get("sampler.class_path", given.get("sampler"))
    if named is not None:
        arguments["sampler"] = {"class_path": named, "init_args": given.arguments("sampler")}
    rest = given.without("screen", "screen-pool", "sampler")
    return over({"sampler": {"class_path": "screen", "init_args": arguments}}, rest)


def study_settings(given: Given, folder: Path) -> Settings:
    """The settings of a study, checked as far as its data need not be read; the folder is that of one that names none.

    Raises:
        UsageError: whatever is wrong with them.
    """
    given.needs("space", "data")
    settings = Settings(given, _KEYS, Study, home=folder)
    storage = settings["storage"]
    if storage is not None and not storage.endswith(".journal") and "://" not in storage:
        raise UsageError(f"storage={storage!r}: it is a file ending in .journal or a URL such as sqlite:///study.db")
    return settings


def refuse_other_settings(settings: Settings) -> None:
    """Refuse a folder whose study or evaluation was begun with others.

    Raises:
        UsageError: it was; the message names the first that differs.
    """
    folder = settings.folder
    kept = kept_settings(folder)
    if kept is not None:
        before = study_settings(over(kept), folder.path)
        refuse_another(folder, before.plain, settings.plain, "study", _MAY_CHANGE)


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
