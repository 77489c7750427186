"""`automl-plugins evaluate`: train an architecture again, over seeds."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path

import numpy as np

from automl_plugins import registry
from automl_plugins.cli.checks import convert
from automl_plugins.cli.configuration import StudyConfig
from automl_plugins.cli.console import output, read_architecture
from automl_plugins.cli.errors import UsageError, say, told_briefly
from automl_plugins.cli.settings import Given, merge, read, read_yaml
from automl_plugins.cli.study import prepare
from automl_plugins.report.row import mean_row, row_of
from automl_plugins.report.summary import Summary
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.studies.comparison import Comparison, Contender
from automl_plugins.studies.folder import RunFolder
from automl_plugins.studies.standing import Standing, best_of
from automl_plugins.studies.study import Study
from automl_plugins.system.files import write_whole
from automl_plugins.system.nearest import did_you_mean

_POLL_SECONDS = 0.5
_DRAWS = 100
"""How often to draw, for each random architecture that is asked for, before it is said that too few fit."""
_MOST_RANDOM = 10_000
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
    config = _config(path, given)
    if "print_config" in given.switches:
        console.out(config.dump(), end="")
        return 0
    study = config.study()
    contender = _contender(study.space, path)
    config.refuse_another(study.folder)
    prepare(study)
    config.keep(study.folder)
    study.identity.keep(study.folder)
    summary = _evaluate(study, contender, "references" in given.settings, count)
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


def _evaluate(study: Study, contender: Contender, with_references: bool, count: int) -> Summary:
    """Train, test and compare; of random architectures, the best by validation of the first seed has them all."""
    others = study.references if with_references else []
    contenders = [contender, *(each for each in others if each.key != contender.key)]
    random = _random(study, count)
    whole = study.comparison
    first = whole.over(whole.seeds[:1])
    since = datetime.now()
    for comparison, several in ((whole, contenders), (first, random)):
        for each in several:
            _train(comparison, each, since)
    rows = [row_of(whole, each) for each in contenders]
    standings = [_standing(whole, each) for each in contenders]
    verdict = []
    if random:
        drawn = [row_of(first, each) for each in random]
        rows.append(mean_row(f"mean of {count} random ones", drawn))
        best = best_of([_standing(first, each) for each in random])
        total = sum(row.cpu_seconds or 0.0 for row in drawn)
        if best is None:
            verdict.append(f"none of the {count} random architectures ended with a finite {whole.monitor}")
        else:
            _train(whole, best.contender, since)
            label = f"best of {count} random ones"
            rows.append(row_of(whole, best.contender, label))
            standings.append(_standing(whole, best.contender))
            verdict.append(
                f"{label}: {best.contender.label}, by {whole.monitor} of seed {first.seeds[0]}; finding it took "
                f"{count} trainings, {total:.1f} CPU s; a random architecture takes {total / count:.1f} in the mean"
            )
    winner = best_of(standings)
    labels = {row.folder: row.label for row in rows}
    summary = Summary(
        space=study.space.name,
        data=type(study.data).__name__,
        monitor=whole.monitor,
        direction=whole.direction,
        rows=rows,
        searches={},
        seeds=list(whole.seeds),
        winner=None if winner is None else labels[f"contenders/{winner.contender.key}"],
        verdict=verdict,
    )
    write_whole(study.folder.summary, summary.to_json())
    return summary


def _standing(comparison: Comparison, contender: Contender) -> Standing:
    values = [result.score for result in comparison.trained(contender)]
    return Standing(contender, values, comparison.direction == "maximize")


def _random(study: Study, count: int) -> list[Contender]:
    """Random architectures whose networks the space does not refuse, always the same ones."""
    if count > study.space.size:
        raise UsageError(f"random={count}: the space has {study.space.size:,} architectures", 1)
    if count > _MOST_RANDOM:
        raise UsageError(f"random is at most {_MOST_RANDOM:,}, since each is trained; got {count}")
    generator = np.random.default_rng(study.seed)
    drawn: dict[Architecture, None] = {}
    for _ in range(_DRAWS * count):
        if len(drawn) == count:
            break
        architecture = study.space.sample(generator)
        cap = study.space.max_parameters
        if cap is None or study.space.num_parameters(architecture, study.task) <= cap:
            drawn[architecture] = None
    if len(drawn) < count:
        raise UsageError(f"random={count}: the space has given {len(drawn)} different architectures that fit", 1)
    return [
        Contender(f"random {number}", architecture, found_by="random search")
        for number, architecture in enumerate(drawn)
    ]


def _train(comparison: Comparison, contender: Contender, since: datetime) -> None:
    for seed in comparison.seeds:
        one = comparison.over([seed])  # so that there is something to say after each training
        while not (one.train([contender], since) and one.test([contender], since)):
            time.sleep(_POLL_SECONDS)
        result = one.trained(contender)[0]
        told = result.failure if result.score is None else f"{one.monitor} {result.score:.4f}"
        say(f"{contender.label}, seed {seed}: {told}, {result.seconds:.0f} s", "evaluate")
