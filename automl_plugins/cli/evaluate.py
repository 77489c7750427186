"""`automl-plugins evaluate`: train an architecture again, over seeds."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from automl_plugins.architecture import Architecture
from automl_plugins.cli.checks import convert
from automl_plugins.cli.configuration import StudyConfig
from automl_plugins.cli.console import output, read_architecture
from automl_plugins.cli.errors import UsageError, say, told_briefly
from automl_plugins.cli.settings import Given, merge, read, read_yaml
from automl_plugins.cli.study import prepare
from automl_plugins.comparison import Comparison, Contender
from automl_plugins.report.summary import Summary
from automl_plugins.run_folder import RunFolder, write_whole
from automl_plugins.study import Study

_POLL_SECONDS = 0.5
_DRAWS = 100
"""How often to draw, for each random architecture that is asked for, before it is said that too few fit."""
_OF_A_SEARCH = ("search", "target", "command")
"""Keys of a differentiable search's config that say nothing of a training."""

_HELP = """\
usage: automl-plugins evaluate <target> [--seeds 5] [--references [gcn, gat]] [--random 5] [--folder F] [--config FILE]
                               [--key value]

Train an architecture over seeds, with the budget and the data of its run, and test it.

target:
  a run folder          its winner
  an architecture.json  with the settings of the config.yaml beside it, or of --config

options:
  --seeds N             how many seeds (the run's where left out)
  --references [...]    hand-made networks to train beside it, on the same seeds (none where left out)
  --random N            how many random architectures of the space to train beside it, on the first seed alone (0);
                        their mean is a line of the table
  --folder F            where the results are kept (<run>/evaluation); the same command again goes on there
  --config FILE         settings in place of the run's
  --key value           any other setting of `automl-plugins study`, such as --trainer.max_epochs 100
"""


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
    if "help" in given.switches:
        console.out(_HELP, end="")
        return 0
    if not given.targets:
        raise UsageError("name what to evaluate: a run folder or an architecture.json")
    path = _architecture_path(Path(given.targets[0]))
    count = convert("random", given.settings.pop("random", 0), int)
    if count < 0:
        raise UsageError(f"random is at least 0; got {count}")
    config = _config(path, given)
    if "print_config" in given.switches:
        console.out(config.dump(), end="")
        return 0
    study = config.study()
    architecture = read_architecture(study.space, path)
    config.keep(study.folder)
    prepare(study)
    summary = _evaluate(study, architecture, "references" in given.settings, count)
    console.print(summary.table())
    console.out(f"kept: {study.folder.path}")
    return 0


def _architecture_path(target: Path) -> Path:
    path = RunFolder(target).architecture if target.is_dir() else target
    if not path.is_file():
        hint = " (the run has no winner yet)" if target.is_dir() else ""
        raise UsageError(f"{str(path)!r}: there is no such file{hint}")
    return path


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


def _evaluate(study: Study, architecture: Architecture, with_references: bool, count: int) -> Summary:
    contenders = [Contender("architecture", architecture), *(study.references if with_references else ())]
    random = _random(study, count)
    whole = study.comparison
    first = whole.over(whole.seeds[:1])
    for comparison, several in ((whole, contenders), (first, random)):
        for contender in several:
            _train(comparison, contender)
    rows = [whole.row(contender) for contender in contenders]
    if random:
        rows.append(first.mean_row(f"mean of {count} random ones", random))
    summary = Summary(
        space=study.space.name,
        data=type(study.data).__name__,
        monitor=whole.monitor,
        direction=whole.direction,
        rows=rows,
        searches={},
        seeds=list(whole.seeds),
    )
    write_whole(study.folder.summary, summary.to_json())
    return summary


def _random(study: Study, count: int) -> list[Contender]:
    """Random architectures whose networks the space does not refuse, always the same ones."""
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
    return [Contender(f"random {number}", architecture) for number, architecture in enumerate(drawn)]


def _train(comparison: Comparison, contender: Contender) -> None:
    for seed in comparison.seeds:
        one = comparison.over([seed])  # so that there is something to say after each training
        with told_briefly(contender.label, 1, ValueError):
            while not (one.train([contender]) and one.test([contender])):
                time.sleep(_POLL_SECONDS)
        result = one.trained(contender)[0]
        say(f"{contender.label}, seed {seed}: {one.monitor} {result.score:.4f}, {result.seconds:.0f} s", "evaluate")
