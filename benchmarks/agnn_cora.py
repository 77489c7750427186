"""AGNN as the paper has it, on Cora: its controller with and without parameter sharing, random search, TPE.

python benchmarks/agnn_cora.py [--seconds 300] [--repeats 3] [--folder runs/agnn-cora]   the searches, and the table
python benchmarks/agnn_cora.py --ranking                                                 what a shared score is worth

Every search has the same processor time, asks and weights' files included. Its best by validation is trained anew over
three seeds and tested, once, with the weights that validated best. Each search is kept in the folder as it ends: the
same command goes on, and prints what there is.

Candidates are trained for `FULL` steps; with sharing, for `SHORT` where they inherit enough (`sharing.ENOUGH`).
`--ranking` takes architectures that the controller with sharing has trained for `SHORT` steps, and compares its scores,
and those of equally short trainings without sharing, with validation after full ones: Kendall's tau.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau

from automl_plugins import Architecture
from automl_plugins.samplers import ControllerSampler
from automl_plugins.studies.sharing import ENOUGH, WeightPool
from automl_plugins.system.files import write_whole
from automl_plugins.training import fit as training
from gnn_space import AGNNSpace
from gnn_space.data import NpzGraphData
from gnn_space.modules import NodeClassification

STEPS_PER_EPOCH = 10
FULL, SHORT = 300, 30  # optimizer steps of a candidate: the paper's 300, and what a candidate with shared weights gets
# The paper's space has up to 16 heads of 256 channels; one training of such a layer takes most of a search's time.
SPACE = AGNNSpace(layers=2, hidden_channels=(4, 8, 16, 32, 64), heads=(1, 2, 4, 8), max_parameters=100_000)
SEEDS = (1000, 2000, 3000)


@dataclass(frozen=True)
class Arm:
    """A way to search: what proposes, whether candidates inherit weights."""

    sampler: Callable[[int], BaseSampler]
    sharing: bool = False


ARMS = {
    "random": Arm(lambda seed: RandomSampler(seed=seed)),
    "TPE": Arm(lambda seed: TPESampler(seed=seed)),
    "controller": Arm(lambda seed: ControllerSampler(SPACE, seed)),
    "controller, sharing": Arm(lambda seed: ControllerSampler(SPACE, seed), sharing=True),
}


@dataclass
class Run:
    """The outcome of one search."""

    arm: str
    repeat: int
    seconds: float
    trained: int
    inherited: float
    architecture: dict[str, Any]
    validation: list[float]
    test: list[float]
    trials: list[tuple[dict[str, Any], float, float]]  # architecture, score, share inherited


class Cora:
    """Trains networks on Cora."""

    def __init__(self, path: Path) -> None:
        self.data = NpzGraphData(path, steps_per_epoch=STEPS_PER_EPOCH, sparse_features=True)
        self.data.prepare_data()
        self.task = self.data.task

    def train(
        self, architecture: Architecture, seed: int, steps: int, share: tuple[WeightPool, int, set[int]] | None = None
    ) -> tuple[float, NodeClassification, float]:
        """The best validation accuracy, the module with the weights of then, and the share that was inherited."""
        inherited = 0.0
        with training.seeded(seed):
            network = SPACE.network(architecture, self.task)
            if share is not None:
                pool, number, complete = share
                layers = SPACE.shared_weights(network, architecture)
                inherited = pool.inherit(layers, complete)
                steps = SHORT if inherited >= ENOUGH else steps
            module = NodeClassification(network, self.task, learning_rate=5e-3, weight_decay=5e-4)
            options = {"max_epochs": steps // STEPS_PER_EPOCH, "accelerator": "cpu"}
            result = training.train(module, self.data, module.monitor, module.direction, options, keep_weights=True)
        if share is not None:
            pool.keep(layers, number)
        return result.score, module, inherited

    def test(self, module: NodeClassification) -> float:
        """The test accuracy."""
        return training.test(module, self.data, {"accelerator": "cpu"})["test_accuracy"]


def search(cora: Cora, name: str, repeat: int, seconds: float) -> Run:
    """Search for so much processor time, train the best anew, test the winner."""
    arm = ARMS[name]
    began = time.process_time()
    study = optuna.create_study(direction="maximize", sampler=arm.sampler(repeat))
    scores: dict[Architecture, float] = {}
    shares: list[float] = []
    complete: set[int] = set()
    with tempfile.TemporaryDirectory() as folder:
        pool = WeightPool(Path(folder))
        while time.process_time() - began < seconds:
            trial = study.ask()
            architecture = SPACE.suggest(trial)
            if SPACE.num_parameters(architecture, cora.task) > (SPACE.max_parameters or 0):
                study.tell(trial, state=TrialState.PRUNED)
                continue
            if architecture not in scores:
                share = (pool, trial.number, complete) if arm.sharing else None
                scores[architecture], _, inherited = cora.train(architecture, repeat, FULL, share)
                shares.append(inherited)
            study.tell(trial, scores[architecture])
            complete.add(trial.number)
    spent = time.process_time() - began
    winner = max(scores, key=lambda each: scores[each])
    trainings = [cora.train(winner, seed + repeat, FULL) for seed in SEEDS]
    return Run(
        arm=name,
        repeat=repeat,
        seconds=spent,
        trained=len(scores),
        inherited=statistics.fmean(shares),
        architecture=dict(winner),
        validation=[score for score, _, _ in trainings],
        test=[cora.test(module) for _, module, _ in trainings],
        trials=[(dict(each), score, share) for (each, score), share in zip(scores.items(), shares, strict=True)],
    )


def table(runs: list[Run]) -> Table:
    """Accuracies in percent: mean and deviation over the repeats of each search's mean over seeds."""
    shown = Table(title="Cora, accuracy in %, mean ± deviation over searches (of each, the mean of three trainings)")
    shown.add_column("search")
    for column in ("searches", "CPU s", "trained", "inherited", "validation", "test", "deviation over seeds"):
        shown.add_column(column, justify="right")
    for name in ARMS:
        own = [run for run in runs if run.arm == name]
        if not own:
            continue
        spread = statistics.fmean(100 * statistics.stdev(run.test) for run in own)
        means = ([100 * statistics.fmean(getattr(run, what)) for run in own] for what in ("validation", "test"))
        shown.add_row(
            name,
            str(len(own)),
            f"{statistics.fmean(run.seconds for run in own):.0f}",
            f"{statistics.fmean(run.trained for run in own):.0f}",
            f"{statistics.fmean(run.inherited for run in own):.2f}",
            *(f"{np.mean(each):.1f} ± {np.std(each, ddof=1) if len(each) > 1 else 0.0:.1f}" for each in means),
            f"{spread:.1f}",
        )
    shown.caption = "published, as found by AGNN: 83.6 ± 0.3 without sharing, 82.7 ± 0.6 with it (test)"
    return shown


def ranking(cora: Cora, run: Run, count: int, console: Console) -> None:
    """Kendall's tau of short scores with full ones, with sharing and without."""
    startup = 10
    tried = [trial for trial in run.trials[startup:] if trial[2] >= ENOUGH]
    chosen = [tried[place] for place in np.linspace(0, len(tried) - 1, min(count, len(tried))).astype(int)]
    shared = [score for _, score, _ in chosen]
    architectures = [SPACE.architecture(values) for values, _, _ in chosen]
    short = [cora.train(each, 5000, SHORT)[0] for each in architectures]
    full = [cora.train(each, 6000, FULL)[0] for each in architectures]
    for name, scores in (("shared", shared), ("not shared", short)):
        tau = kendalltau(scores, full)
        means = (f"{100 * statistics.fmean(each):.1f} %" for each in (scores, full))
        console.print(
            f"{SHORT} steps, {name}: tau {tau.statistic:.2f} (p = {tau.pvalue:.2g}) with {FULL} steps; "
            f"mean validation {' and '.join(means)}; {len(chosen)} architectures"
        )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0, help="processor seconds of a search")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("runs/agnn-cora"))
    parser.add_argument("--searches", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--ranking", action="store_true")
    parser.add_argument("--architectures", type=int, default=30, help="of --ranking")
    options = parser.parse_args()
    home = os.environ.get("AUTOML_PLUGINS_DATA")
    path = (Path(home) if home else Path(__file__).parents[2] / "shared" / "data") / "graph" / "cora.npz"
    console = Console(width=120)
    if not path.exists():
        console.print(f"skipped: there is no {path}; AUTOML_PLUGINS_DATA names the folder that has graph/cora.npz")
        return
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    cora = Cora(path)
    runs = []
    for repeat in range(options.repeats):
        for name in options.searches:
            kept = options.folder / f"{name.replace(', ', '-')}-{repeat}.json"
            if not kept.exists() and not options.ranking:
                write_whole(kept, json.dumps(asdict(search(cora, name, repeat, options.seconds))))
                console.print(f"{name}, repeat {repeat}: done", style="dim")
            if kept.exists():
                runs.append(Run(**json.loads(kept.read_text(encoding="utf-8"))))
    if not options.ranking:
        console.print(table(runs))
        return
    shared = [run for run in runs if ARMS[run.arm].sharing and run.repeat == 0]
    if not shared:
        console.print(f"--ranking needs the searches first: the same command without it, --folder {options.folder}")
        return
    ranking(cora, shared[0], options.architectures, console)


if __name__ == "__main__":
    main()
