"""Score random architectures by estimators that train nothing or little, and see which of them agree.

usage: automl-plugins score --space S --data D --estimators [naswot, jacov] [--architectures 50] [--key value]

Nothing is trained, unless an estimator trains (training:3). The networks' sizes (params, macs) and a random order stand
beside. Nobody knows before some are trained how well an estimator ranks a space: tau says who agrees with whom, not who
is right. The same command goes on after a stop; with more estimators, those that are done stay.

options:
  --space S             the space; its arguments follow: --space.layers 2
  --data D              the data, on whose first validation batch networks are judged
  --estimators [...]    names (automl-plugins list estimators), where wanted with a first argument, as in
                        [naswot, training:3, "ranks:[naswot,jacov,macs]"]; or {{class_path: ..., init_args: ...}}
  --architectures N     how many random architectures of the space, or one or more files, [a.json, b.json] (50)
  --module M, --trainer.key value
                        the training that says what a network is called with
  --seed N              of the architectures, of initial weights and of whatever an estimator draws (0)
  --folder F            where scores.json is kept (runs/<data>-scores)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from automl_plugins.cli.console import output
from automl_plugins.cli.errors import UsageError, shown, told_briefly
from automl_plugins.cli.parser import Settings
from automl_plugins.cli.record import (
    keep_config,
    keep_data,
    kept_settings,
    printed,
    refuse_another,
    refuse_other_data,
    running_alone,
)
from automl_plugins.cli.settings import Given
from automl_plugins.errors import StudyError
from automl_plugins.estimators.context import Context
from automl_plugins.estimators.scoring import Scores, kendall_error, named_estimators, score
from automl_plugins.report.scores import rank_table, tau_table
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.limits import TASK_ALONE
from automl_plugins.system.arguments import at_least
from automl_plugins.system.files import read_object, write_whole
from automl_plugins.system.finite import strict_json
from automl_plugins.training.project import Project

_MOST = 100_000


def run(given: Given, command: str) -> int:
    """Run the command, see `automl_plugins.cli.commands.Command`."""
    given.needs("space", "data")
    configs, wanted = given.get("estimators"), given.get("architectures", 50)
    if not isinstance(configs, list) or not configs:
        raise UsageError(f"estimators={shown(configs)}: a list of estimators, such as [naswot, jacov]")
    if not isinstance(wanted, list):
        with told_briefly("", 2, ValueError):
            wanted = at_least("architectures", wanted, 2, most=_MOST)
    rest = given.without("estimators", "architectures")
    settings = Settings(rest, ("space", "data", "module", "trainer"), home=Path("runs", f"{given.stem('data')}-scores"))
    if printed(given, {**settings.plain, "estimators": configs, "architectures": wanted}):
        return 0
    folder = settings.folder
    project = settings.project("module", "trainer", folder=folder.path)
    given_files = _read(wanted, project) if isinstance(wanted, list) else None
    config = {**settings.plain, "estimators": configs, "architectures": wanted}
    kept = folder.path / "scores.json"
    console = output()

    def ended(scores: Scores, line: str) -> None:
        write_whole(kept, strict_json(scores.to_dict()) + "\n")
        console.out(line, highlight=False)

    with running_alone(folder):
        before = kept_settings(folder)
        if before is not None:
            refuse_another(folder, before, config, command, ("folder", "estimators", "architectures"))
        with told_briefly("", 1, StudyError, OSError, ImportError, ValueError, RuntimeError, TypeError):
            project.read_data()
            refuse_other_data(folder, project.data, command)
            context = Context.of(project)
            _ = context.inputs
            estimators = named_estimators(configs, context)
            architectures = given_files or _drawn(project, wanted)
            done = {} if before is None else Scores.known(read_object(kept) or {}, architectures)
            keep_config(folder, config)
            keep_data(folder, project.data)
            scores = score(estimators, architectures, context, done, ended)
    _show(scores)
    console.out(f"kept: {kept}", highlight=False)
    return 0


def _read(files: list[object], project: Project) -> list[Architecture]:
    """The architectures of files.

    Raises:
        UsageError: one cannot be read, or is of another space.
    """
    read = []
    for name in files:
        with told_briefly(f"architectures={shown(name)}", 2, OSError, ValueError, TypeError):
            architecture = Architecture.from_json(Path(str(name)).read_text("utf-8"))
            project.space.validate(architecture)
            read.append(architecture)
    return read


def _drawn(project: Project, count: int) -> list[Architecture]:
    """So many random architectures that differ, fewer where the space has fewer."""
    space = project.space.within(project.task, TASK_ALONE)
    generator = np.random.default_rng(project.seed)
    drawn: dict[Architecture, None] = {}
    for _ in range(20 * count):
        if len(drawn) == count:
            break
        drawn[space.sample(generator)] = None
    return list(drawn)


def _show(scores: Scores) -> None:
    console = output()
    names = list(scores.estimates)
    console.print(rank_table({name: scores.ranks(name) for name in names}, names[0]))
    valid = {name: sum(each.valid for each in column) for name, column in scores.estimates.items()}
    console.print(tau_table(scores.tau, {name: scores.seconds(name) for name in names}, valid))
    count = len(scores.architectures)
    console.out(
        f"{count} architectures: a tau within {2 * kendall_error(count):.2f} of 0 may be chance", highlight=False
    )
