"""Estimators where the truth is known: published scores of two tables, RoBoT, and our own scores of built networks.

python benchmarks/estimators.py tables
python benchmarks/estimators.py robot [--seeds 100]     # weighs published scores by few evaluations
python benchmarks/estimators.py built --set nas-bench-201 nas-bench-graph [--networks 200] [--report]

Scores of built networks are lines in benchmarks/results, so the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import built
import numpy as np
import optuna
from rich.console import Console
from rich.table import Table as RichTable
from samplers import data_folder

from automl_plugins.estimators.make import FunctionEstimator
from automl_plugins.estimators.rank_sum import log_rank_sum
from automl_plugins.estimators.scoring import kendall
from automl_plugins.samplers.robot import RobotSampler
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice
from automl_plugins.spaces.operation import Operation
from automl_plugins.tables import Table, nas_bench_201, transnas_bench_101
from automl_plugins.tables.files import numbers, read_csv
from automl_plugins.tables.table import TableSpace

SHOWN = ("params", "flops", "nwot", "jacov", "synflow", "zen", "grad_norm", "snip", "fisher", "grasp", "epe_nas")
DRAWS = 500
MOST_PLACE = 5
"""The mean place that RoBoT is to come to within 20 trials."""
LEAST_TAU = 0.5
"""What our NASWOT is to have on built cells of NAS-Bench-201."""
MISSING = -1e7
"""Values from here down stand for what was not computed."""


def scores_of(path: Path, task: str | None = None) -> tuple[list[str], dict[str, np.ndarray]]:
    """The digits of each cell, and its scores by name; nan: not computed."""
    content = read_csv(path)
    rows = [row for row, each in enumerate(content["ops"]) if task is None or content["task"][row] == task]
    texts = {name: column for name, column in content.items() if name not in ("ops", "task", "val_accuracy")}
    columns = {name: numbers(column)[rows] for name, column in texts.items()}
    columns = {name: np.where(column > MISSING, column, np.nan) for name, column in columns.items()}
    return [content["ops"][row] for row in rows], {
        name: column for name, column in columns.items() if np.isfinite(column).mean() > 0.5
    }


def cases(folder: Path) -> dict[str, tuple[Table, list[str], dict[str, np.ndarray]]]:
    """The tables with their published scores."""
    found = {}
    for data, short in (("cifar10", "cifar10"), ("imagenet16", "in16")):
        path = folder / "tables" / "nas_bench_201" / f"nb201_zc_{short}.csv.gz"
        found[f"NAS-Bench-201, {data}"] = nas_bench_201(data, folder), *scores_of(path)
    path = folder / "tables" / "transnas_bench_101" / "tnb101_micro_zc.csv.gz"
    task = "segmentsemantic"
    found["TransNAS-Bench-101 micro, segmentation"] = transnas_bench_101(task, folder), *scores_of(path, task)
    return found


def best_of(score: np.ndarray | None, truth: np.ndarray, count: int) -> np.ndarray:
    """The true score of the best by another one (None: by chance) of so many drawn at random, `DRAWS` times."""
    found = []
    for seed in range(DRAWS):
        drawn = np.random.default_rng(seed).choice(len(truth), min(count, len(truth)), replace=False)
        found.append(truth[drawn[0 if score is None else np.nanargmax(score[drawn])]])
    return np.array(found)


def judge_tables(folder: Path) -> None:
    """Print tau and the best of 100 and of 1,000 for every published score."""
    for title, (table, digits, scores) in cases(folder).items():
        rows = [table.rows[each] for each in digits]
        truth = table.columns[table.test][rows]
        shown = {name: scores[name] for name in SHOWN if name in scores}
        for together in (("nwot", "jacov", "flops"), ("jacov", "flops")):
            if set(together) <= set(scores):
                shown[f"ranks: {', '.join(together)}"] = log_rank_sum(np.stack([scores[name] for name in together]))
        result = RichTable(title=f"{title}, {len(truth):,} cells, best {truth.max():.2f}", title_justify="left")
        for column in ("score", "cells", "tau", "best of 100", "regret", "best of 1,000", "regret"):
            result.add_column(column, justify="right")
        for name, score in (*shown.items(), ("random", None)):
            known = truth if score is None else score
            cells = [name, f"{np.isfinite(known).sum():,}"]
            cells += ["" if score is None else f"{kendall_of_many(score, truth):.3f}"]
            for count in (100, 1000):
                found = best_of(score, truth, count)
                cells += [f"{found.mean():.2f} ± {found.std():.2f}", f"{truth.max() - found.mean():.2f}"]
            result.add_row(*cells)
        Console(width=140).print(result)


def kendall_of_many(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's tau-b of at most 3,000 of them: all pairs of 9,445 would be 90 million."""
    chosen = np.random.default_rng(0).permutation(len(first))[:3000]
    return kendall(first[chosen], second[chosen])


class ScoredCells(TableSpace):
    """The cells of a table that have published scores, as one choice."""

    name, version = "scored-cells", 1

    def __init__(self, digits: list[str]) -> None:
        super().__init__([Choice("cell", tuple(digits))])

    def operations(self, architecture: Architecture) -> list[Operation]:
        return [Operation("cell", str(architecture["cell"]), (), ("cell",))]

    def key(self, architecture: Architecture) -> str:
        return str(architecture["cell"])


def published(scores: dict[str, float]) -> FunctionEstimator:
    """The published scores of cells as an estimator."""
    return FunctionEstimator(lambda architecture: scores[str(architecture["cell"])])


def places_found(
    make: Callable[[int], optuna.samplers.BaseSampler],
    space: ScoredCells,
    truth: dict[str, float],
    seeds: int,
    trials: int,
) -> np.ndarray:
    """The true place of the best of so many trials, for each seed."""
    order = sorted(truth, key=truth.__getitem__, reverse=True)
    place = {cell: number for number, cell in enumerate(order, start=1)}
    found = []
    for seed in range(seeds):
        study = optuna.create_study(direction="maximize", sampler=make(seed))
        study.optimize(lambda trial: truth[str(space.suggest(trial)["cell"])], n_trials=trials)
        found.append(min(place[trial.params["cell"]] for trial in study.trials))
    return np.array(found)


def judge_robot(folder: Path, seeds: int, trials: int) -> None:
    """Print the place that RoBoT comes to on TransNAS segmentation, beside random search's, by two truths."""
    title = "TransNAS-Bench-101 micro, segmentation"
    table, digits, scores = cases(folder)[title]
    content = read_csv(folder / "tables" / "transnas_bench_101" / "tnb101_micro_zc.csv.gz")
    own = [row for row, task in enumerate(content["task"]) if task == "segmentsemantic"]
    truths = {
        "the accuracy published with the scores": numbers(content["val_accuracy"])[own],
        "the table's accuracy": table.columns[table.test][[table.rows[each] for each in digits]],
    }
    space = ScoredCells(digits)
    estimators = [published(dict(zip(digits, column, strict=True))) for column in scores.values()]
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    console = Console(width=140)
    console.print(f"{title}: {', '.join(scores)}; places of {len(digits)} after {trials} trials, {seeds} seeds")
    generator = np.random.default_rng(0)
    chance = np.array([1 + generator.permutation(len(digits))[:trials].min() for _ in range(2000)])
    console.print(f"random search: mean {chance.mean():.1f}, median {np.median(chance):.0f}")
    means = []
    for name, column in truths.items():
        truth = dict(zip(digits, column.tolist(), strict=True))
        began = time.process_time()
        found = places_found(lambda seed: RobotSampler(space, seed, estimators), space, truth, seeds, trials)
        spent = (time.process_time() - began) / seeds
        error = found.std() / np.sqrt(seeds)
        median = np.median(found)
        console.print(
            f"RoBoT, by {name}: mean {found.mean():.1f} ± {error:.1f}, median {median:.0f}, {spent:.1f} CPU s"
        )
        means.append(found.mean())
    if means[0] > MOST_PLACE:
        raise SystemExit(1)


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("tables", "robot", "built"))
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--set", nargs="+", choices=list(built.SETS), default=list(built.SETS))
    parser.add_argument("--networks", type=int, default=200)
    parser.add_argument("--report", action="store_true", help="score nothing, print what is there")
    given = parser.parse_args()
    folder = data_folder()
    if given.part == "tables":
        judge_tables(folder)
    elif given.part == "built":
        taus = {name: built.run(name, folder, given.networks, not given.report) for name in given.set}
        if taus.get("nas-bench-201", {}).get("naswot", 1.0) < LEAST_TAU:
            raise SystemExit(1)
    else:
        judge_robot(folder, given.seeds, given.trials)


if __name__ == "__main__":
    main()
