"""Predictors on NAS-Bench-201, where the truth is known: Kendall tau on the architectures that they were not fitted to.

python benchmarks/predictors.py [--seeds 3]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table as RichTable
from samplers import data_folder
from scipy.stats import kendalltau

from automl_plugins import Architecture
from automl_plugins.estimators.predictors.base import Predictor
from automl_plugins.estimators.predictors.comparator import ComparatorPredictor
from automl_plugins.estimators.predictors.denoiser import DenoiserPredictor
from automl_plugins.estimators.predictors.ranker import RankerPredictor
from automl_plugins.estimators.predictors.ridge import RidgePredictor
from automl_plugins.estimators.predictors.trees import TreesPredictor
from automl_plugins.spaces.enumeration import enumerate_space
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.tables import Table, nas_bench_201

MakePredictor = Callable[[SearchSpace, int], Predictor]

PREDICTORS: dict[str, MakePredictor] = {
    "ridge": RidgePredictor,
    "trees": TreesPredictor,
    "ranker, squared error": lambda space, seed: RankerPredictor(space, seed, loss="squared"),
    "ranker, hinge": lambda space, seed: RankerPredictor(space, seed, loss="hinge"),
    "ranker, logistic": RankerPredictor,
    "comparator": ComparatorPredictor,
}
HELD_OUT = 3000


def measure(
    table: Table, make: MakePredictor, target: np.ndarray, truth: np.ndarray, size: int, seeds: int
) -> tuple[np.ndarray, float]:
    """Kendall tau for each seed, and CPU seconds of fitting and predicting."""
    architectures: list[Architecture] = list(enumerate_space(table.space))
    rows = np.array([table.row(architecture) for architecture in architectures])
    taus = []
    began = time.process_time()
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(architectures))
        fitted, held_out = order[:size], order[size : size + HELD_OUT]
        predictor = make(table.space, seed)
        predictor.fit([architectures[index] for index in fitted], target[rows[fitted]])
        predicted = predictor.predict([architectures[index] for index in held_out])
        taus.append(kendalltau(predicted, truth[rows[held_out]]).statistic)
    return np.array(taus), (time.process_time() - began) / seeds


def main() -> None:
    """Run them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    console = Console(width=140)
    table = nas_bench_201("cifar10", data_folder())
    truth = table.columns["c10_test"]
    sizes = (50, 100, 424)
    report = RichTable(title=f"NAS-Bench-201: Kendall tau on {HELD_OUT} others, mean of {seeds} seeds (CPU s a fit)")
    report.add_column("predictor")
    for size in sizes:
        report.add_column(f"fitted to {size}", justify="right")
    for name, make in PREDICTORS.items():
        cells = []
        for size in sizes:
            taus, seconds = measure(table, make, truth, truth, size, seeds)
            cells.append(f"{taus.mean():.3f} ± {taus.std(ddof=1):.3f} ({seconds:.1f})")
        report.add_row(name, *cells)
        console.print(f"{name}: {', '.join(cells)}", style="dim")
    console.print(report)
    estimates = table.columns["oneshot_acc"]
    console.print(f"one-shot estimates as they are: tau {kendalltau(estimates, truth).statistic:.3f}")
    for size in (500, 1000):
        taus, seconds = measure(table, DenoiserPredictor, estimates, truth, size, seeds)
        console.print(
            f"denoiser fitted to {size} of them: {taus.mean():.3f} ± {taus.std(ddof=1):.3f} ({seconds:.1f} s)"
        )


if __name__ == "__main__":
    main()
