"""A store of trained networks: the truth that short trials, estimators and strategies are judged by.

    python benchmarks/store.py gnn-plus --data esol cluster
    python benchmarks/store.py gnn-plus --data esol cluster --epochs 8     # trials of a short budget, beside them
    python benchmarks/store.py gnn-plus --data esol cluster --epochs 8 --recipe old --seeds 1
    python benchmarks/store.py gnn-plus --data esol cluster --report
    python benchmarks/store.py auto-deeplab --data brain --options '{"layers": 6, "blocks": 4, "stem": [16, 32]}'

Architectures are drawn within the task and the default limits, as a study's are, always the same ones, and each is
trained over seeds; every epoch's validation score is kept, and the test metrics of the last. `--report` prints how well
trials rank (Kendall's tau-b with the mean of the full trainings, 95 % intervals by a bootstrap over architectures), and
how well one seed of the truth ranks the other.
A training is a line in benchmarks/results, so the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import random_draws
import segmentation_quality
import torch
from measuring import commit, cpu
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau

from automl_plugins import Architecture, SearchSpace, registry
from automl_plugins.measures.params import params
from automl_plugins.training import fit as training
from automl_plugins.training.lightning import pl
from gnn_space.modules import GraphRegression

RESULTS = random_draws.RESULTS
Setting = random_draws.Setting | segmentation_quality.Setting
SETTINGS: dict[str, Setting] = {**random_draws.SETTINGS, **segmentation_quality.SETTINGS}
RECIPES = ("new", "old")
FULL = {"esol": 60, "bbbp": 40, "cluster": 15, "brain": 15}
"""Epochs of a full training."""
OLD_RATE = {GraphRegression: 1e-3}
"""Learning rates of modules whose defaults have changed."""
DRAWS = 1_000
"""Of the bootstrap."""


class Curve(pl.Callback):
    """The validation scores of all epochs."""

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor
        self.scores: list[float] = []

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.scores.append(round(float(trainer.callback_metrics[self.monitor]), 6))


def drawn(space: SearchSpace, count: int) -> list[Architecture]:
    """Different architectures, always the same ones; more of them begin with fewer."""
    generator, found = np.random.default_rng(0), dict[Architecture, None]()
    while len(found) < count:
        found[space.sample(generator)] = None
    return list(found)


def trained(
    space: SearchSpace, architecture: Architecture, data: Any, setting: Setting, seed: int, epochs: int, recipe: str
) -> dict[str, Any]:
    """One training: its curve, test metrics of its last epoch, and what it took."""
    began = time.process_time()
    with training.seeded(seed):
        network = space.network(architecture, data.task)
        module = setting.module(network, data.task)
        if recipe == "old":
            module.schedule = "constant"
            module.learning_rate = OLD_RATE.get(type(module), module.learning_rate)
        curve = Curve(module.monitor)
        options = {"max_epochs": epochs, "accelerator": "cpu"}
        result = training.train(module, data, module.monitor, module.direction, options, [curve])
        test = training.test(module, data, options)
    return {
        "curve": curve.scores,
        "score": result.score,
        "test": test,
        "params": params(network),
        "cpu_seconds": round(time.process_time() - began, 2),
    }


def fill(space: SearchSpace, name: str, options: argparse.Namespace, store: Path) -> None:
    """Run the trainings that the store lacks."""
    setting, epochs = SETTINGS[name], options.epochs or FULL[name]
    data = setting.data()
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    architectures = drawn(space.within(data.task), options.architectures)
    done = {(line["architecture"], line["seed"], line["epochs"]) for line in lines(store, space, options, name)}
    for seed in range(options.seeds):
        for number, architecture in enumerate(architectures):
            if (number, seed, epochs) in done:
                continue
            line = {
                "space": space.name,
                "version": space.version,
                "options": options.options,
                "data": name,
                "recipe": options.recipe,
                "architecture": number,
                "choices": dict(architecture),
                "drawn": "within",
                "seed": seed,
                "epochs": epochs,
                **trained(space, architecture, data, setting, seed, epochs, options.recipe),
                "commit": commit(),
                "cpu": cpu(),
            }
            with store.open("a") as file:
                file.write(json.dumps(line) + "\n")
                file.flush()
                os.fsync(file.fileno())


def lines(
    store: Path, space: SearchSpace, options: argparse.Namespace, name: str, recipe: str | None = None
) -> list[dict[str, Any]]:
    """The trainings of a data set that the store has."""
    every = [json.loads(line) for line in store.read_text().splitlines()] if store.exists() else []
    wanted = {
        "space": space.name,
        "version": space.version,
        "options": options.options,
        "data": name,
        "drawn": "within",
        "recipe": options.recipe if recipe is None else recipe,
    }
    return [line for line in every if all(line[key] == value for key, value in wanted.items())]


def scores(
    several: Iterable[dict[str, Any]], epochs: int, seed: int | None = None, best: Callable[..., float] | None = None
) -> dict[int, float]:
    """The last epoch's score of each architecture, over its seeds in the mean; nan: one of them diverged.

    Args:
        several: lines of the store.
        epochs: of the trainings.
        seed: of the trainings; None: all.
        best: of a curve, in place of the last.
    """
    found: dict[int, list[float]] = {}
    for line in several:
        if line["epochs"] == epochs and seed in (None, line["seed"]):
            found.setdefault(line["architecture"], []).append(float(best(line["curve"]) if best else line["curve"][-1]))
    return {number: float(np.mean(each)) for number, each in found.items()}


def tau(one: dict[int, float], other: dict[int, float], worst: float) -> tuple[int, float, float, float]:
    """How many architectures both have, Kendall's tau-b, and its 95 % interval."""
    common = sorted(one.keys() & other.keys())
    pairs = np.array([[np.nan_to_num(each[number], nan=worst) for each in (one, other)] for number in common])
    random = np.random.default_rng(0)
    resampled = [pairs[random.integers(len(pairs), size=len(pairs))] for _ in range(DRAWS)]
    low, high = np.nanquantile([kendalltau(*each.T).statistic for each in resampled], (0.025, 0.975))
    return len(common), float(kendalltau(*pairs.T).statistic), float(low), float(high)


def report(space: SearchSpace, names: Sequence[str], options: argparse.Namespace, store: Path) -> Table:
    """The table of taus: one seed of the truth with another, and trials with the truth."""
    table = Table(title=f"{space.name}: Kendall's tau-b with full trainings")
    for column in ("data", "ranked by", "networks", "tau", "95 %"):
        table.add_column(column)
    for name in names:
        full, truth_lines = FULL[name], lines(store, space, options, name)
        lower = SETTINGS[name].module(torch.nn.Identity(), _task(name)).direction == "minimize"
        worst, best = (1e9, np.nanmin) if lower else (-1e9, np.nanmax)
        truth = scores(truth_lines, full)
        ranked = {"one seed of the truth, by the other": (scores(truth_lines, full, 0), scores(truth_lines, full, 1))}
        for recipe in RECIPES:
            several = lines(store, space, options, name, recipe)
            for epochs in sorted({line["epochs"] for line in several} - {full}):
                ranked[f"{epochs} epochs, {recipe} recipe"] = (
                    scores(several, epochs, 0, best if recipe == "old" else None),
                    truth,
                )
        for label, (one, other) in ranked.items():
            if len(one.keys() & other.keys()) > 1:
                count, value, low, high = tau(one, other, worst)
                table.add_row(name, label, str(count), f"{value:.3f}", f"{low:.3f} to {high:.3f}")
    return table


def _task(name: str) -> Any:
    data = SETTINGS[name].data()
    data.setup("fit")
    return data.task


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space", help="the space's registered name")
    parser.add_argument("--data", nargs="+", choices=list(FULL), required=True)
    parser.add_argument("--options", type=json.loads, default={}, help="arguments of the space, as JSON")
    parser.add_argument("--architectures", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, help="of a training; those of a full one where left out")
    parser.add_argument("--recipe", choices=RECIPES, default="new", help="of the trainings: the modules' own, or `old`")
    parser.add_argument("--report", action="store_true", help="train nothing, print what is there")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    RESULTS.mkdir(exist_ok=True)
    space = registry.load("spaces", options.space)(**options.options)
    store = RESULTS / f"store_{space.name}.jsonl"
    for name in () if options.report else options.data:
        fill(space, name, options, store)
    Console(width=140).print(report(space, options.data, options, store))


if __name__ == "__main__":
    main()
