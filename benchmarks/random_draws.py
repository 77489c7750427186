"""Random networks of a space beside hand-made ones, at a trial's budget: do random draws learn?

    python benchmarks/random_draws.py agnn --data cora photo bags-500 bags-4000 bags-8000
    python benchmarks/random_draws.py gnn-plus --data cora photo esol bbbp cluster
    python benchmarks/random_draws.py egnas --data esol bbbp cluster --options '{"cells": 2, "nodes": 3}'

Networks are drawn within the task and the default limits (`space.within(task)`), as a study's are. One *learns* if its
validation score is at least half-way from the majority's answer (of regression: the mean) to the best reference's at
the same budget. Two recipes: `plain`, which is Adam at a constant rate, 60 full-batch steps on one graph and the score
of the last; and `module`: the project's LightningModule through the path of a trial.
Every training is a line of a store in benchmarks/results, so the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from bags_of_words import BagsOfWords
from measuring import commit, cpu
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional

from automl_plugins import Architecture, SearchSpace, registry
from automl_plugins.spaces.task import Task
from automl_plugins.training import fit as training
from automl_plugins.training.task_module import TaskModule
from gnn_space.data import NpzGraphData
from gnn_space.data.block_models import ClusterData
from gnn_space.data.molecules import SmilesTable
from gnn_space.modules import GraphClassification, GraphRegression, NodeClassification

DATA = Path(os.environ.get("AUTOML_PLUGINS_DATA", Path(__file__).parents[2] / "shared" / "data")) / "graph"
RESULTS = Path(__file__).parent / "results"
STEPS = 60
REFERENCES = {"node": ("gcn", "gat"), "graph": ("gcn", "gin", "gated-gcn")}


class Setting(NamedTuple):
    """A data set, the module that is trained on it, and a trial's epochs."""

    data: Callable[[], Any]
    module: Callable[[nn.Module, Task], TaskModule]
    epochs: int


def _molecules(name: str, column: str, **options: Any) -> SmilesTable:
    return SmilesTable(DATA / "molecules" / f"{name}.csv", "smiles", column, **options)


def _graph(name: str) -> NpzGraphData:
    return NpzGraphData(DATA / f"{name}.npz", steps_per_epoch=5, sparse_features=True)


SETTINGS = {
    "cora": Setting(partial(_graph, "cora"), NodeClassification, 12),
    "photo": Setting(partial(_graph, "amazon_photo"), NodeClassification, 12),
    "esol": Setting(partial(_molecules, "esol", "logSolubility"), GraphRegression, 15),
    "bbbp": Setting(partial(_molecules, "bbbp", "p_np", target="binary"), GraphClassification, 10),
    "cluster": Setting(
        lambda: ClusterData(300, 100, 100, batch_size=16),
        lambda network, task: NodeClassification(network, task, 3e-3, 0.0, class_weighted=True),
        10,
    ),
    **{
        f"bags-{columns}": Setting(partial(BagsOfWords, columns), NodeClassification, 60)
        for columns in (500, 4_000, 8_000)
    },
}


class Run(NamedTuple):
    """One training: of which network, on which data, by which recipe and from which seed."""

    contender: str
    build: Callable[[], nn.Module]
    seed: int
    choices: dict[str, Any] | None


def runs(space: SearchSpace, task: Task, networks: int, widest: int | None) -> Iterator[Run]:
    """The references, then random networks; the i-th has the seed i."""
    points = {f"{space.name}:{name}": each for name, each in space.references(task).items()}
    for name, architecture in points.items():
        yield Run(name, partial(space.network, architecture, task), 0, dict(architecture))
    for name in REFERENCES[task.level]:
        yield Run(name, partial(registry.load("references", name), task), 0, None)
    searched, generator = space.within(task), np.random.default_rng(0)
    drawn = 0
    while drawn < networks:
        architecture = searched.sample(generator)
        if widest is None or _width(architecture) <= widest:
            yield Run(f"random {drawn}", partial(space.network, architecture, task), drawn, dict(architecture))
            drawn += 1


def _width(architecture: Architecture) -> int:
    """The channels of AGNN's widest layer; 0 in other spaces."""
    names = [name.removesuffix(".heads") for name in architecture if name.endswith(".heads")]
    return max(
        (int(architecture[f"{n}.heads"]) * int(architecture.get(f"{n}.hidden_channels", 0)) for n in names), default=0
    )


def plain(network: nn.Module, data: Any, learning_rate: float) -> float:
    """The validation accuracy after the last of `STEPS` full-batch steps."""
    graph = data.loaded.graph
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate, weight_decay=5e-4)
    for _ in range(STEPS):
        optimizer.zero_grad()
        outputs = network.train()(graph.x, graph.edge_index)
        functional.cross_entropy(outputs[graph.train_mask], graph.y[graph.train_mask]).backward()
        optimizer.step()
    with torch.no_grad():
        outputs = network.eval()(graph.x, graph.edge_index)[graph.val_mask]
    return float((outputs.argmax(dim=1) == graph.y[graph.val_mask]).float().mean())


def as_a_trial(network: nn.Module, data: Any, setting: Setting) -> float:
    """The validation score of a trial's training."""
    module = setting.module(network, data.task)
    options = {"max_epochs": setting.epochs, "accelerator": "cpu"}
    return training.train(module, data, module.monitor, module.direction, options).score


def majority(data: Any, setting: Setting, recipe: str) -> float:
    """The score of the commonest class, of the mean, or of a coin where scores are areas under a curve."""
    module = setting.module(nn.Identity(), data.task)
    if module.monitor == "val_auroc":
        return 0.5
    if recipe == "module" and getattr(module, "class_weighted", False):
        return 1 / data.task.out_channels
    targets = torch.cat([_targets(batch) for batch in data.val_dataloader()]).flatten()
    if data.task.target == "regression":
        return float(targets.float().std(correction=0))
    return float(targets.long().bincount().max() / len(targets))


def _targets(batch: Any) -> torch.Tensor:
    return batch.y[batch.val_mask] if "val_mask" in batch else batch.y


def measure(space: SearchSpace, name: str, options: argparse.Namespace, store: Path) -> list[dict[str, Any]]:
    """All trainings on a data set: those of the store, and those that it lacks, which are added to it."""
    setting = SETTINGS[name]
    data = setting.data()
    data.setup("fit")
    identity = {
        "space": space.name,
        "version": space.version,
        "options": options.options,
        "data": name,
        "recipe": options.recipe,
        "rate": options.learning_rate if options.recipe == "plain" else None,
        "widest": options.widest,
        "drawn": "within",
    }
    known = [json.loads(line) for line in store.read_text().splitlines()] if store.exists() else []
    known = [line for line in known if all(line.get(key) == value for key, value in identity.items())]
    done = {line["contender"]: line for line in known}
    found = [{"contender": "majority", "score": majority(data, setting, options.recipe)}]
    for run in runs(space, data.task, options.networks, options.widest):
        if run.contender not in done:
            began = time.process_time()
            with training.seeded(run.seed):
                network = run.build()
                train = partial(plain, learning_rate=options.learning_rate)
                score = train(network, data) if options.recipe == "plain" else as_a_trial(network, data, setting)
            line = {**identity, "contender": run.contender, "seed": run.seed, "score": score, "choices": run.choices}
            line |= {"cpu_seconds": round(time.process_time() - began, 2), "commit": commit(), "cpu": cpu()}
            with store.open("a") as file:
                file.write(json.dumps(line) + "\n")
            done[run.contender] = line
        found.append(done[run.contender])
    return found


def row(name: str, found: list[dict[str, Any]]) -> list[str]:
    """A line of the table: the majority, the references, quartiles of random networks and the share that learns."""
    scores = {line["contender"]: float(line["score"]) for line in found}
    random = np.array([score for contender, score in scores.items() if contender.startswith("random ")])
    hand_made = {contender: score for contender, score in scores.items() if not contender.startswith("random ")}
    base = hand_made.pop("majority")
    lower = SETTINGS[name].module is GraphRegression
    best = (min if lower else max)(hand_made.values())
    half = (base + best) / 2
    learns = np.nan_to_num(random <= half if lower else random >= half).mean()
    quartiles = " / ".join(f"{each:.3f}" for each in np.nanquantile(random, (0.25, 0.5, 0.75)))
    named = ", ".join(f"{contender} {score:.3f}" for contender, score in hand_made.items())
    return [name, f"{base:.3f}", named, quartiles, f"{half:.3f}", f"{learns:.0%} of {len(random)}"]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space", help="the space's registered name")
    parser.add_argument("--data", nargs="+", choices=list(SETTINGS), required=True)
    parser.add_argument("--options", type=json.loads, default={}, help="arguments of the space, as JSON")
    parser.add_argument("--recipe", choices=["plain", "module"], default="module")
    parser.add_argument("--learning-rate", type=float, default=0.01, help="of the plain recipe")
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--widest", type=int, help="draw only AGNN networks whose layers have so many channels at most")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    RESULTS.mkdir(exist_ok=True)
    table = Table(title=f"{options.space}, recipe {options.recipe}: validation")
    for column in ("data", "majority", "references", "random networks: quartiles", "half-way", "learn"):
        table.add_column(column)
    space = registry.load("spaces", options.space)(**options.options)
    for name in options.data:
        table.add_row(*row(name, measure(space, name, options, RESULTS / f"random_draws_{space.name}.jsonl")))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
