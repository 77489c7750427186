"""`automl-plugins evaluate`: train an architecture again, over seeds."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from automl_plugins import registry
from automl_plugins.cli.checks import convert
from automl_plugins.cli.configuration import StudyConfig
from automl_plugins.cli.console import output, read_architecture
from automl_plugins.cli.errors import UsageError, say, told_briefly
from automl_plugins.cli.settings import Given, merge, read, read_yaml
from automl_plugins.cli.study import prepare
from automl_plugins.errors import StudyError
from automl_plugins.objectives.contender import Contender
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.studies.evaluation import MOST_RANDOM, Evaluation
from automl_plugins.studies.folder import RunFolder
from automl_plugins.system.nearest import did_you_mean

_OF_A_SEARCH = ("search", "target", "command")
"""Keys of a differentiable search's config that say nothing of a training."""


def run(arguments: list[str], command: str = "evaluate") -> int:
    """Run the command.

    Args:
        arguments: what follows it.
        command: its name.

    Returns:
        The exit code.

    Raises:
        UsageError: a mistake in the arguments.
    """
    given = read(arguments, targets=1)
    console = output()
    if not given.targets:
        raise UsageError("name what to evaluate: a run folder or an architecture.json")
    path = _target(Path(given.targets[0]))
    count = convert("random", given.settings.pop("random", 0), int)
    if count < 0:
        raise UsageError(f"random is at least 0; got {count}")
    if count > MOST_RANDOM:
        raise UsageError(f"random is at most {MOST_RANDOM:,}, since each is trained; got {count}")
    config = _config(path, given)
    if "print_config" in given.switches:
        console.out(config.dump(), end="")
        return 0
    study = config.study()
    contender = _contender(study.project.space, path)
    config.refuse_another(study.folder)
    prepare(study)
    config.keep(study.folder)
    study.identity.keep(study.folder)
    evaluation = Evaluation(
        study.comparison,
        study.references if "references" in given.settings else (),
        random=count,
        listen=partial(say, command=command),
    )
    with told_briefly("", 1, StudyError):
        summary = evaluation.run(contender)
    console.print(summary.table())
    for line in summary.lines():
        console.out(line)
    console.out(f"kept: {study.folder.path}")
    if summary.winner is None:
        raise UsageError(f"nothing ended with a finite {summary.monitor}; see the lines above", code=1)
    return 0


def _target(target: Path) -> Path:
    """What says who is evaluated: an architecture.json, or a run's winner.json, whose network was made by hand."""
    folder = RunFolder(target)
    if not target.is_dir():
        path = target
    else:
        path = folder.winner if folder.winner.is_file() and not folder.architecture.is_file() else folder.architecture
    if not path.is_file():
        hint = " (the run has no winner yet)" if target.is_dir() else ""
        raise UsageError(f"{str(path)!r}: there is no such file{hint}")
    return path


def _contender(space: SearchSpace, path: Path) -> Contender:
    if path.name != RunFolder(path.parent).winner.name:
        return Contender("architecture", read_architecture(space, path))
    with told_briefly(str(path), 2, ValueError, KeyError):
        name = str(json.loads(path.read_text("utf-8"))["reference"])
    known = registry.names("references")
    if name not in known:
        raise UsageError(f"{path}: there is no reference {name!r}; {did_you_mean(name, known)}")
    return Contender(name, reference=name, found_by="hand")


def _config(path: Path, given: Given) -> StudyConfig:
    beside = RunFolder(path.parent).config
    base = {}
    if not given.configs:
        if not beside.is_file():
            raise UsageError(f"config is missing: there is no {beside}; give one with --config")
        # What belongs to the run's search, not to its trainings.
        own = ("folder", "references", "storage", "workers", "trials", *_OF_A_SEARCH)
        base = {key: value for key, value in read_yaml(beside).items() if key not in own}
    settings = merge(base, given.settings)
    if given.configs:
        settings = {key: value for key, value in settings.items() if key not in ("folder", *_OF_A_SEARCH)}
    if "folder" in given.settings:
        settings["folder"] = given.settings["folder"]
    return StudyConfig(settings, path.parent / "evaluation")
