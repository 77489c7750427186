"""Train an architecture over seeds, with the budget and the data of its run, and test it.

usage: automl-plugins evaluate <target> [--seeds 5] [--references [gcn, gat]] [--random 5] [--key value]
       automl-plugins evaluate <target> [--random 5] [--monitor val_loss] -- python train.py ...

target:
  a run folder          its winner, which may be a hand-made network
  an architecture.json  with the settings of the config.yaml beside it, or of --config
                        (either with what a study has tuned for it, in the settings.json beside it; flags are over it)

The second form runs a training script as it is: with its own network, with what was found, and with as many random
architectures as cost the search's time, unless --random says how many.

options:
  --seeds N             how many seeds (the run's where left out)
  --references [...]    hand-made networks to train beside it, on the same seeds (none where left out)
  --random N            how many random architectures of the space to train beside it, on the first seed alone (0);
                        their mean is a line of the table, and so is the best of them by validation, which is then
                        trained on the other seeds too
  --folder F            where the results are kept (<run>/evaluation); the same command again goes on there
  --config FILE         settings in place of the run's
  --monitor, --direction  in a script: the metric that ranks (that of its ModelCheckpoint), and minimize or maximize
  --key value           any other setting of `automl-plugins study`, such as --trainer.max_epochs 100
"""

from __future__ import annotations

from functools import partial

from automl_plugins.cli.commands import over_run
from automl_plugins.cli.console import output, show_predict
from automl_plugins.cli.errors import UsageError, say, told_briefly
from automl_plugins.cli.evaluate_script import evaluate_script
from automl_plugins.cli.network_file import network_at
from automl_plugins.cli.parser import Settings
from automl_plugins.cli.record import keep_config, keep_data, printed, refuse_other_data
from automl_plugins.cli.settings import Given
from automl_plugins.cli.study import refuse_other_settings, study_settings
from automl_plugins.errors import StudyError
from automl_plugins.objectives.goal import counted_limits
from automl_plugins.studies.comparison import Comparison
from automl_plugins.studies.evaluation import MOST_RANDOM, Evaluation
from automl_plugins.studies.preflight import Preflight
from automl_plugins.studies.references import references_of
from automl_plugins.system.arguments import at_least
from automl_plugins.training.project import Project
from automl_plugins.training.trainer_options import check_length

_OF_THE_SEARCH = ("folder", "references", "storage", "workers", "trials", "tune")
"""Keys of a run's config that belong to its search, not to its trainings."""


def run(given: Given, command: str) -> int:
    """Run the command, see `automl_plugins.cli.commands.Command`."""
    if given.script:
        return evaluate_script(given, command)
    found, given = network_at(given.targets[0], key=""), given.without("folder", configs_alone=True)
    tuned = found.settings if found.is_under_own_config(given, command) else {}
    tuned = {name: value for name, value in tuned.items() if given.get(given.spelled(name)) is None}
    if not given.configs:
        if not found.run.config.is_file():
            raise UsageError(f"config is missing: there is no {found.run.config}; give one with --config")
        given = over_run(command, given, found.run.config, *_OF_THE_SEARCH)
    with told_briefly("", 2, ValueError):
        count = at_least("random", given.get("random", 0), 0, most=MOST_RANDOM)
    settings = study_settings(given.without("random"), found.run.evaluation.path)
    if printed(given, settings.plain):
        return 0
    project, folder = _project(settings), settings.folder
    contender = found.contender(project.space, tuned)
    names = settings["references"] or () if "references" in given else ()
    with told_briefly("", 2, ValueError):
        others = references_of(names) or []
        seeds = at_least("seeds", settings["seeds"], 1)
    refuse_other_settings(settings)
    with told_briefly("data", 1, OSError, ImportError, ValueError, RuntimeError):
        project.read_data()
    refuse_other_data(folder, project.data, "evaluation")
    comparison = Comparison(project, range(project.seed + 1, project.seed + 1 + seeds))
    with told_briefly("", 1, StudyError, ValueError, RuntimeError):
        preflight = Preflight(project)
        for each in (contender, *others):
            preflight.try_reference(each.label, partial(comparison.build, each))
    keep_config(folder, settings.plain)
    keep_data(folder, project.data)
    with told_briefly("", 1, StudyError):
        summary = Evaluation(comparison, others, count, partial(say, command=command)).run(contender)
    console = output()
    console.print(summary.table())
    for line in summary.lines():
        console.out(line)
    console.out(f"kept: {folder.path}")
    if summary.winner is None:
        raise UsageError(f"nothing ended with a finite {summary.monitor}; see the lines above", code=1)
    show_predict(folder.path, project.data, project.task.level)
    return 0


def _project(settings: Settings) -> Project:
    """The project of the trainings; nothing is read or written yet."""
    given = {key: settings[key] for key in ("monitor", "direction", "judged_by")}
    limits = counted_limits(settings["limits"])
    project = settings.project("module", "task", "trainer", folder=settings.folder.path, limits=limits, **given)
    with told_briefly("", 2, ValueError):
        check_length(project.trainer)
    return project
