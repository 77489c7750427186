"""usage: automl-plugins evaluate <target> [--seeds 5] [--references [gcn, gat]] [--random 5] [--folder F] [--config FILE]
                               [--key value]

Train an architecture over seeds, with the budget and the data of its run, and test it.

target:
  a run folder          its winner, which may be a hand-made network
  an architecture.json  with the settings of the config.yaml beside it, or of --config

options:
  --seeds N             how many seeds (the run's where left out)
  --references [...]    hand-made networks to train beside it, on the same seeds (none where left out)
  --random N            how many random architectures of the space to train beside it, on the first seed alone (0);
                        their mean is a line of the table, and so is the best of them by validation, which is then
                        trained on the other seeds too
  --folder F            where the results are kept (<run>/evaluation); the same command again goes on there
  --config FILE         settings in place of the run's
  --key value           any other setting of `automl-plugins study`, such as --trainer.max_epochs 100
"""

from __future__ import annotations

import time
from datetime import datetime

import numpy as np

from automl_plugins.cli.commands import over_run
from automl_plugins.cli.console import output
from automl_plugins.cli.errors import UsageError, say, told_briefly
from automl_plugins.cli.found import found_at
from automl_plugins.cli.record import yaml_of
from automl_plugins.cli.settings import Given
from automl_plugins.cli.study import begin, make_study, study_settings
from automl_plugins.report.row import mean_row, row_of
from automl_plugins.report.summary import Summary
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.studies.comparison import Comparison, Contender
from automl_plugins.studies.standing import Standing, best_of
from automl_plugins.studies.study import Study
from automl_plugins.system.arguments import at_least
from automl_plugins.system.files import write_whole

_POLL_SECONDS = 0.5
_DRAWS = 100
"""How often to draw, for each random architecture that is asked for, before it is said that too few fit."""
_MOST_RANDOM = 10_000
_OF_THE_SEARCH = ("folder", "references", "storage", "workers", "trials")
"""Keys of a run's config that belong to its search, not to its trainings."""


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
    found, given = found_at(given.targets[0], key=""), given.without_in_configs("folder")
    if not given.configs:
        if not found.run.config.is_file():
            raise UsageError(f"config is missing: there is no {found.run.config}; give one with --config")
        given = over_run(command, given, found.run.config, *_OF_THE_SEARCH)
    with told_briefly("", 2, ValueError):
        count = at_least("random", given.get("random", 0), 0, most=_MOST_RANDOM)
    settings = study_settings(given.without("random"), found.run.path / "evaluation")
    if "print_config" in given.switches:
        output().out(yaml_of(settings.plain()), end="")
        return 0
    study = make_study(settings)
    contender = found.contender(study.space)
    begin(study, settings)
    study.identity.keep(study.folder)
    summary = _evaluate(study, contender, "references" in given, count)
    console = output()
    console.print(summary.table())
    for line in summary.lines():
        console.out(line)
    console.out(f"kept: {study.folder.path}")
    if summary.winner is None:
        raise UsageError(f"nothing ended with a finite {summary.monitor}; see the lines above", code=1)
    return 0


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
