"""Resident memory of one process over the trials of a study: it must be flat.

Runs trials as a study does (storage, queue, training, pruner), in this process, and reads the resident
memory and the open files after each. The first trials warm up allocators and caches. The growth is the
median slope over all pairs of later trials (Theil and Sen's), which one library that is loaded late does
not sway. Exit code 1 where it is above `--most` MiB a trial.
"""

from __future__ import annotations

import argparse
import gc
import logging
import tempfile
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import optuna
import psutil
import torch
from rich.console import Console
from rich.table import Table

from automl_plugins.studies.deaths import Deaths
from automl_plugins.studies.study import Study
from automl_plugins.studies.trial import TrialRunner
from automl_plugins.studies.trial_queue import Claim, TrialQueue
from gnn_space import AGNNSpace
from gnn_space.data import ClusterData

MEBIBYTE = 2**20


def measure(pruner: str | None, trials: int, folder: Path) -> tuple[list[float], list[int]]:
    """Resident MiB and open files after each trial."""
    process = psutil.Process()
    memory: list[float] = []
    files: list[int] = []

    class Watched(TrialRunner):
        """Looks at its process after each trial."""

        def run(self, queue: TrialQueue, claim: Claim, deaths: Deaths) -> None:
            super().run(queue, claim, deaths)
            memory.append(process.memory_info().rss / MEBIBYTE)
            files.append(process.num_fds())

    # Networks of one size: the largest so far would raise the memory, and be no leak.
    sizes = {
        f"layer{layer}.{name}": value for layer in range(2) for name, value in (("hidden_channels", 8), ("heads", 2))
    }
    sampler = optuna.samplers.RandomSampler(seed=0) if pruner is None else optuna.samplers.TPESampler(seed=0)
    study = Study(
        AGNNSpace(layers=2),
        ClusterData(num_train=4, num_val=2, num_test=1, batch_size=2),
        folder,
        trials=trials,
        sampler=optuna.samplers.PartialFixedSampler(sizes, sampler),
        pruner=pruner,
        trainer={"max_epochs": 3, "accelerator": "cpu"},
        random_search=False,
        references=[],
        finalists=1,
        seeds=1,
    )
    with mock.patch("automl_plugins.studies.study.TrialRunner", Watched):
        study.run()
    return memory, files


def main() -> int:
    """Run the benchmark; 1 where memory grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--warm-up", type=int, default=20)
    parser.add_argument("--most", type=float, default=0.1, help="MiB a trial")
    options = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    table = Table(title=f"Resident memory of a study of {options.trials} trials, in MiB")
    for column in (
        "pruner",
        "after 5",
        f"after {options.warm_up}",
        "after the last",
        "MiB a trial",
        "open files, 5th and last",
    ):
        table.add_column(column, justify="right")
    worst = 0.0
    # Twice the first: what the first study of a process loads is not what its trials keep.
    for pruner in (None, "MedianPruner", None):
        gc.collect()
        with tempfile.TemporaryDirectory() as name:
            memory, files = measure(pruner, options.trials, Path(name))
        late = memory[options.warm_up :]
        pairs = [(first, second) for second in range(len(late)) for first in range(second)]
        slopes = [(late[second] - late[first]) / (second - first) for first, second in pairs]
        slope = float(np.median(slopes))
        worst = max(worst, slope)
        numbers = (memory[4], memory[options.warm_up - 1], memory[-1])
        table.add_row(
            pruner or "none", *(f"{number:.1f}" for number in numbers), f"{slope:.3f}", f"{files[4]}, {files[-1]}"
        )
    Console(width=100).print(table)
    return int(worst > options.most)


if __name__ == "__main__":
    raise SystemExit(main())
