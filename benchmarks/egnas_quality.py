"""A searched EGNAS cell beside random cells of the same space, a hand-made cell, GINE and GatedGCN.

All networks have the same parameter budget (widths are fitted to it), and are trained with the same
optimizer steps, learning rate, schedule and seeds; validation chooses the epoch, and the test set is read once.
What is done is kept in a folder: the same command goes on where it stopped, and several processes share the work.

    python benchmarks/egnas_quality.py zinc-like
    python benchmarks/egnas_quality.py esol
    python benchmarks/egnas_quality.py cluster
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from automl_plugins import Architecture, registry, training
from automl_plugins._lightning import pl
from automl_plugins.comparison import Comparison, Contender, Row
from automl_plugins.report.drawing import draw
from automl_plugins.run_folder import RunFolder, write_whole
from automl_plugins.search import ArchitectureSearch
from automl_plugins.task import Task
from gnn_space import EGNASSpace, GraphRegression, NodeClassification
from gnn_space.data.block_models import ClusterData
from gnn_space.data.molecules import SmilesTable

DATA = Path(os.environ.get("AUTOML_PLUGINS_DATA", "../shared/data"))
RANDOM_CELLS = 10
SEEDS = (0, 1, 2)


class Cosine:
    """Adam whose learning rate falls to zero along a half cosine."""

    def configure_optimizers(self: Any) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Regression(Cosine, GraphRegression):
    """Regression of graphs with that schedule."""


class Classification(Cosine, NodeClassification):
    """Classification of nodes with that schedule."""


@dataclass(frozen=True)
class Setting:
    """A data set and how long everything takes on it.

    Args:
        data: makes the datamodule.
        module: makes the LightningModule of a network.
        budget: parameters of every network.
        epochs: of every training.
        search_epochs: of the search.
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
        module=lambda network, task: Regression(network, task, learning_rate=3e-3, loss="absolute"),
        budget=100_000,
        epochs=10,
        search_epochs=10,
        metric="test_mae",
    ),
    "esol": Setting(
        data=lambda: SmilesTable(DATA / "graph/molecules/esol.csv", "smiles", "logSolubility", batch_size=64),
        module=lambda network, task: Regression(network, task, learning_rate=3e-3),
        budget=100_000,
        epochs=30,
        search_epochs=30,
        metric="test_rmse",
    ),
    "cluster": Setting(
        data=lambda: ClusterData(600, 200, 200, batch_size=4),
        module=lambda network, task: Classification(network, task, 3e-3, 0.0, class_weighted=True),
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


def widest(count: Callable[[int], int], budget: int) -> int:
    """The largest width whose number of parameters is within the budget."""
    channels = 1
    while count(channels + 1) <= budget:
        channels += 1
    return channels


class Budgeted(Comparison):
    """A comparison in which every network has the width that the budget allows."""

    budget: int

    def build(self, contender: Contender) -> nn.Module:
        if contender.architecture is not None:
            architecture = contender.architecture
            width = widest(lambda each: space_of_width(each).num_parameters(architecture, self.task), self.budget)
            return space_of_width(width).network(architecture, self.task)
        make = registry.load("references", str(contender.reference))

        def count(channels: int) -> int:
            with torch.device("meta"):
                return sum(weight.numel() for weight in make(self.task, channels=channels).parameters())

        return make(self.task, channels=widest(count, self.budget))


def hand_made() -> Architecture:
    """What EGNAS found most often: every node operation is `max`, every edge operation `film`."""
    space = space_of_width(8)
    values = {}
    for choice in space.choices:
        if choice.kind == "inputs":
            values[choice.name] = choice.options[-1]  # the two states just before
        else:
            values[choice.name] = "max" if choice.kind == "node_operation" else "film"
    return space.architecture(values)


def search(setting: Setting, folder: Path, strategy: str, seed: int) -> tuple[Architecture, float]:
    """Search once; the architecture, and the CPU seconds that it took."""
    kept = folder / f"search-{strategy}-{seed}.json"
    if not kept.exists():
        data = setting.data()
        data.setup("fit")
        with training.seeded(seed), training.quiet_lightning():
            width = 32 if setting.budget == 100_000 else 16
            searchable = space_of_width(width).searchable(data.task, seed=seed)
            module = setting.module(searchable, data.task)
            callback = ArchitectureSearch(strategy, search_data="split", learning_rate=2e-2, seed=seed)
            options = {**training.LEAN, "accelerator": "cpu", "gradient_clip_val": 5.0, "callbacks": [callback]}
            start = time.process_time()
            # Nothing is selected by validation here, so nothing is validated.
            trainer = pl.Trainer(max_epochs=setting.search_epochs, limit_val_batches=0, **options)
            trainer.fit(module, datamodule=data)
        content = {
            "architecture": json.loads(searchable.architecture().to_json()),
            "cpu_seconds": time.process_time() - start,
            "probabilities": {name: row.tolist() for name, row in searchable.probabilities().items()},
        }
        write_whole(kept, json.dumps(content, indent=2))
    content = json.loads(kept.read_text())
    return Architecture.from_json(json.dumps(content["architecture"])), content["cpu_seconds"]


def main() -> None:
    """Run one setting and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--folder", type=Path, help="where results are kept (runs/egnas-<setting>)")
    parser.add_argument("--strategy", default="darts")
    parser.add_argument("--search-seeds", type=int, default=1, help="how many searches")
    parser.add_argument("--without-search", action="store_true", help="everything else, for a second process")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    setting: Setting = SETTINGS[arguments.setting]
    folder = arguments.folder or Path("runs", f"egnas-{arguments.setting}")
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(width=150)

    data = setting.data()
    data.setup("fit")
    module = setting.module(nn.Identity(), data.task)
    comparison = Budgeted(
        RunFolder(folder),
        space_of_width(8),
        data.task,
        data,
        setting.module,
        module.monitor,
        module.direction,
        {"max_epochs": setting.epochs, "accelerator": "cpu", "gradient_clip_val": 5.0},
        SEEDS,
    )
    comparison.budget = setting.budget
    first = comparison.over(SEEDS[:1])

    generator = np.random.default_rng(0)
    random_cells = [
        Contender(f"random {number}", space_of_width(8).sample(generator)) for number in range(RANDOM_CELLS)
    ]
    fixed = [
        Contender("all max + film", hand_made()),
        Contender("GINE", reference="gin"),
        Contender("GatedGCN", reference="gated-gcn"),
    ]
    searched, search_seconds = [], []
    if not arguments.without_search:
        for seed in range(arguments.search_seeds):
            architecture, seconds = search(setting, folder, arguments.strategy, seed)
            searched.append(Contender(f"searched ({arguments.strategy}, search seed {seed})", architecture))
            search_seconds.append(seconds)
            console.print(f"search {seed}: {seconds:.0f} CPU seconds")
    wait(first, random_cells, "train")
    best = copy.copy(first.best(random_cells))
    contenders = [*searched, *fixed, Contender("best random by validation", best.architecture)]
    wait(comparison, contenders, "train")
    # The test set, once everything has been chosen.
    wait(first, random_cells, "test")
    wait(comparison, contenders, "test")

    rows = [first.row(each) for each in random_cells]
    tests = [row.test[setting.metric][0] for row in rows]
    table = Table(title=f"{arguments.setting}: {setting.epochs} epochs, at most {setting.budget:,} parameters")
    for column in ("network", "parameters", module.monitor, setting.metric, "CPU s a training"):
        table.add_column(column)
    for contender in contenders:
        table.add_row(*cells(comparison.row(contender), setting.metric))
    table.add_row(
        f"mean of {RANDOM_CELLS} random cells",
        f"{statistics.fmean(row.num_parameters for row in rows):,.0f}",
        spread([row.validation_mean for row in rows]),
        spread(tests),
        f"{statistics.fmean(row.cpu_seconds for row in rows):.0f}",
    )
    console.print(table)
    console.print("random cells, test:", " ".join(f"{value:.4f}" for value in sorted(tests)))
    for contender, seconds in zip(searched, search_seconds, strict=True):
        share = seconds / comparison.row(contender).cpu_seconds
        console.print(f"{contender.label}: the search took {share:.2f} of one training")
        console.print(draw(space_of_width(8).operations(contender.architecture)))


def wait(comparison: Comparison, contenders: list[Contender], stage: str) -> None:
    """Share the work with other processes until all of it is done."""
    while not (comparison.train(contenders) if stage == "train" else comparison.test(contenders)):
        time.sleep(2.0)


def cells(row: Row, metric: str) -> tuple[str, ...]:
    """A row of the table."""
    mean, deviation = row.test[metric]
    return (
        row.label,
        f"{row.num_parameters:,}",
        f"{row.validation_mean:.4f} ± {row.validation_deviation:.4f}",
        f"{mean:.4f} ± {deviation:.4f}",
        f"{row.cpu_seconds:.0f}",
    )


def spread(values: list[float]) -> str:
    """Mean and standard deviation of the sample."""
    return f"{statistics.fmean(values):.4f} ± {statistics.stdev(values):.4f}"


if __name__ == "__main__":
    main()
