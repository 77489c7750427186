"""Samplers where the truth is known: ours against Optuna's on NAS-Bench-Graph, by regret, by front, and by overhead.

python benchmarks/samplers.py search [--graphs arxiv cora pubmed] [--budget 400] [--seeds 30]
python benchmarks/samplers.py priors [--graphs arxiv citeseer] [--budget 100] [--seeds 30]
python benchmarks/samplers.py beside [--graphs arxiv pubmed] [--budget 100] [--seeds 20]
python benchmarks/samplers.py pareto [--graph arxiv] [--trials 200] [--seeds 30]
python benchmarks/samplers.py overhead
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import optuna
from optuna.samplers import BaseSampler, NSGAIIISampler, NSGAIISampler, RandomSampler, TPESampler
from rich.console import Console
from rich.table import Table as RichTable
from scipy.stats import wilcoxon

from automl_plugins import Architecture, Choice, Operation, SearchSpace
from automl_plugins.objectives.pareto import hypervolume
from automl_plugins.report.judgement import judgement_table
from automl_plugins.samplers import (
    ControllerSampler,
    EvolutionSampler,
    PredictorSampler,
    PriorBandSampler,
    ReinforceSampler,
)
from automl_plugins.tables import Table, nas_bench_graph
from automl_plugins.tables.judge import Judgement, judge

MakeSampler = Callable[[SearchSpace, int], BaseSampler]

OPTUNAS: dict[str, MakeSampler] = {
    "RandomSampler": lambda space, seed: RandomSampler(seed=seed),
    "TPESampler": lambda space, seed: TPESampler(seed=seed),
    "NSGAIISampler, population 20": lambda space, seed: NSGAIISampler(seed=seed, population_size=20),
}
OURS: dict[str, MakeSampler] = {
    "evolution": EvolutionSampler,
    "evolution, 50 and 25": partial(EvolutionSampler, population=50, tournament=25),
    "reinforce": ReinforceSampler,
    "controller": ControllerSampler,
    "controller, the paper's rate": partial(ControllerSampler, learning_rate=3.5e-4),
    "predictor": PredictorSampler,
    "priorband, no priors": PriorBandSampler,
}


def data_folder() -> Path | None:
    """The folder of the tables; None leaves it to the package `nas-bench-graph`."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    named = os.environ.get("AUTOML_PLUGINS_DATA")
    return Path(named) if named else beside if beside.is_dir() else None


def search(arguments: argparse.Namespace, console: Console) -> None:
    """Issue's first measurement: one objective, regret by validation, and the test score of what was chosen."""
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    for graph in arguments.graphs:
        table = nas_bench_graph(graph, data_folder())
        judgements = []
        for name, make in {**OPTUNAS, **OURS}.items():
            if not arguments.samplers or any(part in name for part in arguments.samplers):
                judged = judge(table, name, partial(make, table.space), arguments.budget, seeds)
                judgements.append(judged)
                console.print(f"{graph}: {name} done", style="dim")
        console.print(judgement_table(judgements, 100))
        half = arguments.budget // 2
        console.print(f"validation regret after {half} look-ups, in points:")
        for judgement in judgements:
            regret = 100 * judgement.validation_regret[:, half - 1]
            console.print(f"  {judgement.sampler}: {regret.mean():.3f} ± {regret.std(ddof=1):.3f}")
        compare(judgements, console)


def compare(judgements: list[Judgement], console: Console) -> None:
    """Our best against Optuna's best, paired over seeds: mean difference and Wilcoxon's signed-rank test."""
    theirs = [judgement for judgement in judgements if judgement.sampler in OPTUNAS]
    ours = [judgement for judgement in judgements if judgement.sampler in OURS]
    if not theirs or not ours:
        return
    for what in ("validation_regret", "test_regret"):
        budget = theirs[0].validation.shape[1]
        for place in (budget // 2 - 1, budget - 1):
            best, other = (min(side, key=lambda each: getattr(each, what)[:, place].mean()) for side in (ours, theirs))
            difference = 100 * (getattr(best, what) - getattr(other, what))[:, place]
            p = wilcoxon(difference).pvalue if difference.any() else 1.0
            console.print(
                f"{what} after {place + 1} look-ups: {best.sampler} less {other.sampler}: "
                f" {difference.mean():+.3f} ± {difference.std(ddof=1) / len(difference) ** 0.5:.3f} "
                f"points, p = {p:.2g} (two-sided Wilcoxon over {len(difference)} seeds)"
            )


def stacks(space: SearchSpace, *operations: str) -> list[Architecture]:
    """NAS-Bench-Graph's points that are four layers of one operation, one after the other."""
    nodes = range(1, 5)
    return [
        space.architecture({"link": "0123", **{f"node{node}.operation": operation for node in nodes}})
        for operation in operations
    ]


HAND_MADE = ("gcn", "gat")
BEGUN: dict[str, MakeSampler] = {
    **{name: OPTUNAS[name] for name in ("RandomSampler", "TPESampler")},
    **{name: OURS[name] for name in ("evolution", "predictor", "priorband, no priors")},
    "priorband": lambda space, seed: PriorBandSampler(space, seed, priors=stacks(space, *HAND_MADE)),
    "priorband, misled": lambda space, seed: PriorBandSampler(space, seed, priors=stacks(space, "fc", "skip")),
}
_AFTER = (10, 20, 30, 50, 100)


def priors(arguments: argparse.Namespace, console: Console) -> None:
    """Few look-ups, begun with four layers of GCN and of GAT in every search: what drawing round these is worth."""
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    for graph in arguments.graphs:
        table = nas_bench_graph(graph, data_folder())
        first = stacks(table.space, *HAND_MADE)
        after = [count for count in _AFTER if count <= arguments.budget]
        report = RichTable(title=f"{table.title}: regret by validation after so many look-ups, in points")
        for column in ("sampler", *map(str, after), f"test after {after[-1]}", "trials"):
            report.add_column(column, justify="left" if column == "sampler" else "right")
        judgements = []
        for name, make in BEGUN.items():
            judged = judge(table, name, partial(make, table.space), arguments.budget, seeds, first)
            judgements.append(judged)
            cells = [
                _mean(100 * scores[:, count - 1])
                for scores, count in [
                    *((judged.validation_regret, count) for count in after),
                    (judged.test, after[-1]),
                ]
            ]
            report.add_row(name, *cells, f"{judged.trials.mean():.0f}")
        console.print(report)
        compare_with(judgements, "priorband", after, console)


def _mean(values: np.ndarray) -> str:
    return f"{values.mean():.3f} ± {values.std(ddof=1):.3f}"


def compare_with(judgements: list[Judgement], name: str, after: list[int], console: Console) -> None:
    """One sampler less each other one: mean difference of the regrets and Wilcoxon's test, paired over seeds."""
    one = next(judgement for judgement in judgements if judgement.sampler == name)
    for other in judgements:
        for count in after[len(after) // 2 :]:
            difference = 100 * (one.validation_regret - other.validation_regret)[:, count - 1]
            if difference.any():
                error = difference.std(ddof=1) / len(difference) ** 0.5
                console.print(
                    f"after {count}: {name} less {other.sampler}: {difference.mean():+.3f} ± {error:.3f} points, "
                    f"p = {wilcoxon(difference).pvalue:.2g} (two-sided Wilcoxon over {len(difference)} seeds)"
                )


def beside(arguments: argparse.Namespace, console: Console) -> None:
    """A learning rate beside the architecture, made up: a point is lost for the squared decade from 2e-3."""
    makers = {"TPESampler": OPTUNAS["TPESampler"], **{name: OURS[name] for name in ("evolution", "reinforce")}}
    makers |= {"predictor": PredictorSampler, "priorband, no priors": PriorBandSampler}
    for graph in arguments.graphs:
        table = nas_bench_graph(graph, data_folder())
        scores = table.columns[table.validation]
        report = RichTable(title=f"{table.title}, with a learning rate: regret by validation after so many trials")
        after = [count for count in _AFTER if count <= arguments.budget]
        for column in ("sampler", *map(str, after)):
            report.add_column(column)
        for name, make in makers.items():
            regrets = []
            for seed in range(arguments.seeds):
                study = optuna.create_study(direction="maximize", sampler=make(table.space, seed))
                best = [-np.inf]
                for _ in range(arguments.budget):
                    trial = study.ask()
                    row = table.row(table.space.suggest(trial))
                    rate = trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
                    value = np.nan if row is None else scores[row] - 0.01 * np.log10(rate / 2e-3) ** 2
                    study.tell(trial, None if np.isnan(value) else value, state=_state(value))
                    best.append(np.fmax(best[-1], value))
                regrets.append(100 * (np.nanmax(scores) - np.array(best)))
            report.add_row(name, *(_mean(np.array(regrets)[:, count]) for count in after))
        console.print(report)


def _state(value: float) -> optuna.trial.TrialState:
    return optuna.trial.TrialState.FAIL if np.isnan(value) else optuna.trial.TrialState.COMPLETE


PARETO: dict[str, MakeSampler] = {
    "RandomSampler": lambda space, seed: RandomSampler(seed=seed),
    "TPESampler, independent": lambda space, seed: TPESampler(seed=seed, multivariate=False),
    "TPESampler, multivariate": lambda space, seed: TPESampler(seed=seed, multivariate=True),
    "NSGAIISampler, population 20": lambda space, seed: NSGAIISampler(seed=seed, population_size=20),
    "NSGAIIISampler, population 20": lambda space, seed: NSGAIIISampler(seed=seed, population_size=20),
    "evolution": EvolutionSampler,
    "predictor": PredictorSampler,
    "priorband": BEGUN["priorband"],
}


def pareto(arguments: argparse.Namespace, console: Console) -> None:
    """Accuracy and latency: which share of the true front's hypervolume the trials cover.

    The reference point is the median of both: what is worse than half of the space in either, nobody asks for.
    """
    table = nas_bench_graph(arguments.graph, data_folder())
    points = np.stack([table.columns["valid_perf"], -table.columns["latency_s"]], axis=1)
    reference = np.median(points, axis=0)
    whole = hypervolume(points, reference)
    report = RichTable(title=f"{table.title}: accuracy and latency, {arguments.trials} trials, {arguments.seeds} seeds")
    for column in ("sampler", "share of the front's hypervolume, %", "ms a trial"):
        report.add_column(column)
    for name, make in PARETO.items():
        shares = []
        began = time.process_time()
        for seed in range(arguments.seeds):
            rows = front_search(table, make(table.space, seed), arguments.trials)
            shares.append(100 * hypervolume(points[rows], reference) / whole)
        spent = 1000 * (time.process_time() - began) / arguments.seeds / arguments.trials
        report.add_row(name, f"{np.mean(shares):.1f} ± {np.std(shares, ddof=1):.1f}", f"{spent:.1f}")
    console.print(report)


def front_search(table: Table, sampler: BaseSampler, trials: int) -> list[int]:
    """The rows that a study with two objectives asks for."""
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    rows = []
    for _ in range(trials):
        trial = study.ask()
        row = table.row(table.space.suggest(trial))
        if row is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            rows.append(row)
            study.tell(trial, [table.columns["valid_perf"][row], table.columns["latency_s"][row]])
    return rows


class FortyChoices(SearchSpace):
    """Forty choices of six options each, in eight layers of five classes."""

    name = "forty"
    version = 1
    levels = frozenset()

    def __init__(self) -> None:
        super().__init__(
            [Choice(f"layer{layer}.class{kind}", tuple("abcdef")) for layer in range(8) for kind in range(5)]
        )

    def build(self, architecture: Architecture, task: object) -> object:
        raise NotImplementedError

    def operations(self, architecture: Architecture) -> list[Operation]:
        return [Operation("input", "input"), Operation("output", "output", ("input",), tuple(architecture))]


def overhead(arguments: argparse.Namespace, console: Console) -> None:
    """CPU milliseconds of one ask and its forty suggestions, and of the first ask of a worker that has just started."""
    space = FortyChoices()
    report = RichTable(title="CPU ms of an ask with 40 parameters (in brackets: the first ask of a new worker)")
    report.add_column("sampler")
    sizes = (10, 100, 1000)
    for size in sizes:
        report.add_column(f"{size} trials", justify="right")
    for name, make in {**OPTUNAS, **OURS}.items():
        cells = []
        for size in sizes:
            study = optuna.create_study(direction="maximize", sampler=make(space, 0))
            filled(study, space, size)
            spent = [asking(study, space) for _ in range(6)]
            cells.append(f"{np.median(spent[1:]):.1f} ({spent[0]:.0f})")
        report.add_row(name, *cells)
    console.print(report)


def filled(study: optuna.Study, space: SearchSpace, size: int) -> None:
    """Give a study trials of random architectures, whose value is how many choices took their first option."""
    generator = np.random.default_rng(0)
    distributions = {
        choice.name: optuna.distributions.CategoricalDistribution(choice.options) for choice in space.choices
    }
    for _ in range(size):
        values = dict(space.sample(generator))
        score = sum(value == "a" for value in values.values()) + generator.normal()
        study.add_trial(optuna.create_trial(params=values, distributions=distributions, value=score))


def asking(study: optuna.Study, space: SearchSpace) -> float:
    """CPU milliseconds of one ask; the trial ends with a value."""
    began = time.process_time()
    trial = study.ask()
    architecture = space.suggest(trial)
    spent = 1000 * (time.process_time() - began)
    study.tell(trial, sum(value == "a" for value in architecture.values()))
    return spent


def main() -> None:
    """Run one of the five."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("search")
    one.add_argument("--graphs", nargs="+", default=["arxiv", "cora", "pubmed"])
    one.add_argument("--budget", type=int, default=400)
    one.add_argument("--seeds", type=int, default=30)
    one.add_argument("--first-seed", type=int, default=0, help="30: none of the seeds that defaults were chosen on")
    one.add_argument("--samplers", nargs="*", default=[], help="only those whose names hold one of these")
    one.set_defaults(run=search)
    few = commands.add_parser("priors")
    few.add_argument("--graphs", nargs="+", default=["arxiv", "cora", "pubmed", "citeseer", "computers", "photo"])
    few.add_argument("--budget", type=int, default=100)
    few.add_argument("--seeds", type=int, default=30)
    few.add_argument(
        "--first-seed", type=int, default=30, help="below 30 are those that priorband's defaults were chosen on"
    )
    few.set_defaults(run=priors)
    rate = commands.add_parser("beside")
    rate.add_argument("--graphs", nargs="+", default=["arxiv", "pubmed"])
    rate.add_argument("--budget", type=int, default=100)
    rate.add_argument("--seeds", type=int, default=20)
    rate.set_defaults(run=beside)
    two = commands.add_parser("pareto")
    two.add_argument("--graph", default="arxiv")
    two.add_argument("--trials", type=int, default=200)
    two.add_argument("--seeds", type=int, default=30)
    two.set_defaults(run=pareto)
    three = commands.add_parser("overhead")
    three.set_defaults(run=overhead)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    arguments.run(arguments, Console(width=160))


if __name__ == "__main__":
    main()
