"""Recipes of training, judged by how well one short trial tells networks apart: the defaults of modules come from here.

Random networks of the spaces and hand-made ones are trained with a trial's budget on two seeds, under each recipe. By
validation alone: Kendall's tau between the two seeds' rankings, and the deviation between seeds, in deviations between
networks. A training is read both ways, by its last epoch and by its best. Results are kept in a file of JSON lines: the
same command goes on where it stopped, network by network, so that an early end leaves all sets with as many.

    python benchmarks/recipe.py --networks 10 --minutes 60
    python benchmarks/recipe.py --sets esol --recipes constant cosine
    python benchmarks/recipe.py --networks 0        # the table alone
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau

from automl_plugins import Project, SearchSpace, Task, registry
from automl_plugins.training.fit import seeded
from automl_plugins.training.lightning import pl
from gnn_space import AGNNSpace, EGNASSpace, GNNPlusSpace, GraphClassification, GraphRegression, NodeClassification
from gnn_space.data.block_models import ClusterData
from gnn_space.data.molecules import SmilesTable
from gnn_space.data.npz import NpzGraphData

DATA = Path(os.environ.get("AUTOML_PLUGINS_DATA", Path(__file__).parents[2] / "shared" / "data")) / "graph"
STORE = Path(__file__).parent / "results" / "recipe.jsonl"
SEEDS = (0, 1)


@dataclass(frozen=True)
class Setting:
    """A data set, the networks that are ranked on it, and a trial's budget.

    Args:
        data: makes the datamodule.
        space: random networks are of it.
        module: the LightningModule, but for its schedule.
        references: hand-made networks, which are the first to be ranked.
        epochs: of a trial.
    """

    data: Callable[[], pl.LightningDataModule]
    space: SearchSpace
    module: Callable[..., pl.LightningModule]
    references: tuple[str, ...]
    epochs: int


def _molecules(name: str, column: str, **others: Any) -> pl.LightningDataModule:
    return SmilesTable(DATA / "molecules" / f"{name}.csv", "smiles", column, batch_size=64, **others)


_AGNN = AGNNSpace(layers=2, max_parameters=200_000)
_EGNAS = EGNASSpace(
    cells=2, nodes=3, node_channels=24, edge_channels=12, merge_node_channels=28, merge_edge_channels=14
)
_SINGLE: dict[str, Any] = {"steps_per_epoch": 5, "sparse_features": True}
SETTINGS = {
    "cora": Setting(
        partial(NpzGraphData, DATA / "cora.npz", **_SINGLE), _AGNN, NodeClassification, ("gcn", "gat", "graphsage"), 12
    ),
    "photo": Setting(
        partial(NpzGraphData, DATA / "amazon_photo.npz", steps_per_epoch=5),
        _AGNN,
        NodeClassification,
        ("gcn", "graphsage"),
        6,
    ),
    "esol": Setting(
        partial(_molecules, "esol", "logSolubility"), _EGNAS, GraphRegression, ("gcn", "gin", "gated-gcn"), 8
    ),
    "bbbp": Setting(
        partial(_molecules, "bbbp", "p_np", target="binary"),
        _EGNAS,
        GraphClassification,
        ("gcn", "gin", "gated-gcn"),
        4,
    ),
    "cluster": Setting(
        partial(ClusterData, 120, 60, 60, batch_size=8),
        _EGNAS,
        partial(NodeClassification, learning_rate=3e-3, weight_decay=0.0, class_weighted=True),
        ("gcn", "gin", "gated-gcn"),
        4,
    ),
    **{
        f"{name}, gnn-plus": Setting(
            partial(_molecules, name, column, **others), GNNPlusSpace(), module, ("gcn", "gin", "gated-gcn"), epochs
        )
        for name, column, others, module, epochs in (
            ("esol", "logSolubility", {}, GraphRegression, 15),
            ("freesolv", "freesolv", {}, GraphRegression, 15),
            ("bbbp", "p_np", {"target": "binary"}, GraphClassification, 10),
        )
    },
}


@dataclass(frozen=True)
class Recipe:
    """A way to train: a schedule, arguments of the Trainer, and a factor of the module's own learning rate."""

    schedule: str
    trainer: Mapping[str, Any] = field(default_factory=dict)
    rate: float = 1.0


RECIPES = {
    "constant": Recipe("constant"),
    "cosine": Recipe("cosine"),
    "cosine, twice the rate": Recipe("cosine", rate=2.0),
    "cosine, 3 times the rate": Recipe("cosine", rate=3.0),
    "cosine, 5 times the rate": Recipe("cosine", rate=5.0),
    "cosine, clipped": Recipe("cosine", {"gradient_clip_val": 1.0}),
    "cosine, averaged": Recipe("cosine", {"callbacks": pl.callbacks.EMAWeightAveraging(decay=0.9)}),
}


class Curve(pl.Callback):
    """Writes down every validation of a training."""

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor
        self.values: list[float] = []

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.values.append(round(float(trainer.callback_metrics[self.monitor]), 6))


def network_names(setting: Setting) -> Iterator[tuple[str, Callable[[Project], torch.nn.Module]]]:
    """The networks to rank: the hand-made ones, then random ones without end."""
    for name in setting.references:
        yield name, partial(_reference, name)
    for number in itertools.count():
        yield f"random-{number}", partial(_random, number)


def _reference(name: str, project: Project) -> torch.nn.Module:
    network: torch.nn.Module = registry.load("references", name)(project.task)
    return network


def _random(number: int, project: Project) -> torch.nn.Module:
    architecture = project.narrowed.sample(np.random.default_rng(number))
    return project.space.network(architecture, project.task)


def training(
    setting: Setting,
    data: pl.LightningDataModule,
    make: Callable[[Project], torch.nn.Module],
    recipe: Recipe,
    seed: int,
) -> dict[str, Any]:
    """One trial's training: every validation, and the processor time."""

    def module(network: torch.nn.Module, task: Task) -> pl.LightningModule:
        made = setting.module(network, task, schedule=recipe.schedule)
        made.learning_rate *= recipe.rate
        return made

    project = Project(
        setting.space,
        data,
        module=module,
        trainer={"max_epochs": setting.epochs, "accelerator": "cpu", **recipe.trainer},
    )
    with seeded(seed):
        network = make(project)
    curve = Curve(project.monitor)
    result = project.train(network, seed=seed, callbacks=[curve], keep_weights=False)
    return {"curve": curve.values, "sign": project.sign, "steps": result.steps, "cpu_s": round(result.cpu_seconds, 2)}


def measure(networks: int, minutes: float, sets: Sequence[str], recipes: Sequence[str], console: Console) -> None:
    """Train what the store lacks, until the processor time is up."""
    known = {_key(row) for row in kept()}
    about = {"commit": _commit(), "cpu": _cpu()}
    each = {name: network_names(SETTINGS[name]) for name in sets}
    data = {name: SETTINGS[name].data() for name in sets}
    for _ in range(networks):
        for name in sets:
            network, make = next(each[name])
            for seed in SEEDS:
                for recipe in recipes:
                    row = {"set": name, "network": network, "recipe": recipe, "seed": seed}
                    if _key(row) in known:
                        continue
                    if time.process_time() > 60 * minutes:
                        console.print("the processor time is up; the same command goes on")
                        return
                    row |= training(SETTINGS[name], data[name], make, RECIPES[recipe], seed) | about
                    with STORE.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")


def kept() -> list[dict[str, Any]]:
    """The rows of the store."""
    if not STORE.exists():
        return []
    return [json.loads(line) for line in STORE.read_text(encoding="utf-8").splitlines()]


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("set", "network", "recipe", "seed"))


def _commit() -> str:
    command = [shutil.which("git") or "git", "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return found.stdout.strip()


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def scores_of(rows: list[dict[str, Any]], recipe: str, judged_by: str) -> np.ndarray[Any, Any]:
    """Scores `[networks, seeds]` of one set, higher is better; of networks that all recipes have been trained on."""
    every = {
        network: [row for row in rows if row["network"] == network] for network in {row["network"] for row in rows}
    }
    most = len({row["recipe"] for row in rows}) * len(SEEDS)
    whole = sorted(name for name, own in every.items() if len({_key(row) for row in own}) == most)

    def score(network: str, seed: int) -> float:
        row = next(row for row in every[network] if row["recipe"] == recipe and row["seed"] == seed)
        curve = row["sign"] * np.array(row["curve"])
        return float(curve[-1] if judged_by == "last" else np.nanmax(curve))

    return np.array([[score(network, seed) for seed in SEEDS] for network in whole])


def table(rows: list[dict[str, Any]], sets: Sequence[str], recipes: Sequence[str]) -> Table:
    """Of each set and recipe: tau between seeds, noise, and the mean score."""
    shown = Table(title="a trial's ranking of networks, on two seeds")
    for name in ("recipe", "judged by", *sets, "mean tau", "mean noise"):
        shown.add_column(name, justify="left" if name in ("recipe", "judged by") else "right")
    for recipe in recipes:
        for judged_by in ("last", "best"):
            cells, taus, noises = [], [], []
            for name in sets:
                own = [row for row in rows if row["set"] == name and row["recipe"] in recipes]
                scores = scores_of(own, recipe, judged_by)
                if len(scores) < 4:
                    cells.append("-")
                    continue
                taus.append(float(kendalltau(*scores.T).statistic))
                within = float(np.sqrt(scores.var(axis=1, ddof=1).mean()))
                noises.append(within / float(scores.mean(axis=1).std(ddof=1)))
                cells.append(f"{taus[-1]:.2f} | {within:.4f} | {scores.mean():.3f}")
            means = [f"{np.mean(each):.3f}" if each else "-" for each in (taus, noises)]
            shown.add_row(recipe, judged_by, *cells, *means)
    shown.caption = "tau | deviation between seeds | mean score, higher is better; noise: in deviations of networks"
    return shown


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=10, help="on each set")
    parser.add_argument("--sets", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--minutes", type=float, default=60.0, help="processor time at most")
    options = parser.parse_args()
    console = Console(width=180)
    if not DATA.exists():
        console.print(f"skipped: there is no {DATA}; AUTOML_PLUGINS_DATA names the folder that has graph/")
        return
    torch.set_num_threads(1)
    STORE.parent.mkdir(exist_ok=True)
    measure(options.networks, options.minutes, options.sets, options.recipes, console)
    console.print(table(kept(), options.sets, options.recipes))


if __name__ == "__main__":
    main()
