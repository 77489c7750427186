"""A searched EGNAS cell beside random cells of the same space, a hand-made cell, GINE and GatedGCN.

All networks have the same parameter budget (widths are fitted to it), and are trained with the same
optimizer steps, learning rate, schedule and seeds; the last epoch counts, and the test set is read once.
The comparison is kept in a folder: the same command goes on where it stopped, and several processes share the work.

    python benchmarks/egnas_quality.py zinc-like
    python benchmarks/egnas_quality.py esol
    python benchmarks/egnas_quality.py cluster
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from quality import SINGLE_PATH, Budgeted, compare, kept_in, random_contenders, search, widest
from rich.console import Console
from torch import nn

from automl_plugins import Architecture, Project, registry
from automl_plugins.objectives.contender import Contender
from automl_plugins.spaces.task import Task
from automl_plugins.training.lightning import pl
from gnn_space import EGNASSpace, GraphRegression, NodeClassification
from gnn_space.data.block_models import ClusterData
from gnn_space.data.molecules import SmilesTable

DATA = Path(os.environ.get("AUTOML_PLUGINS_DATA", "../shared/data"))
RANDOM_CELLS = 10
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Setting:
    """A data set and how long everything takes on it.

    Args:
        data: makes the datamodule.
        module: makes the LightningModule of a network.
        budget: parameters of every network.
        epochs: of every training.
        search_epochs: of a search with the mixture of all options.
        metric: the test metric of the table.
    """

    data: Callable[[], Any]
    module: Callable[[nn.Module, Task], pl.LightningModule]
    budget: int
    epochs: int
    search_epochs: int
    metric: str


SETTINGS = {
    "zinc-like": Setting(
        data=lambda: SmilesTable(
            DATA / "graph/molecules/zinc_like_12k.csv",
            "smiles",
            "penalized_logp_norm",
            split_column="split",
            batch_size=128,
        ),
        module=lambda network, task: GraphRegression(network, task, learning_rate=3e-3, loss="absolute"),
        budget=100_000,
        epochs=10,
        search_epochs=10,
        metric="test_mae",
    ),
    "esol": Setting(
        data=lambda: SmilesTable(DATA / "graph/molecules/esol.csv", "smiles", "logSolubility", batch_size=64),
        module=lambda network, task: GraphRegression(network, task, learning_rate=3e-3),
        budget=100_000,
        epochs=30,
        search_epochs=30,
        metric="test_rmse",
    ),
    "cluster": Setting(
        data=lambda: ClusterData(600, 200, 200, batch_size=4),
        module=lambda network, task: NodeClassification(network, task, 3e-3, 0.0, class_weighted=True),
        budget=25_000,
        epochs=3,
        search_epochs=3,
        metric="test_accuracy",
    ),
}


def space_of_width(channels: int) -> EGNASSpace:
    """Two cells of three nodes; the widths in the paper's proportions."""
    return EGNASSpace(
        cells=2,
        nodes=3,
        node_channels=channels,
        edge_channels=max(1, channels // 2),
        merge_node_channels=max(1, round(1.2 * channels)),
        merge_edge_channels=max(1, round(0.6 * channels)),
    )


def hand_made() -> Architecture:
    """The cell that EGNAS found most often: every node operation is `max`, every edge operation `film`."""
    space = space_of_width(8)
    values = {}
    for choice in space.choices:
        if choice.kind == "inputs":
            values[choice.name] = choice.options[-1]  # the two states just before
        else:
            values[choice.name] = "max" if choice.kind == "node_operation" else "film"
    return space.architecture(values)


def reference(name: str, task: Task, budget: int) -> nn.Module:
    """A registered hand-made network, as wide as the budget allows."""
    make = registry.load("references", name)

    def count(channels: int) -> int:
        with torch.device("meta"):
            return sum(weight.numel() for weight in make(task, channels=channels).parameters())

    network: nn.Module = make(task, channels=widest(count, budget))
    return network


def main() -> None:
    """Run one setting and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--folder", type=Path, help="where results are kept (runs/egnas-<setting>)")
    parser.add_argument("--strategies", nargs="*", default=["gdas", "random"], help="one search with each")
    parser.add_argument("--search-seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    setting: Setting = SETTINGS[arguments.setting]
    folder = kept_in(arguments.folder or Path("runs", f"egnas-{arguments.setting}"))
    console = Console(width=150)
    data = setting.data()
    data.setup("fit")
    options = {"accelerator": "cpu", "gradient_clip_val": 5.0}
    trainer = {**options, "max_epochs": setting.epochs}
    project = Project(space_of_width(1), data, module=setting.module, trainer=trainer, folder=folder.path)
    comparison = Budgeted(
        project,
        SEEDS,
        space_of_width,
        partial(reference, budget=setting.budget),
        setting.budget,
    )
    searched, search_seconds = [], []
    for strategy in arguments.strategies:
        architecture, seconds = search(
            folder.path / f"search-{strategy}-{arguments.search_seed}.json",
            space_of_width(32 if setting.budget == 100_000 else 16),
            setting.module,
            data,
            strategy,
            arguments.search_seed,
            {**options, "max_epochs": setting.search_epochs * (2 if strategy in SINGLE_PATH else 1)},
            learning_rate=2e-2,
        )
        searched.append(Contender(f"searched ({strategy})", architecture))
        search_seconds.append(seconds)
    fixed = [
        Contender("all max + film", hand_made()),
        Contender("GINE", reference="gin"),
        Contender("GatedGCN", reference="gated-gcn"),
    ]
    compare(
        console,
        comparison,
        searched,
        search_seconds,
        fixed,
        random_contenders(space_of_width(8), RANDOM_CELLS),
        setting.metric,
        f"{arguments.setting}: {setting.epochs} epochs, at most {setting.budget:,} parameters",
    )


if __name__ == "__main__":
    main()
