"""A graph hypernetwork's three uses, judged on a store of trained networks: scores, embeddings, initial weights.

    python benchmarks/ghn.py gnn-plus --data esol
    python benchmarks/ghn.py gnn-plus --data esol --steps 2000 --folder runs/ghn    # kept there, and taken from there

The hypernetwork is trained on random architectures of the space, drawn apart from the store's. Kendall's tau-b is with
the mean validation score of the store's full trainings, with 95 % intervals by a bootstrap over architectures.
Regressions are fitted to nine tenths of the architectures and predict the rest, ten times over. `one epoch` is the
first validation of the store's own trainings. A warm start and a training from scratch, of the same network on the same
seed, are compared by the epochs until each has reached the worse one of their last scores.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import store
import torch
from rich.console import Console
from rich.table import Table

from automl_plugins import Architecture, Project, registry
from automl_plugins.estimators import Context, Estimator
from automl_plugins.estimators.ghn import GhnEstimator
from automl_plugins.estimators.predictors.base import Predictor
from automl_plugins.estimators.predictors.embedded import GhnEmbeddingPredictor
from automl_plugins.estimators.predictors.ridge import RidgePredictor
from automl_plugins.estimators.size import ParamsEstimator

FOLDS = 10


def held_out(predictor: Predictor, architectures: Sequence[Architecture], truth: np.ndarray) -> np.ndarray:
    """The prediction of each architecture by a fit to those of the other folds."""
    found = np.zeros(len(architectures))
    order = np.random.default_rng(0).permutation(len(architectures))
    for fold in range(FOLDS):
        out, known = order[fold::FOLDS], np.delete(order, np.s_[fold::FOLDS])
        predictor.fit([architectures[place] for place in known], truth[known])
        found[out] = predictor.predict([architectures[place] for place in out])
    return found


def truths(project: Project, options: argparse.Namespace) -> tuple[list[Architecture], dict[str, np.ndarray]]:
    """The store's architectures, and their scores, the higher the better: full trainings, and one epoch of them."""
    space, name = project.space, options.data
    lines = store.lines(store.RESULTS / f"store_{space.name}.jsonl", space, options, name)
    full = store.FULL[name]
    of = {"full": store.scores(lines, full), "one epoch": store.scores(lines, full, best=lambda curve: curve[0])}
    chosen = [number for number, score in sorted(of["full"].items()) if np.isfinite(score)]
    drawn = store.drawn(space.within(project.task), max(chosen) + 1)
    for line in lines:
        if dict(drawn[line["architecture"]]) != line["choices"]:
            raise SystemExit(f"architecture {line['architecture']} of the store is another one today")
    return [drawn[number] for number in chosen], {
        label: project.sign * np.array([each[number] for number in chosen]) for label, each in of.items()
    }


def ranked(context: Context, ghn: GhnEstimator, folder: str, options: argparse.Namespace) -> Table:
    """The taus."""
    architectures, truth = truths(context.training, options)
    columns: dict[str, tuple[np.ndarray, float]] = {"one epoch": (truth["one epoch"], np.nan)}

    def scores(label: str, estimator: Estimator) -> None:
        began = time.process_time()
        estimates = estimator.estimate_all(architectures, context)
        spent = (time.process_time() - began) / len(architectures)
        columns[label] = np.array([each.score for each in estimates]), spent

    scores("predicted parameters", ghn)
    scores("params", ParamsEstimator())
    for label, predictor in (
        ("embedding", GhnEmbeddingPredictor(context.space, folder)),
        ("ridge on choices", RidgePredictor(context.space)),
    ):
        began = time.process_time()
        predictions = held_out(predictor, architectures, truth["full"])
        columns[label] = predictions, (time.process_time() - began) / len(architectures)
    table = Table(title=f"{context.space.name} on {options.data}: Kendall's tau-b with full trainings")
    for column in ("ranked by", "networks", "tau", "95 %", "CPU s a network"):
        table.add_column(column)
    for label, (column, spent) in columns.items():
        one, other = dict(enumerate(column)), dict(enumerate(truth["full"]))
        count, tau, low, high = store.tau(one, other, -1e9)
        table.add_row(
            label, str(count), f"{tau:.3f}", f"{low:.3f} to {high:.3f}", "" if np.isnan(spent) else f"{spent:.2f}"
        )
    return table


def warm_starts(context: Context, ghn: GhnEstimator, options: argparse.Namespace) -> Table:
    """Trainings from predicted parameters and from scratch."""
    project = context.training
    architectures, _ = truths(project, options)
    table = Table(title=f"{project.monitor} of {options.epochs} epochs; epochs until the worse one's last score")
    for column in ("network", "scratch: first, last", "warm: first, last", "scratch: epochs", "warm: epochs"):
        table.add_column(column)
    needed = []
    for number, architecture in enumerate(architectures[: options.warm]):
        curves = []
        for network in (context.network(architecture), ghn.network(architecture, context)):
            curve = store.Curve(project.monitor)
            project.train(network.train(), options.epochs, 0, [curve], keep_weights=False)
            curves.append(project.sign * np.array(curve.scores))
        equal = min(curve[-1] for curve in curves)
        needed.append([1 + int(np.argmax(curve >= equal)) for curve in curves])
        ends = [f"{abs(curve[0]):.3f}, {abs(curve[-1]):.3f}" for curve in curves]
        table.add_row(str(number), *ends, *map(str, needed[-1]))
    table.add_row("median", "", "", *(f"{value:g}" for value in np.median(needed, axis=0)))
    return table


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space", help="the space's registered name")
    parser.add_argument("--data", choices=list(store.FULL), required=True)
    parser.add_argument("--options", type=json.loads, default={}, help="arguments of the space, as JSON")
    parser.add_argument("--recipe", default="new", help="of the store's trainings")
    parser.add_argument("--steps", type=int, default=800, help="of the hypernetwork's training")
    parser.add_argument("--meta-batch", type=int, default=4, help="architectures of a step")
    parser.add_argument("--folder", help="where the hypernetwork is kept; a temporary one where left out")
    parser.add_argument("--warm", type=int, default=6, help="networks that are trained from it and from scratch")
    parser.add_argument("--epochs", type=int, default=20, help="of these trainings")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    setting = store.SETTINGS[options.data]
    trainer: dict[str, Any] = {"accelerator": "cpu", "max_epochs": options.epochs}
    space = registry.load("spaces", options.space)(**options.options)
    context = Context.of(Project(space, setting.data(), module=setting.module, trainer=trainer))
    console = Console(width=140)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or temporary
        ghn, began = GhnEstimator(folder, options.steps, options.meta_batch), time.process_time()
        ghn.hypernetwork(context)
        console.print(f"{options.steps} steps of the hypernetwork: {time.process_time() - began:.0f} CPU seconds")
        console.print(ranked(context, ghn, folder, options))
        console.print(warm_starts(context, ghn, options))


if __name__ == "__main__":
    main()
