"""The race: a search, random search and tuned hand-made networks at equal cost, their winners trained over seeds.

    python benchmarks/race.py --data esol bbbp
    python benchmarks/race.py --data esol --sampler priorband --seed 1
    python benchmarks/race.py --report

The search runs for a third of `--minutes` of one thread; the other two arms ask on until they have cost as many
optimizer steps times multiply-accumulates. Molecules are read with RDKit's descriptors, as by a study of data alone,
which networks of all three arms read. Learning rate, weight decay and batch size are searched along in all three.
Final trainings are extra: five seeds, three on pixels. The winner is chosen by validation, and tested once.
Graphs are searched in `gnn-plus`, pixels in `smp-decoder` on ImageNet's weights, beside smp's models on the same
weights; values of pixels, for which no weights are, in `auto-deeplab`.
A study that has ended is a line in benchmarks/results; one that has not goes on from its folder in benchmarks/runs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measuring import commit, cpu
from rich.console import Console
from rich.table import Table

from automl_plugins import Study, registry
from automl_plugins.training.fit import ModuleFactory
from gnn_space.data import NpzGraphData
from gnn_space.data.block_models import ClusterData
from gnn_space.data.molecules import SmilesTable
from gnn_space.data.tudataset import TUData
from gnn_space.modules import NodeClassification
from seg_space.data import BrainTemplateData, CamVidData, DarcyFlowData
from seg_space.pretrained.sources import WHEEL

DATA = Path(os.environ.get("AUTOML_PLUGINS_DATA", Path(__file__).parents[2] / "shared" / "data"))
STORE = Path(__file__).parent / "results" / "race.jsonl"
RUNS = Path(__file__).parent / "runs"
TRIALS = "own seeds"
"""The form of trials; lines of "one seed" are of trials that shared a seed, those on one graph a quarter as long."""
MOST_TRIALS = 1_000
ARMS = 3
RATES: dict[str, Any] = {
    "module.learning_rate": {"low": 3e-4, "high": 2e-2, "log": True},
    "module.weight_decay": [0.0, 1e-5, 5e-4],
}


@dataclass(frozen=True)
class Setting:
    """A data set, the space that is searched on it, and the lengths of trainings.

    Args:
        data: makes the datamodule.
        space: the space's registered name.
        epochs: of a final training.
        trial_epochs: of a trial.
        space_options: arguments of the space.
        module: makes the LightningModule; None: the task's own.
        batch_sizes: those that are searched along; none where a graph is one batch.
        references: hand-made networks; None: all that fit the task.
        seeds: of the final trainings.
        finalists: of each arm.
    """

    data: Callable[[], Any]
    space: str
    epochs: int
    trial_epochs: int
    space_options: Mapping[str, Any] = field(default_factory=dict)
    module: ModuleFactory | None = None
    batch_sizes: Sequence[int] = ()
    references: Sequence[str] | None = None
    seeds: int = 5
    finalists: int = 3

    @property
    def tune(self) -> dict[str, Any]:
        """The training settings that are searched along."""
        return RATES | ({"data.batch_size": list(self.batch_sizes)} if self.batch_sizes else {})


def _graph(name: str, epochs: int) -> Setting:
    path = DATA / "graph" / f"{name}.npz"
    data = partial(NpzGraphData, path, steps_per_epoch=5, sparse_features=True)
    return Setting(data, "gnn-plus", epochs, epochs)  # ten minutes are enough for fifty whole trainings


def _molecules(name: str, column: str, epochs: int, **options: Any) -> Setting:
    path = DATA / "graph" / "molecules" / f"{name}.csv"
    data = partial(SmilesTable, path, "smiles", column, descriptors=("rdkit",), **options)
    return Setting(data, "gnn-plus", epochs, epochs // 4, batch_sizes=(32, 64, 128))


def _enzymes() -> TUData:
    """ENZYMES of copied raw files: PyG writes what it makes of them beside them."""
    raw = RUNS / "tudataset" / "ENZYMES" / "raw"
    if not raw.exists():
        shutil.copytree(DATA / "graph" / "tudataset" / "ENZYMES" / "raw", raw)
    return TUData("ENZYMES", raw.parents[1])


def _images(data: Callable[[], Any], epochs: int) -> Setting:
    return Setting(
        data,
        "smp-decoder",
        epochs,
        epochs // 3,
        {"encoder_weights": WHEEL},
        references=("unet", "fpn"),
        seeds=3,
        finalists=2,
    )


SETTINGS = {
    "cora": _graph("cora", 40),
    "photo": _graph("amazon_photo", 40),
    "esol": _molecules("esol", "logSolubility", 60),
    "freesolv": _molecules("freesolv", "freesolv", 60),
    "bbbp": _molecules("bbbp", "p_np", 40, target="binary"),
    "zinc-like": _molecules("zinc_like_12k", "penalized_logp_norm", 20, split_column="split"),
    "enzymes": Setting(_enzymes, "gnn-plus", 60, 15, batch_sizes=(16, 32, 64)),
    "cluster": Setting(
        partial(ClusterData, 300, 100, 100, batch_size=16),
        "gnn-plus",
        30,
        8,
        module=partial(NodeClassification, learning_rate=3e-3, weight_decay=0.0, class_weighted=True),
        batch_sizes=(8, 16, 32),
    ),
    "brain": _images(partial(BrainTemplateData, batch_size=4, crop=96, flip=True), 15),
    "camvid": _images(
        partial(
            CamVidData,
            DATA / "segmentation" / "camvid-small",
            batch_size=8,
            crop=(96, 128),
            scales=(0.5, 1.0),
            flip=True,
        ),
        12,
    ),
    "darcy": Setting(
        partial(DarcyFlowData, 400, 100, 100, resolution=32, root=None),
        "auto-deeplab",
        30,
        10,
        {"layers": 6, "blocks": 4, "filters": 8, "stem": (16, 32), "stem_stride": 2},
        seeds=3,
        finalists=2,
    ),
}


def race(name: str, sampler: str, seed: int, minutes: float) -> dict[str, Any]:
    """One study, run to its end or gone on with; what it came to."""
    setting, began = SETTINGS[name], time.process_time()
    study = Study(
        registry.load("spaces", setting.space)(**setting.space_options),
        setting.data(),
        RUNS / f"{name}-{sampler}-{seed}-{minutes:g}",
        module=setting.module,
        trials=MOST_TRIALS,
        search_minutes=minutes / ARMS,
        trial_epochs=setting.trial_epochs,
        sampler=sampler,
        tune=setting.tune,
        equal_cost="macs",
        references=setting.references,
        finalists=setting.finalists,
        seeds=setting.seeds,
        seed=1_000 * seed,
        trainer={"max_epochs": setting.epochs, "accelerator": "cpu"},
    )
    summary = json.loads(study.run().to_json())
    return {
        "data": name,
        "sampler": sampler,
        "seed": seed,
        "minutes": minutes,
        "trials": TRIALS,
        "summary": summary,
        "cpu_seconds": round(time.process_time() - began, 2),  # of the last session alone
        "commit": commit(),
        "cpu": cpu(),
    }


def lines() -> list[dict[str, Any]]:
    """The studies that have ended."""
    return [json.loads(line) for line in STORE.read_text().splitlines()] if STORE.exists() else []


def table(every: Sequence[Mapping[str, Any]]) -> Table:
    """A line for each study: validation and test of its three winners, and what is shown of the search's."""
    shown = Table(title="validation and test, mean over seeds; p of the search against each, by validation")
    for column in (
        "data",
        "sampler",
        "seed",
        "trials",
        "metric",
        "search",
        "random search",
        "hand-made",
        "winner",
        "p",
    ):
        shown.add_column(column)
    for line in every:
        summary = line["summary"]
        metric = summary["monitor"]
        test = "test_" + metric.partition("_")[2]
        best: dict[str, Mapping[str, Any]] = {}
        for row in summary["rows"]:
            best.setdefault(row["found_by"], row)
        cells = [_cell(best.get(found_by), test) for found_by in ("search", "random search", "hand")]
        tests = summary["tests"].get(metric, {})
        told = ", ".join(f"{name} {_number(each['adjusted_p'])}" for name, each in tests.items())
        known = (line["data"], line["sampler"], str(line["seed"]), line["trials"], metric)
        shown.add_row(*known, *cells, str(summary["winner"]), told)
    return shown


def _cell(row: Mapping[str, Any] | None, test: str) -> str:
    if row is None:
        return "-"
    return f"{_number(row['validation_mean'])}, {_number((row['test'].get(test) or [None])[0])}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--sampler", default="TPESampler")
    parser.add_argument("--seed", type=int, default=0, help="of the search")
    parser.add_argument("--minutes", type=float, default=30.0, help="of all three arms together")
    parser.add_argument("--report", action="store_true", help="run nothing, print what is there")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    STORE.parent.mkdir(exist_ok=True)
    for name in () if options.report else options.data:
        wanted = {"data": name, "sampler": options.sampler, "seed": options.seed, "minutes": options.minutes}
        wanted["trials"] = TRIALS
        if any(all(line[key] == value for key, value in wanted.items()) for line in lines()):
            continue
        line = race(name, options.sampler, options.seed, options.minutes)
        with STORE.open("a") as file:
            file.write(json.dumps(line) + "\n")
    Console(width=180).print(table(lines()))


if __name__ == "__main__":
    main()
